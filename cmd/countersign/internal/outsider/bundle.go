package outsider

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/countersign-ota/countersign/agent/trust"
	"github.com/countersign-ota/countersign/proto/reason"
)

// Bounds of a bundle.
const (
	// maxEntries is how many files and folders it may hold.
	maxEntries = 1 << 18
	// maxEntryName bounds the name of one in bytes; the longest in the layout has 394.
	maxEntryName = 512
	// maxPadding bounds the zeros behind the end of a tar in bytes; tar itself pads to 10 KiB.
	maxPadding = 1 << 20
	// tarEnd is what ends a tar: two blocks of zeros.
	tarEnd = 1024
)

// span is where the bytes of a file lie in a bundle.
type span struct{ offset, length int64 }

// bundle is a repository in an uncompressed tar. Nothing is unpacked: files are read in place.
type bundle struct {
	file  *os.File
	files map[string]span
}

var _ Source = (*bundle)(nil)

func openBundle(path string) (_ Source, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, reason.Errorf(reason.UsageError, "bundle %q: %v", path, cause(err))
	}
	files, err := index(f)
	if err != nil {
		_ = f.Close()
		return nil, reason.Wrap(err, "bundle %q", path)
	}
	return &bundle{f, files}, nil
}

// index reads the headers of a tar and returns where its files lie. It holds regular files and folders
// only, each once, all below its top, and nothing behind its end. Reasons: malformed, too-large.
func index(r io.ReadSeeker) (map[string]span, error) {
	files := map[string]span{}
	in := tar.NewReader(r)
	for n := 0; ; n++ {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, reason.Errorf(reason.Malformed, "it is no whole, uncompressed tar: %v", err)
		}
		if n >= maxEntries {
			return nil, reason.Errorf(reason.TooLarge, "it has more than %d entries", maxEntries)
		}
		name, err := entryName(h)
		if err != nil {
			return nil, err
		}
		if h.Typeflag == tar.TypeDir {
			continue
		}
		if _, ok := files[name]; ok {
			return nil, reason.Errorf(reason.Malformed, "entry %q stands twice", name)
		}
		offset, err := r.Seek(0, io.SeekCurrent)
		if err != nil {
			return nil, err
		}
		files[name] = span{offset, h.Size}
	}
	return files, ended(r)
}

// entryName returns the path in the layout of an entry: its name without the "./" that tar puts in
// front.
func entryName(h *tar.Header) (string, error) {
	if len(h.Name) > maxEntryName {
		return "", reason.Errorf(reason.Malformed, "the name of an entry has %d bytes, at most %d are allowed", len(h.Name), maxEntryName)
	}
	if h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeDir {
		return "", reason.Errorf(reason.Malformed, "entry %q is of type %q: want regular files and folders only", h.Name, h.Typeflag)
	}
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return "", reason.Errorf(reason.Malformed, "entry %q has holes", h.Name)
		}
	}
	name := strings.TrimPrefix(h.Name, "./")
	if h.Typeflag == tar.TypeDir {
		if name = strings.TrimSuffix(name, "/"); name == "" {
			name = "."
		}
	}
	if !fs.ValidPath(name) || (name == "." && h.Typeflag != tar.TypeDir) {
		return "", reason.Errorf(reason.Malformed, "entry %q does not lie below the top of the bundle", h.Name)
	}
	return name, nil
}

// ended makes sure that a tar was not cut off between two entries, and that only zeros follow.
func ended(r io.ReadSeeker) error {
	at, err := r.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	size, err := r.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	switch {
	case size < tarEnd || size%512 != 0:
		return reason.Errorf(reason.Malformed, "it is cut off")
	case size-at > maxPadding:
		return reason.Errorf(reason.Malformed, "%d bytes follow its end", size-at)
	}
	at = min(at, size-tarEnd)
	if _, err := r.Seek(at, io.SeekStart); err != nil {
		return err
	}
	rest, err := io.ReadAll(io.LimitReader(r, maxPadding+tarEnd))
	if err != nil {
		return err
	}
	if strings.Trim(string(rest), "\x00") != "" {
		return reason.Errorf(reason.Malformed, "it is cut off, or something follows its end")
	}
	return nil
}

// Open implements Source.
func (b *bundle) Open(_ context.Context, path string) (io.ReadCloser, error) {
	s, ok := b.files[path]
	if !ok {
		return nil, fmt.Errorf("%s: %w", path, trust.ErrNotFound)
	}
	return io.NopCloser(io.NewSectionReader(b.file, s.offset, s.length)), nil
}

// Copy implements Source.
func (b *bundle) Copy() bool { return true }

// Close implements Source.
func (b *bundle) Close() error { return b.file.Close() }
