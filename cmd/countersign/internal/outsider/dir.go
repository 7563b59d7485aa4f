package outsider

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/countersign-ota/countersign/agent/trust"
	"github.com/countersign-ota/countersign/proto/reason"
)

// dir is a repository in a directory. What its links point at must lie in it too.
type dir struct{ root *os.Root }

var _ Source = (*dir)(nil)

func openDir(path string) (Source, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, reason.Errorf(reason.UsageError, "repository %q: %v", path, cause(err))
	}
	return &dir{root}, nil
}

// Open implements Source.
func (d *dir) Open(_ context.Context, path string) (io.ReadCloser, error) {
	name := filepath.FromSlash(path)
	// A pipe would be waited for when it is opened.
	info, err := d.root.Stat(name)
	if err == nil && !info.Mode().IsRegular() {
		return nil, reason.Errorf(reason.Malformed, "%s is not a regular file", path)
	}
	var f *os.File
	if err == nil {
		f, err = d.root.Open(name)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s: %w", path, trust.ErrNotFound)
	case errors.Is(err, fs.ErrPermission):
		return nil, reason.Errorf(reason.Unreachable, "%s: %v", path, cause(err))
	case err != nil:
		return nil, reason.Errorf(reason.Malformed, "%s: %v", path, cause(err))
	}
	return f, nil
}

// Copy implements Source.
func (d *dir) Copy() bool { return true }

// Close implements Source.
func (d *dir) Close() error { return d.root.Close() }
