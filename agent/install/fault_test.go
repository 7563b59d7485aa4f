//go:build faults

package install

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// jobEnv names the folder in which a child process does the update that TestPowerCut interrupts.
const jobEnv = "COUNTERSIGN_TEST_INSTALL"

func TestMain(m *testing.M) {
	if dir := os.Getenv(jobEnv); dir != "" {
		if err := job(dir, os.Getenv(jobEnv+"_END")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func jobFile(dir string) *File {
	return NewFile(FileConfig{Path: filepath.Join(dir, "app"), State: filepath.Join(dir, "record")})
}

func jobImage(dir string) Image {
	const content = "new version"
	return Image{
		Path: "gw-100/2/app", Counter: 2, Length: int64(len(content)),
		SHA256: sha256.Sum256([]byte(content)), File: filepath.Join(dir, "staged"),
	}
}

func job(dir, end string) error {
	ctx, f, img := context.Background(), jobFile(dir), jobImage(dir)
	if err := f.Install(ctx, img); err != nil {
		return err
	}
	if err := f.Activate(ctx, img); err != nil {
		return err
	}
	if end == "revert" {
		return f.Revert(ctx)
	}
	return f.Confirm(ctx)
}

// At whatever step the power fails, PATH is the old version or the new one, whole, and Running knows
// which; and what the agent repeats ends as if nothing had happened.
func TestPowerCut(t *testing.T) {
	for _, end := range []string{"confirm", "revert"} {
		for at := 1; ; at++ {
			interrupted := false
			for _, drop := range []string{"", "1"} {
				t.Run(fmt.Sprintf("%s/step %d/drop %q", end, at, drop), func(t *testing.T) {
					dir := t.TempDir()
					check(t, os.WriteFile(filepath.Join(dir, "app"), []byte("old version"), 0o755))
					check(t, os.WriteFile(filepath.Join(dir, "staged"), []byte("new version"), 0o600))
					cmd := exec.Command(os.Args[0])
					cmd.Env = append(os.Environ(), jobEnv+"="+dir, jobEnv+"_END="+end,
						fmt.Sprintf("COUNTERSIGN_FAULT_AT=%d", at), "COUNTERSIGN_FAULT_DROP="+drop)
					out, err := cmd.CombinedOutput()
					var exit *exec.ExitError
					if errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL {
						interrupted = true
					} else if err != nil {
						t.Fatalf("%v: %s", err, out)
					}
					now, err := os.ReadFile(filepath.Join(dir, "app"))
					check(t, err)
					run, err := jobFile(dir).Running(t.Context())
					check(t, err)
					isNew := string(now) == "new version"
					if !isNew && string(now) != "old version" {
						t.Errorf("holds %q", now)
					}
					if isNew != (run.SHA256 == jobImage(dir).SHA256) {
						t.Errorf("holds %q, runs %+v", now, run)
					}
					if run.Trial && !isNew && end == "confirm" {
						t.Errorf("the old version is on trial")
					}
					// The agent goes on: a trial is ended, anything earlier is done again.
					if end == "revert" && run.Trial {
						check(t, jobFile(dir).Revert(t.Context()))
					} else if end == "confirm" || !interrupted || isNew {
						check(t, job(dir, end))
					} else {
						check(t, jobFile(dir).Revert(t.Context()))
					}
					now, err = os.ReadFile(filepath.Join(dir, "app"))
					check(t, err)
					if want := map[string]string{"confirm": "new version", "revert": "old version"}[end]; string(now) != want {
						t.Errorf("ends with %q, want %q", now, want)
					}
					if run, err := jobFile(dir).Running(t.Context()); err != nil || run.Trial {
						t.Errorf("ends with %+v, %v", run, err)
					}
				})
			}
			if !interrupted {
				if at < 10 {
					t.Errorf("only %d steps", at-1)
				}
				break
			}
		}
	}
}
