package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Rename gives a file, whose content is synced already, another name, and replaces a file that has
// it. Both folders are synced.
func Rename(from, to string) error {
	step("rename", to)
	if err := rename(from, to); err != nil {
		return err
	}
	return syncRename(from, to)
}

// renameNew is Rename where the new name must be free; fs.ErrExist if it is not.
func renameNew(from, to string) error {
	step("rename", to)
	if err := renameNoReplace(from, to); err != nil {
		return err
	}
	renamed(from, to)
	return syncRename(from, to)
}

func rename(from, to string) error {
	saved := keep(to)
	if err := os.Rename(from, to); err != nil {
		return err
	}
	replaced(from, to, saved)
	return nil
}

// syncRename syncs the new folder first: a power cut between the two leaves both names, not none.
func syncRename(from, to string) error {
	if err := SyncDir(filepath.Dir(to)); err != nil {
		return err
	}
	if filepath.Dir(from) == filepath.Dir(to) {
		return nil
	}
	return SyncDir(filepath.Dir(from))
}

// Remove removes a file or an empty folder. That it is missing is no error.
func Remove(path string) error {
	step("remove", path)
	saved := keep(path)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	removed(path, saved)
	err := SyncDir(filepath.Dir(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// SyncDir makes the names in a folder durable, as after a rename. File systems that cannot sync a
// folder (some network and FUSE ones say EINVAL or ENOTSUP) keep their own order.
func SyncDir(dir string) error {
	step("syncdir", dir)
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if err := f.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ENOTSUP) {
		return err
	}
	dirSynced(dir)
	return nil
}

// MkdirAll makes a folder with all its parents and syncs the parent of each one that it made. mode is
// cut by the umask.
func MkdirAll(dir string, mode fs.FileMode) error {
	dir = filepath.Clean(dir)
	var missing []string
	at := dir
	for {
		info, err := os.Stat(at)
		if err == nil {
			if !info.IsDir() {
				return &fs.PathError{Op: "mkdir", Path: at, Err: syscall.ENOTDIR}
			}
			break
		}
		if !errors.Is(err, fs.ErrNotExist) || at == filepath.Dir(at) {
			return err
		}
		missing = append(missing, at)
		at = filepath.Dir(at)
	}
	// The deepest one that is there may be the work of a process that died before it could sync. Where
	// we may not read its parent, it is not ours.
	if err := SyncDir(filepath.Dir(at)); err != nil && !errors.Is(err, fs.ErrPermission) {
		return err
	}
	for i := len(missing) - 1; i >= 0; i-- {
		if err := os.Mkdir(missing[i], mode); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		created(missing[i])
		if err := SyncDir(filepath.Dir(missing[i])); err != nil {
			return err
		}
	}
	return nil
}

// Sweep removes the temporary files that killed processes left in a folder. The caller MUST be the
// only one who writes there, which a Lock ensures.
func Sweep(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if e.Type().IsRegular() && isTemp(e.Name()) {
			errs = append(errs, Remove(filepath.Join(dir, e.Name())))
		}
	}
	return errors.Join(errs...)
}
