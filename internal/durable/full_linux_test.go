package durable

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// onTmpfs mounts a file system of size bytes.
func onTmpfs(t *testing.T, size int) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("a full disk needs a small tmpfs, and mounting one needs root")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		t.Skipf("cannot mount a tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return dir
}

func TestDiskFullKeepsTheOld(t *testing.T) {
	dir := onTmpfs(t, 64<<10)
	path := filepath.Join(dir, "f")
	if err := Replace(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Replace(path, bytes.Repeat([]byte("x"), 128<<10), 0o600); !IsFull(err) {
		t.Errorf("error %v, want a full disk", err)
	}
	wantFile(t, path, "old")
	wantNames(t, dir, "f")
	if IsFull(fs.ErrExist) || IsFull(nil) {
		t.Error("IsFull of other errors")
	}
}
