//go:build faults

package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func init() {
	jobs["replace"] = func(dir string) error { return Replace(filepath.Join(dir, "f"), []byte("new content"), 0o600) }
	jobs["create"] = func(dir string) error { return CreateNew(filepath.Join(dir, "f"), []byte("new content"), 0o600) }
	jobs["same"] = func(dir string) error { return CreateOrSame(filepath.Join(dir, "f"), []byte("new content"), 0o600) }
	jobs["remove"] = func(dir string) error { return Remove(filepath.Join(dir, "f")) }
	jobs["mkdir"] = func(dir string) error {
		sub := filepath.Join(dir, "a", "b", "c")
		if err := MkdirAll(sub, 0o700); err != nil {
			return err
		}
		if err := Replace(filepath.Join(sub, "g"), []byte("deep"), 0o600); err != nil {
			return err
		}
		return Replace(filepath.Join(dir, "f"), []byte("new content"), 0o600)
	}
	jobs["stream"] = func(dir string) error {
		f, err := OpenLocked(filepath.Join(dir, "f.part"), 0o600)
		if err != nil {
			return err
		}
		if err := f.Truncate(0); err != nil {
			return err
		}
		for _, s := range []string{"new ", "content"} {
			if _, err := f.Write([]byte(s)); err != nil {
				return err
			}
			if err := f.Sync(); err != nil {
				return err
			}
		}
		return f.Rename(filepath.Join(dir, "f"))
	}
}

// At whatever step the power fails, with all unsynced writes kept or all of them lost, a name has its
// old content or its new one; and the same call done again succeeds.
func TestPowerCutAtEachStep(t *testing.T) {
	const old, new, none = "old content", "new content", ""
	tests := []struct {
		job      string
		before   string
		after    string
		repeated error // of the job done again where it was through
	}{
		{"replace", old, new, nil},
		{"replace", none, new, nil},
		{"create", none, new, fs.ErrExist},
		{"same", none, new, nil},
		{"remove", old, none, nil},
		{"stream", none, new, nil},
		{"stream", old, new, nil},
		{"mkdir", none, new, nil},
	}
	for _, tt := range tests {
		steps := countSteps(t, tt.job, tt.before)
		for at := 1; at <= steps; at++ {
			for _, drop := range []string{"", "1"} {
				t.Run(fmt.Sprintf("%s of %q/step %d/drop %q", tt.job, tt.before, at, drop), func(t *testing.T) {
					dir := prepared(t, tt.before)
					err := childCommand(t, tt.job, dir, fmt.Sprintf("COUNTERSIGN_FAULT_AT=%d", at), "COUNTERSIGN_FAULT_DROP="+drop).Run()
					var exit *exec.ExitError
					if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
						t.Fatalf("child: %v, want it killed", err)
					}
					got := content(t, dir)
					if got != tt.before && got != tt.after {
						t.Errorf("f holds %q, want %q or %q", got, tt.before, tt.after)
					}
					// Deep files come first in the job, so what f shows binds them.
					if tt.job == "mkdir" && got == tt.after {
						wantFile(t, filepath.Join(dir, "a", "b", "c", "g"), "deep")
					}
					for _, d := range []string{dir, filepath.Join(dir, "a", "b", "c")} {
						if err := Sweep(d); err != nil && !errors.Is(err, fs.ErrNotExist) {
							t.Fatal(err)
						}
					}
					if err := jobs[tt.job](dir); err != nil && !(got == tt.after && errors.Is(err, tt.repeated)) {
						t.Fatalf("done again: %v", err)
					}
					if got := content(t, dir); got != tt.after {
						t.Errorf("done again: f holds %q, want %q", got, tt.after)
					}
					for _, e := range entries(t, dir) {
						if isTemp(e) || strings.HasSuffix(e, ".part") {
							t.Errorf("%q is left", e)
						}
					}
				})
			}
		}
	}
}

// What a function acknowledged is there after a power cut that comes later.
func TestAcknowledgedSurvives(t *testing.T) {
	steps := countSteps(t, "two", "old content")
	dir := prepared(t, "old content")
	_ = childCommand(t, "two", dir, fmt.Sprintf("COUNTERSIGN_FAULT_AT=%d", steps), "COUNTERSIGN_FAULT_DROP=1").Run()
	if got := content(t, dir); got != "new content" {
		t.Errorf("f holds %q", got)
	}
	wantNames(t, dir, "f")
}

// The dropping itself is tested: without a sync of the folder the new name is lost.
func TestDropUndoesARenameWithoutSync(t *testing.T) {
	dir := prepared(t, "old content")
	_ = childCommand(t, "careless", dir, "COUNTERSIGN_FAULT_AT=1", "COUNTERSIGN_FAULT_DROP=1").Run()
	if got := content(t, dir); got != "old content" {
		t.Errorf("f holds %q, want the old content", got)
	}
}

func init() {
	jobs["two"] = func(dir string) error {
		err := jobs["replace"](dir)
		step("last", "") // the cut
		return err
	}
	jobs["careless"] = func(dir string) error {
		f, err := Temp(dir, 0o600)
		if err != nil {
			return err
		}
		if _, err := f.Write([]byte("new content")); err != nil {
			return err
		}
		if err := rename(f.path, filepath.Join(dir, "f")); err != nil {
			return err
		}
		step("last", "")
		return nil
	}
}

func prepared(t *testing.T, f string) string {
	t.Helper()
	dir := t.TempDir()
	if f != "" {
		write(t, filepath.Join(dir, "f"), f)
	}
	return dir
}

func content(t *testing.T, dir string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "f"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return string(b)
}

func entries(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		names = append(names, d.Name())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func countSteps(t *testing.T, job, before string) int {
	t.Helper()
	count := filepath.Join(t.TempDir(), "count")
	if err := childCommand(t, job, prepared(t, before), "COUNTERSIGN_FAULT_COUNT="+count).Run(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(count)
	if err != nil {
		t.Fatal(err)
	}
	n := strings.Count(string(b), "\n")
	if n == 0 {
		t.Fatal("no steps were counted")
	}
	return n
}
