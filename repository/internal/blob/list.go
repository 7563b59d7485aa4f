package blob

import (
	"context"
	"encoding/hex"
	"errors"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"
)

// Entry is a file in the folder, complete or in progress.
type Entry struct {
	SHA256   [32]byte
	Length   int64
	Complete bool
}

// List yields all files by SHA-256, the complete one first where an upload stands beside it. It
// changes nothing; files that come or go meanwhile may be missed. Files under foreign names are
// passed over. After an error it stops.
func (d *Dir) List(ctx context.Context) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		folders, err := os.ReadDir(d.path)
		if err != nil {
			yield(Entry{}, disk(err, "blobs"))
			return
		}
		for _, folder := range folders {
			if !folder.IsDir() || len(folder.Name()) != 2 {
				continue
			}
			if err := ctx.Err(); err != nil {
				yield(Entry{}, err)
				return
			}
			if !d.listFolder(folder.Name(), yield) {
				return
			}
		}
	}
}

func (d *Dir) listFolder(name string, yield func(Entry, error) bool) bool {
	files, err := os.ReadDir(filepath.Join(d.path, name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		yield(Entry{}, disk(err, "blobs"))
		return false
	}
	for _, f := range files {
		e, ok := parseName(name, f.Name())
		if !ok || !f.Type().IsRegular() {
			continue
		}
		info, err := f.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			yield(Entry{}, disk(err, "blob %x", e.SHA256))
			return false
		}
		e.Length = info.Size()
		if !yield(e, nil) {
			return false
		}
	}
	return true
}

// parseName reads the name of a file in a folder.
func parseName(folder, name string) (Entry, bool) {
	digits, part := strings.CutSuffix(name, partSuffix)
	sum, err := hex.DecodeString(digits)
	if err != nil || len(sum) != 32 || hex.EncodeToString(sum) != digits || digits[:2] != folder {
		return Entry{}, false
	}
	return Entry{SHA256: [32]byte(sum), Complete: !part}, true
}
