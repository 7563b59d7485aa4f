// Package blob keeps files by their content: firmware, SBOMs, evidence.
//
// Start with Open. A file is uploaded through Writer, in as many sittings as it takes, and read
// through Reader once it is complete. Layout, aa being the first two hex digits of the SHA-256:
//
//	DIR/aa/SHA256        complete: durable, and its hash was checked
//	DIR/aa/SHA256.part   in progress; the file is the whole state of an upload: what is synced of it
//	                     is the offset, and a lock on it (flock) is held by the one writer
//
// A complete file is never written again or removed; only what a failed upload wrote is. Complete
// files are not hashed again when they are read: whoever installs one verifies it against signed
// metadata.
package blob

import (
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/countersign-ota/countersign/internal/durable"
	"github.com/countersign-ota/countersign/proto/reason"
)

const (
	// MaxLength is the longest file, in bytes (DESIGN 6).
	MaxLength = 16 << 30
	// partSuffix marks a file in progress.
	partSuffix = ".part"

	fileMode = 0o600
	dirMode  = 0o700
)

// ErrComplete says that a file is here already, whole; there is nothing to write.
var ErrComplete = errors.New("the file is complete")

// Dir is a folder of files. It is safe for concurrent use, also by several processes.
type Dir struct {
	path string
	// syncEvery is after how many bytes of an upload what was written is made durable.
	syncEvery int64
}

// Open returns the folder and makes it (0700) where it is missing.
func Open(dir string) (*Dir, error) {
	if err := durable.MkdirAll(dir, dirMode); err != nil {
		return nil, disk(err, "blobs")
	}
	return &Dir{path: dir, syncEvery: syncEvery}, nil
}

// Status says how far a file is: how many bytes of it are durable, and whether it is complete. A file
// of which nothing is known is at offset 0.
func (d *Dir) Status(sha256 [32]byte) (offset int64, complete bool, err error) {
	// Complete is asked last as well: the part may get its name in between.
	for range 2 {
		info, err := os.Lstat(d.name(sha256))
		if err == nil {
			return info.Size(), true, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return 0, false, disk(err, "blob %x", sha256)
		}
		offset, err = syncedSize(d.partName(sha256))
		if err == nil {
			return offset, false, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return 0, false, disk(err, "upload of %x", sha256)
		}
	}
	return 0, false, nil
}

// syncedSize returns a size up to which a file is durable. After a crash of the process alone the
// file is longer than what its writer synced, so it is synced here.
func syncedSize(path string) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), f.Sync()
}

func (d *Dir) folder(sha256 [32]byte) string {
	return filepath.Join(d.path, hex.EncodeToString(sha256[:1]))
}

func (d *Dir) name(sha256 [32]byte) string {
	return filepath.Join(d.folder(sha256), hex.EncodeToString(sha256[:]))
}

func (d *Dir) partName(sha256 [32]byte) string { return d.name(sha256) + partSuffix }

// disk gives an error of the file system its reason; nil stays nil.
func disk(err error, format string, args ...any) error {
	switch {
	case err == nil:
		return nil
	case reason.Of(err) != "":
		return err
	case errors.Is(err, durable.ErrLocked):
		return reason.Wrap(reason.Errorf(reason.UploadBusy, "somebody else is uploading it: %w", durable.ErrLocked).
			WithHint("wait for the other upload; it is then shared"), format, args...)
	case durable.IsFull(err):
		return reason.Wrap(reason.Errorf(reason.DiskFull, "%w", err), format, args...)
	case errors.Is(err, syscall.EIO):
		return reason.Wrap(reason.Errorf(reason.StateDamaged, "%w", err), format, args...)
	}
	return reason.Wrap(err, format, args...)
}
