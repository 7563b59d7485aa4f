// Package durable writes files that survive a power cut.
//
// A name that it gives to bytes always has all of them: they go to a temporary name in the same
// folder, are synced, get their name, and then the folder is synced. After a power cut at any moment
// a name has its old content or its new one, never half of either; when a function returned nil, it
// has the new one. Start with CreateNew, CreateOrSame and Replace for contents that are at hand, with
// OpenLocked and Temp for streams, and with Lock for one process at a time.
//
// A process that is killed may leave files named .countersign-*.tmp; Sweep removes them.
//
// Errors wrap the system's: errors.Is works with fs.ErrExist and fs.ErrNotExist, IsFull says that a
// disk is full, and ErrLocked that another holds a lock. The package imports none of the others, so
// callers give errors their reasons.
//
// What it cannot help against: a disk that says that it has written what it has not, damage to bytes
// at rest, and other processes that write into the same names.
package durable

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Temporary files are named tempPrefix, 16 hex digits, tempSuffix. The name does not depend on the
// final one, which may be as long as the file system allows.
const (
	tempPrefix = ".countersign-"
	tempSuffix = ".tmp"
)

// IsFull reports whether err says that a disk or a quota is full.
func IsFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// CreateNew writes a file that must not exist yet; fs.ErrExist if it does. mode is cut by the umask.
func CreateNew(path string, data []byte, mode fs.FileMode) error {
	// Asked first only to save the writing; renameNew decides.
	if _, err := os.Lstat(path); err == nil {
		return &fs.PathError{Op: "create", Path: path, Err: fs.ErrExist}
	}
	f, err := temp(path, data, mode)
	if err != nil {
		return err
	}
	return f.RenameNew(path)
}

// CreateOrSame writes a file that must not exist yet unless it holds the same bytes; fs.ErrExist if it
// holds others. Its mode is then left as it is.
func CreateOrSame(path string, data []byte, mode fs.FileMode) error {
	err := CreateNew(path, data, mode)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	f, openErr := os.Open(path)
	if openErr != nil {
		return openErr
	}
	defer func() { _ = f.Close() }()
	old, readErr := io.ReadAll(io.LimitReader(f, int64(len(data))+1))
	if readErr != nil {
		return readErr
	}
	if !bytes.Equal(old, data) {
		return err
	}
	// The one who wrote it may have died before the last sync.
	step("sync", path)
	if err := f.Sync(); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// Replace writes a file, in place of an older one where there is one. Whoever has the older one open
// keeps reading that. mode is cut by the umask.
func Replace(path string, data []byte, mode fs.FileMode) error {
	f, err := temp(path, data, mode)
	if err != nil {
		return err
	}
	return f.Rename(path)
}

// temp writes data to a temporary file in the folder of path.
func temp(path string, data []byte, mode fs.FileMode) (*File, error) {
	f, err := Temp(filepath.Dir(path), mode)
	if err != nil {
		return nil, err
	}
	if _, err := f.Write(data); err != nil {
		return nil, errors.Join(err, f.discard())
	}
	return f, nil
}

// tempName returns a new temporary name. It need not be secret or unguessable: it is created with
// O_EXCL.
func tempName(dir string) string {
	return filepath.Join(dir, fmt.Sprintf("%s%016x%s", tempPrefix, rand.Uint64(), tempSuffix))
}

// isTemp reports whether a name in a folder is one of ours.
func isTemp(name string) bool {
	return strings.HasPrefix(name, tempPrefix) && strings.HasSuffix(name, tempSuffix)
}
