package stage

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/countersign-ota/countersign/internal/durable"
	"github.com/countersign-ota/countersign/proto/reason"
)

// Verify reads the file at path and returns nil if it has this length and hash: length-mismatch,
// hash-mismatch, or an error with fs.ErrNotExist in its chain otherwise.
func Verify(ctx context.Context, path string, sha [32]byte, length int64) error {
	f, err := openRegular(path, os.O_RDONLY)
	if err != nil {
		return local("open", path, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return local("read", path, err)
	}
	if info.Size() != length {
		return reason.Errorf(reason.LengthMismatch, "%q has %d bytes, signed %d", path, info.Size(), length)
	}
	h := sha256.New()
	n, err := Copy(ctx, h, io.LimitReader(f, length+1))
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return local("read", path, err)
	case n != length:
		return reason.Errorf(reason.LengthMismatch, "%q has %d bytes, signed %d", path, n, length)
	}
	if got := [32]byte(h.Sum(nil)); got != sha {
		return reason.Errorf(reason.HashMismatch, "%q has sha256 %x, signed %x", path, got, sha)
	}
	return nil
}

// Clean removes every staged or partly staged file but those to keep. What it does not know by name
// it leaves. On return the removals are durable.
func (d *Dir) Clean(keep map[[32]byte]bool) error {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return local("list", d.path, err)
	}
	errs := []error{durable.Sweep(d.path)}
	for _, e := range entries {
		sha, suffix, ok := parseName(e.Name())
		if !ok {
			continue
		}
		switch suffix {
		case "", ".part", ".hash":
			if keep[sha] {
				continue
			}
		}
		errs = append(errs, d.remove(filepath.Join(d.path, e.Name())))
	}
	return errors.Join(append(errs, durable.SyncDir(d.path))...)
}

// parseName splits a name of ours into hash and suffix. Other suffixes than the known ones belong to
// files that were being replaced when the power went.
func parseName(name string) (sha [32]byte, suffix string, ok bool) {
	const digits = 2 * sha256.Size
	name = strings.TrimPrefix(name, ".")
	if len(name) < digits || len(name) > digits && name[digits] != '.' {
		return sha, "", false
	}
	stem, suffix := name[:digits], name[digits:]
	_, err := hex.Decode(sha[:], []byte(stem))
	return sha, suffix, err == nil && strings.ToLower(stem) == stem
}
