package durable

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
)

// ErrLocked says that somebody else holds a lock. Repeat it later, or stop the other one.
var ErrLocked = errors.New("locked by another process")

// LockedError is the ErrLocked of one path.
type LockedError struct {
	Path string
	// Holder is what the other one wrote about itself, such as "pid 4711"; empty if nothing.
	Holder string
}

// Error names the path and the holder.
func (e *LockedError) Error() string {
	if e.Holder == "" {
		return fmt.Sprintf("%q is %v", e.Path, ErrLocked)
	}
	return fmt.Sprintf("%q is %v (%s)", e.Path, ErrLocked, e.Holder)
}

// Unwrap returns ErrLocked.
func (e *LockedError) Unwrap() error { return ErrLocked }

// Lockfile is a lock that is held until Close or the end of the process, however it ends.
type Lockfile struct{ f *os.File }

// Lock takes the lock that a file stands for, which is made (0600) where it is missing and stays. It
// does not wait: if somebody else holds it, here or in another process, the error is a *LockedError.
// The file holds the process id of the holder, for people to read; only the lock on it counts.
func Lock(path string) (*Lockfile, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := flock(f); err != nil {
		holder, _ := io.ReadAll(io.LimitReader(f, 64))
		_ = f.Close()
		return nil, lockedBy(err, path, strings.TrimSpace(string(holder)))
	}
	// On a full disk the lock holds all the same.
	if err := f.Truncate(0); err == nil {
		_, _ = fmt.Fprintf(f, "pid %d\n", os.Getpid())
	}
	return &Lockfile{f: f}, nil
}

// Close lets go of the lock. The file stays: removing it would give two processes a lock each.
func (l *Lockfile) Close() error { return l.f.Close() }

// flock locks without waiting. The lock belongs to the open file, not to the process, so it also
// keeps goroutines of one process apart.
func flock(f *os.File) error {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

func lockedBy(err error, path, holder string) error {
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return &LockedError{Path: path, Holder: holder}
	}
	return &os.PathError{Op: "lock", Path: path, Err: err}
}
