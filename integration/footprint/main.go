// Command footprint publishes an image of 1 GiB and prints the peak memory of the agent that fetches,
// verifies, stages and installs it. `make footprint` builds the programs and runs it.
package main

import (
	"crypto/rand"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/countersign-ota/countersign/integration/world"
)

func main() {
	dir := flag.String("dir", "", "folder to work in; must not exist")
	bin := flag.String("bin", "", "folder with the three programs")
	name := flag.String("name", "", "what to call the agent's architecture")
	limit := flag.Int64("limit", 0, "bound of the peak in MB (10^6 bytes)")
	size := flag.Int64("size", 1<<30, "bytes of the image")
	flag.Parse()
	peak, cpu, err := measure(*dir, world.Programs{Dir: *bin}, *size)
	if err != nil {
		fmt.Fprintln(os.Stderr, "footprint: error:", err)
		os.Exit(1)
	}
	verdict := "ok"
	if peak > *limit*1_000_000 {
		verdict = "TOO LARGE"
	}
	fmt.Printf("  %-12s %12d bytes   limit %12d   %s   (%.1f s of CPU)\n", *name, peak, *limit*1_000_000, verdict, cpu)
	if verdict != "ok" {
		os.Exit(1)
	}
}

// measure returns the agent's VmHWM in bytes and its CPU seconds.
func measure(dir string, p world.Programs, size int64) (peak int64, cpu float64, err error) {
	w, err := world.New(dir, "acme", p)
	if err != nil {
		return 0, 0, err
	}
	defer w.Close()
	if err := w.Start(); err != nil {
		return 0, 0, err
	}
	if err := w.AddProduct("gw-100", world.TwoClasses); err != nil {
		return 0, 0, err
	}
	image := filepath.Join(w.Desk(world.Engineer), "gw.img")
	if err := random(image, size); err != nil {
		return 0, 0, err
	}
	if err := w.Release("gw-100/1.0.0", "gw.img"); err != nil {
		return 0, 0, err
	}
	if err := os.Remove(image); err != nil {
		return 0, 0, err
	}
	d, err := w.EnrolledDevice("gw-0001", world.DeviceOptions{})
	if err != nil {
		return 0, 0, err
	}
	r := d.Run("once")
	if r.Exit != 10 {
		return 0, 0, fmt.Errorf("want exit 10\n%s", r)
	}
	return r.PeakMemory, r.CPU.Seconds(), nil
}

// random writes a file that does not compress.
func random(name string, size int64) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.CopyN(f, rand.Reader, size); err != nil {
		return err
	}
	return f.Close()
}
