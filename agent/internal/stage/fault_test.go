//go:build faults

package stage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// jobEnv names the folder in which a child process stages what TestPowerCut interrupts.
const jobEnv = "COUNTERSIGN_TEST_STAGE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(jobEnv); dir != "" {
		d, err := Open(dir, quick())
		if err == nil {
			data := image(jobSize)
			_, err = d.Stage(context.Background(), fileOf(data), (&serve{data: data}).open, nil)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

const jobSize = pointEvery + bufferSize + 5

// At whatever step the power fails, nothing has the image's name that is not the image, and the next
// call ends well.
func TestPowerCut(t *testing.T) {
	data := image(jobSize)
	f := fileOf(data)
	for at := 1; ; at++ {
		interrupted := false
		for _, drop := range []string{"", "1"} {
			t.Run(fmt.Sprintf("step %d/drop %q", at, drop), func(t *testing.T) {
				dir := t.TempDir() + "/stage"
				cmd := exec.Command(os.Args[0])
				cmd.Env = append(os.Environ(), jobEnv+"="+dir, fmt.Sprintf("COUNTERSIGN_FAULT_AT=%d", at), "COUNTERSIGN_FAULT_DROP="+drop)
				out, err := cmd.CombinedOutput()
				var exit *exec.ExitError
				if errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL {
					interrupted = true
				} else if err != nil {
					t.Fatalf("%v: %s", err, out)
				}
				d, err := Open(dir, quick())
				if err != nil {
					t.Fatal(err)
				}
				if d.Has(f.SHA256) {
					if err := Verify(t.Context(), d.Path(f.SHA256), f.SHA256, f.Length); err != nil {
						t.Error(err)
					}
				}
				if err := d.Clean(map[[32]byte]bool{f.SHA256: true}); err != nil {
					t.Fatal(err)
				}
				if _, err := d.Stage(t.Context(), f, (&serve{data: data}).open, nil); err != nil {
					t.Fatal(err)
				}
				whole(t, d, data)
			})
		}
		if !interrupted {
			if at < 6 {
				t.Errorf("only %d steps", at-1)
			}
			return
		}
	}
}
