package repository

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/countersign-ota/countersign/internal/durable"
	"github.com/countersign-ota/countersign/proto/reason"
)

// makeDir makes a folder that must not exist, durably, or nothing: fill makes what is in it under a name
// beside it, which it has for itself. What a killed process left there is removed first. Reasons: exists,
// locked, disk-full, secret-exposed.
func makeDir(dir string, fill func(tmp string) error) error {
	if _, err := os.Lstat(dir); err == nil {
		return reason.Errorf(reason.Exists, "%s exists, and nothing is overwritten", dir).WithHint("name a folder that is not there yet")
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	tmp := filepath.Join(filepath.Dir(dir), "."+filepath.Base(dir)+".unfinished")
	if err := ownDir(tmp); err != nil {
		return onDisk(err)
	}
	l, err := durable.Lock(filepath.Join(tmp, lockFile))
	if errors.Is(err, durable.ErrLocked) {
		return reason.Errorf(reason.Locked, "%s is being made by another process: %w", dir, err).WithHint("wait for it")
	}
	if err != nil {
		return onDisk(err)
	}
	defer func() { _ = l.Close() }()
	if err = emptyDir(tmp, lockFile); err == nil {
		err = fill(tmp)
	}
	if err == nil {
		err = durable.Rename(tmp, dir)
	}
	if err != nil {
		_ = os.RemoveAll(tmp)
	}
	return onDisk(err)
}

// ownDir makes a folder of mode 0700, or takes one that a killed process of this user left. In a folder such
// as /tmp others can put something there first: a link, behind which all would be removed, or a folder of
// theirs, in which they could replace what is copied.
func ownDir(dir string) error {
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		if err := durable.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); !info.IsDir() || !ok || int(owner.Uid) != os.Geteuid() {
		return reason.Errorf(reason.SecretExposed, "%s is in the way, and is no folder of this user (%d)", dir, os.Geteuid()).
			WithHint("remove it, or name a folder in which only you can write")
	}
	if info.Mode().Perm() == 0o700 {
		return nil
	}
	return os.Chmod(dir, 0o700) //nolint:gosec // a folder is entered
}

func inside(dir, path string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel)
}

// realPath follows the links in a path, as far as there is something under it.
func realPath(path string) string {
	if dir, err := filepath.EvalSymlinks(path); err == nil || path == filepath.Dir(path) {
		return dir
	}
	return filepath.Join(realPath(filepath.Dir(path)), filepath.Base(path))
}

// emptyDir removes all that is in a folder but keep.
func emptyDir(dir, keep string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() == keep {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return durable.SyncDir(dir)
}

// putFile writes one file below dir, durably, and describes it. What fails leaves no file.
func putFile(dir, rel string, public bool, write func(*summing) error) (ManifestEntry, error) {
	path := filepath.Join(dir, filepath.FromSlash(rel))
	if err := durable.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return ManifestEntry{}, err
	}
	mode := fs.FileMode(0o600)
	if public {
		mode = 0o644
	}
	f, err := durable.Temp(filepath.Dir(path), mode)
	if err != nil {
		return ManifestEntry{}, err
	}
	w := newSumming(f)
	if err := write(w); err != nil {
		return ManifestEntry{}, errors.Join(err, f.Close())
	}
	if err := f.RenameNew(path); err != nil {
		return ManifestEntry{}, err
	}
	return ManifestEntry{Path: rel, Length: w.n, SHA256: hex.EncodeToString(w.sum()), Public: public}, nil
}

// summing counts and hashes what it passes on.
type summing struct {
	w io.Writer
	h hash.Hash
	n int64
}

func newSumming(w io.Writer) *summing { return &summing{w: w, h: sha256.New()} }

// sum returns the SHA-256 of what was passed on so far.
func (s *summing) sum() []byte { return s.h.Sum(nil) }

func (s *summing) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	s.h.Write(p[:n])
	s.n += int64(n)
	return n, err
}

// copyUntil copies until the end of r or of ctx.
func copyUntil(ctx context.Context, w io.Writer, r io.Reader) error {
	buf := make([]byte, 1<<20)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := r.Read(buf)
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
