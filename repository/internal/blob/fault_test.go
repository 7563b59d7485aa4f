//go:build faults

package blob

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/countersign-ota/countersign/proto/reason"
)

const (
	faultLength = 10_000
	faultPiece  = 1_500
)

// TestMain turns the test program into an uploader, which prints what was acknowledged to it.
func TestMain(m *testing.M) {
	if dir := os.Getenv("BLOB_TEST_DIR"); dir != "" {
		if err := uploadInSittings(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func uploadInSittings(dir string) error {
	d, err := Open(dir)
	if err != nil {
		return err
	}
	d.syncEvery = 2_000
	data := content(faultLength)
	sum := sha256.Sum256(data)
	for {
		offset, complete, err := d.Status(sum)
		if err != nil {
			return err
		}
		fmt.Println(offset, complete)
		if complete {
			return nil
		}
		w, err := d.Writer(ctx, sum, faultLength, offset)
		if err != nil {
			return err
		}
		for range 3 { // writes of a sitting
			end := min(w.Offset()+faultPiece, faultLength)
			if _, err := w.Write(data[w.Offset():end]); err != nil {
				return err
			}
		}
		if w.Offset() == faultLength {
			err = w.Commit()
		} else {
			err = w.Close()
		}
		if err != nil {
			return err
		}
	}
}

func uploader(t *testing.T, dir string, env ...string) (out string, err error) {
	t.Helper()
	exe, exeErr := os.Executable()
	if exeErr != nil {
		t.Fatal(exeErr)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(append(os.Environ(), "BLOB_TEST_DIR="+dir), env...)
	cmd.Stderr = os.Stderr
	b, err := cmd.Output()
	return string(b), err
}

// At whatever step the server dies or the power fails: what was acknowledged is there, a name stands
// for whole bytes only, and the upload goes on from its status to the end.
func TestPowerCutDuringUpload(t *testing.T) {
	count := filepath.Join(t.TempDir(), "count")
	if _, err := uploader(t, filepath.Join(t.TempDir(), "blobs"), "COUNTERSIGN_FAULT_COUNT="+count); err != nil {
		t.Fatal(err)
	}
	lines, err := os.ReadFile(count)
	if err != nil {
		t.Fatal(err)
	}
	steps := strings.Split(strings.TrimSpace(string(lines)), "\n")
	if len(steps) < 15 {
		t.Fatalf("only %d steps", len(steps))
	}
	data := content(faultLength)
	sum := sha256.Sum256(data)
	for at, step := range steps {
		kind := strings.Fields(step)[1]
		for _, drop := range []string{"", "1"} {
			t.Run(fmt.Sprintf("step %d %s/drop %q", at+1, kind, drop), func(t *testing.T) {
				dir := filepath.Join(t.TempDir(), "blobs")
				out, err := uploader(t, dir, fmt.Sprintf("COUNTERSIGN_FAULT_AT=%d", at+1), "COUNTERSIGN_FAULT_DROP="+drop)
				var exit *exec.ExitError
				if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
					t.Fatalf("uploader: %v, want it killed", err)
				}
				d, err := Open(dir)
				if err != nil {
					t.Fatal(err)
				}
				acknowledged, _ := lastLine(t, out)
				offset, complete, err := d.Status(sum)
				if err != nil || offset < acknowledged {
					t.Fatalf("status %d, %v; %d bytes were acknowledged", offset, err, acknowledged)
				}
				if r, err := d.Reader(sum, faultLength); complete != (err == nil) {
					t.Errorf("complete %t, reader %v", complete, err)
				} else if err == nil {
					r.Close()
				} else {
					wantReason(t, err, reason.NotFound)
				}
				out, err = uploader(t, dir)
				if err != nil {
					t.Fatalf("going on: %v", err)
				}
				if n, complete := lastLine(t, out); n != faultLength || !complete {
					t.Errorf("going on ended at %d, %t", n, complete)
				}
				got, err := os.ReadFile(d.name(sum))
				if err != nil || sha256.Sum256(got) != sum {
					t.Errorf("complete file has other bytes, %v", err)
				}
				wantFiles(t, d, rel(t, d, d.name(sum)))
			})
		}
	}
}

func lastLine(t *testing.T, out string) (offset int64, complete bool) {
	t.Helper()
	out = strings.TrimSpace(out)
	if out == "" {
		return 0, false
	}
	if _, err := fmt.Sscan(out[strings.LastIndexByte(out, '\n')+1:], &offset, &complete); err != nil {
		t.Fatal(err)
	}
	return offset, complete
}
