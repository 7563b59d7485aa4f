package durable

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestMain turns the test program into the child of other tests.
func TestMain(m *testing.M) {
	if job := os.Getenv("DURABLE_TEST_CHILD"); job != "" {
		child(job, os.Getenv("DURABLE_TEST_DIR"))
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func child(job, dir string) {
	run, ok := jobs[job]
	if !ok {
		fmt.Fprintf(os.Stderr, "no job %q\n", job)
		os.Exit(2)
	}
	if err := run(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// jobs are what a child does with a folder.
var jobs = map[string]func(dir string) error{
	"lock": func(dir string) error {
		_, err := Lock(filepath.Join(dir, "lock"))
		if err != nil {
			return err
		}
		fmt.Println("locked")
		_, err = os.Stdin.Read(make([]byte, 1)) // until it is killed
		return err
	},
}

func childCommand(t *testing.T, job, dir string, env ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), "DURABLE_TEST_CHILD="+job, "DURABLE_TEST_DIR="+dir)
	cmd.Env = append(cmd.Env, env...)
	cmd.Stderr = os.Stderr
	return cmd
}

func TestLockAcrossProcesses(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "lock")
	cmd := childCommand(t, "lock", dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	var word string
	if _, err := fmt.Fscan(out, &word); err != nil {
		t.Fatal(err)
	}
	_, err = Lock(path)
	var locked *LockedError
	if !errors.Is(err, ErrLocked) || !errors.As(err, &locked) {
		t.Fatalf("error %v, want %v", err, ErrLocked)
	}
	if want := fmt.Sprintf("pid %d", cmd.Process.Pid); locked.Path != path || locked.Holder != want {
		t.Errorf("held by %q at %q, want %q at %q", locked.Holder, locked.Path, want, path)
	}
	if want := fmt.Sprintf("%q is locked by another process (pid %d)", path, cmd.Process.Pid); locked.Error() != want {
		t.Errorf("text %q, want %q", locked.Error(), want)
	}
	// The lock of a killed process is free.
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	l, err := Lock(path)
	if err != nil {
		t.Fatal(err)
	}
	wantFile(t, path, fmt.Sprintf("pid %d\n", os.Getpid()))
	if _, err := Lock(path); !errors.Is(err, ErrLocked) {
		t.Errorf("second lock in one process: %v, want %v", err, ErrLocked)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if l, err = Lock(path); err != nil {
		t.Fatal(err)
	}
	l.Close()
}
