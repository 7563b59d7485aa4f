package blob

import (
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"io/fs"
	"os"

	"github.com/countersign-ota/countersign/internal/durable"
	"github.com/countersign-ota/countersign/proto/reason"
)

const (
	// syncEvery is after how many bytes what was written is made durable: what a power cut can cost
	// an upload. On Close and Commit the rest is.
	syncEvery = 32 << 20
	// hashChunk is the size of the buffer with which an earlier part is read again, in bytes.
	hashChunk = 256 << 10
)

// Writer takes one upload. It is not safe for concurrent use. Either Commit or Close ends it; Close
// after Commit does nothing.
type Writer struct {
	d      *Dir
	sha256 [32]byte
	length int64
	f      *durable.File
	hash   hash.Hash
	err    error // what ended it
}

// Writer continues the upload of a file of length bytes at offset, which must be what Status says. It
// reads and hashes what is there already, once; cancelling ctx ends that and leaves the part as it is.
//
// ErrComplete says that the file is here. Reasons: upload-busy if another one uploads it now or did
// since Status; length-mismatch if more is here than length, which ends that upload and removes its
// part; too-large beyond MaxLength; disk-full.
func (d *Dir) Writer(ctx context.Context, sha256 [32]byte, length, offset int64) (*Writer, error) {
	if length < 0 || length > MaxLength {
		return nil, reason.Errorf(reason.TooLarge, "upload of %x: %d bytes, at most %d are allowed", sha256, length, int64(MaxLength))
	}
	if err := d.complete(sha256, length); err != nil {
		return nil, err
	}
	if err := durable.MkdirAll(d.folder(sha256), dirMode); err != nil {
		return nil, disk(err, "upload of %x", sha256)
	}
	f, err := durable.OpenLocked(d.partName(sha256), fileMode)
	if err != nil {
		return nil, disk(err, "upload of %x", sha256)
	}
	w, err := d.resume(ctx, f, sha256, length, offset)
	switch {
	case err == nil:
		return w, nil
	// A part longer than the file cannot become it; kept, it would refuse every upload of that length.
	case f.Size() == 0, f.Size() > length, errors.Is(err, ErrComplete):
		return nil, errors.Join(err, f.Remove())
	}
	return nil, errors.Join(err, f.Close())
}

// complete returns ErrComplete if the file is here, nil if it is not.
func (d *Dir) complete(sum [32]byte, length int64) error {
	info, err := os.Lstat(d.name(sum))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return disk(err, "blob %x", sum)
	}
	if info.Size() != length {
		return reason.Errorf(reason.LengthMismatch, "blob %x has %d bytes, not %d", sum, info.Size(), length)
	}
	return ErrComplete
}

func (d *Dir) resume(ctx context.Context, f *durable.File, sum [32]byte, length, offset int64) (*Writer, error) {
	// Under the lock nobody else can complete it any more.
	if err := d.complete(sum, length); err != nil {
		return nil, err
	}
	if f.Size() > length {
		return nil, reason.Errorf(reason.LengthMismatch, "upload of %x: %d bytes were here, of %d; they were removed", sum, f.Size(), length).
			WithHint("upload the file again from its beginning")
	}
	if f.Size() != offset {
		return nil, reason.Errorf(reason.UploadBusy, "upload of %x is at byte %d, not %d", sum, f.Size(), offset).
			WithHint("ask for its status and continue there")
	}
	w := &Writer{d: d, sha256: sum, length: length, f: f, hash: sha256.New()}
	buf := make([]byte, min(hashChunk, offset))
	for at := int64(0); at < offset; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n, err := f.ReadAt(buf[:min(int64(len(buf)), offset-at)], at)
		if n == 0 {
			if err == nil || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, disk(err, "upload of %x", sum)
		}
		w.hash.Write(buf[:n])
		at += int64(n)
	}
	return w, nil
}

// Offset returns how many bytes are in the part, durable or not.
func (w *Writer) Offset() int64 { return w.f.Size() }

// Write adds bytes. Bytes beyond the stated length end the upload and remove the part: reason
// length-mismatch. On a full disk (disk-full) the part is cut to what was durable, and it can be
// continued when there is room.
func (w *Writer) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	if int64(len(p)) > w.length-w.f.Size() {
		return 0, w.drop(reason.Errorf(reason.LengthMismatch, "upload of %x is longer than the stated %d bytes", w.sha256, w.length))
	}
	n, err := w.f.Write(p)
	w.hash.Write(p[:n])
	if err == nil && w.f.Size()-w.f.Synced() >= w.d.syncEvery {
		err = w.f.Sync()
	}
	if err != nil {
		return n, w.retreat(err)
	}
	return n, nil
}

// Commit makes the file complete: when it returns nil, the file is durable and readable. A wrong hash
// ends the upload and removes the part: reason hash-mismatch. While bytes are missing
// (length-mismatch), the part stays.
func (w *Writer) Commit() error {
	if w.err != nil {
		return w.err
	}
	if w.f.Size() != w.length {
		err := reason.Errorf(reason.LengthMismatch, "upload of %x ended at byte %d of %d", w.sha256, w.f.Size(), w.length).
			WithHint("continue it from its status")
		return errors.Join(err, w.Close())
	}
	if sum := [32]byte(w.hash.Sum(nil)); sum != w.sha256 {
		return w.drop(reason.Errorf(reason.HashMismatch, "upload has SHA-256 %x, not %x; it was removed", sum, w.sha256).
			WithHint("upload the file again from its beginning"))
	}
	if err := w.f.Sync(); err != nil {
		return w.retreat(err)
	}
	if err := w.f.Rename(w.d.name(w.sha256)); err != nil {
		w.err = disk(err, "complete upload of %x", w.sha256)
		return w.err
	}
	w.err = ErrComplete
	return nil
}

// Close ends a sitting: what was written is made durable and kept for the next one. An empty part is
// removed.
func (w *Writer) Close() error {
	if w.ended() {
		return nil
	}
	if w.f.Size() == 0 {
		w.err = os.ErrClosed
		return disk(w.f.Remove(), "upload of %x", w.sha256)
	}
	if w.f.Size() != w.f.Synced() {
		if err := w.f.Sync(); err != nil {
			return w.retreat(err)
		}
	}
	w.err = os.ErrClosed
	return disk(w.f.Close(), "upload of %x", w.sha256)
}

func (w *Writer) ended() bool { return w.err != nil }

// drop ends the upload and removes the part.
func (w *Writer) drop(err error) error {
	w.err = err
	if rmErr := w.f.Remove(); rmErr != nil {
		return errors.Join(err, rmErr)
	}
	return err
}

// retreat ends the sitting after an error of the disk, with the part as it was at the last sync.
func (w *Writer) retreat(err error) error {
	w.err = disk(err, "upload of %x", w.sha256)
	if w.f.Synced() == 0 {
		return w.cleanup(w.f.Remove())
	}
	return w.cleanup(errors.Join(w.f.Truncate(w.f.Synced()), w.f.Close()))
}

// cleanup adds what went wrong on the way out; the first error keeps its reason.
func (w *Writer) cleanup(err error) error {
	if err != nil {
		return errors.Join(w.err, err)
	}
	return w.err
}
