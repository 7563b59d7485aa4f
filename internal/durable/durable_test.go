package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func write(t *testing.T, path, data string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
}

func wantFile(t *testing.T, path, want string) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s holds %q, want %q", filepath.Base(path), got, want)
	}
}

func wantNames(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("folder holds %q, want %q", got, want)
	}
}

func TestWriteFunctions(t *testing.T) {
	create := func(p string, d []byte) error { return CreateNew(p, d, 0o600) }
	same := func(p string, d []byte) error { return CreateOrSame(p, d, 0o600) }
	replace := func(p string, d []byte) error { return Replace(p, d, 0o600) }
	tests := []struct {
		name  string
		call  func(string, []byte) error
		old   string // "-" none
		want  string
		error error
	}{
		{"create new", create, "-", "new", nil},
		{"create over other", create, "old", "old", fs.ErrExist},
		{"create over same", create, "new", "new", fs.ErrExist},
		{"create over empty", create, "", "", fs.ErrExist},
		{"same: new", same, "-", "new", nil},
		{"same: same", same, "new", "new", nil},
		{"same: other", same, "old", "old", fs.ErrExist},
		{"same: longer with equal beginning", same, "newer", "newer", fs.ErrExist},
		{"same: shorter", same, "ne", "ne", fs.ErrExist},
		{"replace none", replace, "-", "new", nil},
		{"replace other", replace, "old", "new", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "f")
			if tt.old != "-" {
				write(t, path, tt.old)
			}
			if err := tt.call(path, []byte("new")); !errors.Is(err, tt.error) {
				t.Errorf("error %v, want %v", err, tt.error)
			}
			wantFile(t, path, tt.want)
			wantNames(t, dir, "f")
		})
	}
}

func TestFailedWriteLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	sub := filepath.Join(dir, "sub")
	if err := os.Mkdir(sub, 0o700); err != nil {
		t.Fatal(err)
	}
	// A folder stands where the file should go, so the rename fails after all was written.
	if err := Replace(sub, []byte("x"), 0o600); err == nil {
		t.Error("a folder was replaced by a file")
	}
	if err := CreateNew(filepath.Join(dir, "none", "f"), []byte("x"), 0o600); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing folder: %v, want %v", err, fs.ErrNotExist)
	}
	wantNames(t, dir, "sub")
}

func TestMode(t *testing.T) {
	old := syscall.Umask(0o027)
	defer syscall.Umask(old)
	path := filepath.Join(t.TempDir(), "f")
	if err := Replace(path, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o640 {
		t.Errorf("mode %o, want 640", got)
	}
}

// A name as long as the file system allows leaves no room for a suffix.
func TestLongestName(t *testing.T) {
	path := filepath.Join(t.TempDir(), strings.Repeat("n", 255))
	if err := Replace(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	wantFile(t, path, "x")
}

func TestLinkNoReplace(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	write(t, a, "a")
	if err := linkNoReplace(a, b); err != nil {
		t.Fatal(err)
	}
	write(t, a, "other")
	if err := linkNoReplace(a, b); !errors.Is(err, fs.ErrExist) {
		t.Errorf("error %v, want %v", err, fs.ErrExist)
	}
	wantFile(t, b, "a")
}

func TestRenameRemoveAcrossFolders(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "a", "f"), filepath.Join(dir, "b", "c", "f")
	for _, p := range []string{from, to} {
		if err := MkdirAll(filepath.Dir(p), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	write(t, from, "new")
	write(t, to, "old")
	if err := Rename(from, to); err != nil {
		t.Fatal(err)
	}
	wantFile(t, to, "new")
	wantNames(t, filepath.Dir(from))
	for range 2 {
		if err := Remove(to); err != nil {
			t.Errorf("remove: %v", err)
		}
	}
	if err := Remove(filepath.Join(dir, "none", "f")); err != nil {
		t.Errorf("remove in a missing folder: %v", err)
	}
	if err := MkdirAll(filepath.Join(dir, "b", "c"), 0o700); err != nil {
		t.Errorf("folder that is there: %v", err)
	}
	write(t, filepath.Join(dir, "file"), "")
	if err := MkdirAll(filepath.Join(dir, "file", "x"), 0o700); err == nil {
		t.Error("a folder was made below a file")
	}
}

func TestSweep(t *testing.T) {
	dir := t.TempDir()
	f, err := Temp(dir, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	f.f.Close()
	keep := []string{".countersign-x", "a.tmp", "x.json"}
	for _, n := range keep {
		write(t, filepath.Join(dir, n), "")
	}
	if err := Sweep(dir); err != nil {
		t.Fatal(err)
	}
	wantNames(t, dir, keep...)
}
