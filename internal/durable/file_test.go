package durable

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

func TestFileGrowsAndResumes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f.part")
	f, err := OpenLocked(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("hello ")); err != nil {
		t.Fatal(err)
	}
	if f.Size() != 6 || f.Synced() != 0 {
		t.Errorf("size %d, synced %d, want 6, 0", f.Size(), f.Synced())
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("wrong")); err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(f.Synced()); err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(7); err == nil {
		t.Error("a file was made longer by Truncate")
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	f, err = OpenLocked(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if f.Size() != 6 || f.Synced() != 6 {
		t.Errorf("opened again: size %d, synced %d, want 6, 6", f.Size(), f.Synced())
	}
	if _, err := f.Write([]byte("world")); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(io.NewSectionReader(f, 0, f.Size()))
	if err != nil || string(got) != "hello world" {
		t.Errorf("read %q, %v", got, err)
	}
	whole := filepath.Join(filepath.Dir(path), "f")
	if err := f.Rename(whole); err != nil {
		t.Fatal(err)
	}
	wantFile(t, whole, "hello world")
	wantNames(t, filepath.Dir(path), "f")
}

func TestOpenLockedHasOneHolder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f.part")
	f, err := OpenLocked(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	_, err = OpenLocked(path, 0o600)
	var locked *LockedError
	if !errors.Is(err, ErrLocked) || !errors.As(err, &locked) || locked.Path != path {
		t.Errorf("second holder: %v, want %v of %q", err, ErrLocked, path)
	}
	// A third party opened the file before it was renamed and locks it afterwards: it must not get
	// the complete file.
	late, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer late.Close()
	if err := f.Rename(filepath.Join(filepath.Dir(path), "f")); err != nil {
		t.Fatal(err)
	}
	if info, err := lockCurrent(late, path); info != nil || err != nil {
		t.Errorf("lock of a file that has gone: %v, %v; want none", info, err)
	}
	write(t, path, "another")
	if info, err := lockCurrent(late, path); info != nil || err != nil {
		t.Errorf("lock of a file that another replaced: %v, %v; want none", info, err)
	}
}

func TestOpenLockedRefusesLinksAndFolders(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "target"), "x")
	if err := os.Symlink("target", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"link", "."} {
		if _, err := OpenLocked(filepath.Join(dir, name), 0o600); err == nil {
			t.Errorf("%q was opened", name)
		}
	}
}

func TestTempGoesWhenItIsClosed(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "taken"), "old")
	f, err := Temp(dir, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.RenameNew(filepath.Join(dir, "taken")); !errors.Is(err, os.ErrExist) {
		t.Errorf("error %v, want %v", err, os.ErrExist)
	}
	f, err = Temp(dir, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := f.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	wantFile(t, filepath.Join(dir, "taken"), "old")
	wantNames(t, dir, "taken")
}
