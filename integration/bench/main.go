// Command bench measures what Countersign promises about speed, against a plain copy in the same run:
// moving an image over gRPC and from a file, what a release costs the server, and what a large product
// costs those who sign and serve it. It prints medians of
// ratios and CPU seconds, and fails when a bar is missed. `make bench` builds what it needs and runs it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/countersign-ota/countersign/integration/world"
)

// The bars.
const (
	barDownload = 0.70
	barLocal    = 0.90
	barRelease  = 10 * time.Millisecond
	barLarge    = 50 * time.Millisecond
	barSign     = 500 * time.Millisecond
	// in MB
	barSignMemory = 64.0
)

func main() {
	bin := flag.String("bin", "", "folder with the three programs")
	dir := flag.String("dir", "", "folder to work in; must not exist")
	size := flag.Int64("size", 256, "image size in MiB")
	rounds := flag.Int("rounds", 9, "how often each side runs, at least 7")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute)
	defer cancel()
	ok, err := run(ctx, *dir, world.Programs{Dir: *bin}, *size<<20, max(7, *rounds))
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench: error:", err)
		os.Exit(1)
	}
	if !ok {
		os.Exit(1)
	}
}

func run(ctx context.Context, dir string, p world.Programs, size int64, rounds int) (bool, error) {
	w, err := world.New(dir, "acme", p)
	if err != nil {
		return false, err
	}
	defer w.Close()
	if err := w.Start(); err != nil {
		return false, err
	}
	products := map[string]string{
		"gw-100": world.TwoClasses,
		"pump-9": "{require: {engineering: 1, quality: 1}, people: {engineering: [rivera], quality: [chen, okafor]}, bins: 64, sbom: none}",
	}
	if err := w.AddProducts(products); err != nil {
		return false, err
	}
	moved, err := moveImages(ctx, w, size, rounds)
	if err != nil {
		return false, err
	}
	released, err := releases(ctx, w, rounds)
	if err != nil {
		return false, err
	}
	many, err := large(ctx, w, products, rounds)
	return moved && released && many, err
}

// report prints one line and says whether the bar was met.
func report(what string, met bool, format string, args ...any) bool {
	verdict := "ok"
	if !met {
		verdict = "MISSED"
	}
	fmt.Printf("%-44s %s   %s\n", what, fmt.Sprintf(format, args...), verdict)
	return met
}

func median[T float64 | time.Duration](values []T) T {
	sorted := slices.Clone(values)
	slices.Sort(sorted)
	return sorted[len(sorted)/2]
}
