package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// File is a file that grows at its end. What was written before the last Sync survives a power cut,
// what came after it may not. It is not safe for concurrent use.
type File struct {
	f      *os.File
	path   string
	size   int64
	synced int64
	temp   bool
}

// Temp makes a file under a temporary name in a folder, to be written and then renamed. mode is cut
// by the umask.
func Temp(dir string, mode fs.FileMode) (*File, error) {
	for {
		path := tempName(dir)
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, mode)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		created(path)
		return &File{f: f, path: path, temp: true}, nil
	}
}

// OpenLocked opens a file that is its own lock, or makes it: one caller has it at a time, here or in
// another process; the second gets ErrLocked. What it holds and its name are durable on return. mode
// is cut by the umask.
func OpenLocked(path string, mode fs.FileMode) (*File, error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, mode)
		if err != nil {
			return nil, err
		}
		opened, err := lockCurrent(f, path)
		if err != nil || opened == nil {
			_ = f.Close()
			if err != nil {
				return nil, err
			}
			continue
		}
		if !opened.Mode().IsRegular() {
			_ = f.Close()
			return nil, &fs.PathError{Op: "open", Path: path, Err: errors.New("not a regular file")}
		}
		file := &File{f: f, path: path, size: opened.Size()}
		if err := errors.Join(file.Sync(), SyncDir(filepath.Dir(path))); err != nil {
			_ = f.Close()
			return nil, err
		}
		return file, nil
	}
}

// lockCurrent locks f and returns nil if path names another file by then: the holder before us
// renamed or removed it, and we must not write into what is complete.
func lockCurrent(f *os.File, path string) (fs.FileInfo, error) {
	if err := flock(f); err != nil {
		return nil, lockedBy(err, path, "")
	}
	opened, err := f.Stat()
	if err != nil {
		return nil, err
	}
	named, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(opened, named) {
		return nil, nil
	}
	return opened, err
}

// Name returns the path under which the file was opened.
func (f *File) Name() string { return f.path }

// Write appends. After an error, Size says how much of p is in the file.
func (f *File) Write(p []byte) (int, error) {
	n, err := f.f.WriteAt(p, f.size)
	f.size += int64(n)
	wrote(f.path, f.synced)
	return n, err
}

// ReadAt reads what was written, synced or not.
func (f *File) ReadAt(p []byte, off int64) (int, error) { return f.f.ReadAt(p, off) }

// Size returns how many bytes the file holds.
func (f *File) Size() int64 { return f.size }

// Synced returns up to where the file is durable.
func (f *File) Synced() int64 { return f.synced }

// Sync makes all that was written durable. After an error it is not known what is; the caller MUST
// Truncate to Synced or give the file up, since a second Sync of the same bytes may claim success.
func (f *File) Sync() error {
	step("sync", f.path)
	if err := f.f.Sync(); err != nil {
		return err
	}
	f.synced = f.size
	fileSynced(f.path)
	return nil
}

// Truncate cuts the file to its first size bytes, durably.
func (f *File) Truncate(size int64) error {
	if size < 0 || size > f.size {
		return fmt.Errorf("truncate %q to %d bytes: it has %d", f.path, size, f.size)
	}
	if err := f.f.Truncate(size); err != nil {
		return err
	}
	f.size, f.synced = size, min(size, f.synced)
	return f.Sync()
}

// Rename syncs the file, gives it its name in place of a file that has it, and closes it. After an
// error a temporary file is removed and any other one left under its old name.
func (f *File) Rename(to string) error { return f.finish(to, Rename) }

// RenameNew is Rename where the name must be free; fs.ErrExist if it is not.
func (f *File) RenameNew(to string) error { return f.finish(to, renameNew) }

func (f *File) finish(to string, rename func(from, to string) error) error {
	var err error
	if f.synced != f.size || f.temp {
		err = f.Sync()
	}
	if err == nil {
		err = rename(f.path, to)
	}
	if err != nil {
		return errors.Join(err, f.discard())
	}
	// The lock, if there is one, falls only now, when the name is durable.
	return f.f.Close()
}

// Remove closes and removes the file, durably.
func (f *File) Remove() error {
	return errors.Join(Remove(f.path), f.f.Close())
}

// Close closes the file and syncs nothing; a temporary one is removed.
func (f *File) Close() error { return f.discard() }

// discard closes the file and removes a temporary one. It need not last: Sweep would find it.
func (f *File) discard() error {
	err := f.f.Close()
	if errors.Is(err, fs.ErrClosed) {
		return nil
	}
	if f.temp {
		if rmErr := os.Remove(f.path); rmErr != nil && !errors.Is(rmErr, fs.ErrNotExist) {
			err = errors.Join(err, rmErr)
		}
		forget(f.path)
	}
	return err
}
