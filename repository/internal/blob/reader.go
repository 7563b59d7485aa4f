package blob

import (
	"errors"
	"io"
	"io/fs"
	"os"

	"github.com/countersign-ota/countersign/proto/reason"
)

// AnyLength lets Reader take a complete file of any length.
const AnyLength = -1

// Reader reads a complete file. ReadAt is safe for concurrent use, Read and Seek are not.
type Reader struct {
	*io.SectionReader
	f *os.File
}

// Reader opens a complete file, which must have length bytes unless that is AnyLength. Reasons:
// not-found while it is not complete, state-damaged if it has another length.
func (d *Dir) Reader(sha256 [32]byte, length int64) (*Reader, error) {
	f, err := os.Open(d.name(sha256))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, reason.Errorf(reason.NotFound, "blob %x is not here: %w", sha256, fs.ErrNotExist)
	}
	if err != nil {
		return nil, disk(err, "blob %x", sha256)
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return nil, disk(err, "blob %x", sha256)
	}
	if !info.Mode().IsRegular() || (length != AnyLength && info.Size() != length) {
		_ = f.Close()
		return nil, reason.Errorf(reason.StateDamaged, "blob %x has %d bytes on the disk, want %d", sha256, info.Size(), length).
			WithHint("restore it from a backup, or remove it and upload it again")
	}
	return &Reader{SectionReader: io.NewSectionReader(whole{f, info.Size(), sha256}, 0, info.Size()), f: f}, nil
}

// Len returns the length of the whole file in bytes.
func (r *Reader) Len() int64 { return r.Size() }

// Close closes the file.
func (r *Reader) Close() error { return r.f.Close() }

// whole reports a file that became shorter since it was opened, which would otherwise look like its
// end.
type whole struct {
	f      *os.File
	length int64
	sha256 [32]byte
}

func (w whole) ReadAt(p []byte, off int64) (int, error) {
	n, err := w.f.ReadAt(p, off)
	if err == io.EOF && off+int64(n) < w.length {
		return n, reason.Errorf(reason.StateDamaged, "blob %x ends at byte %d of %d", w.sha256, off+int64(n), w.length)
	}
	if err != nil && err != io.EOF {
		return n, disk(err, "blob %x", w.sha256)
	}
	return n, err
}
