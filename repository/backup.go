package repository

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/countersign-ota/countersign/internal/durable"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/repository/internal/blob"
	"github.com/countersign-ota/countersign/repository/internal/store"
	"github.com/countersign-ota/countersign/repository/internal/store/bolt"
)

// tokenSuffix ends the names of token files. They are not copied: recovery voids all tokens.
const tokenSuffix = ".token"

// maxPlainFile bounds a file that is neither store nor blob, in bytes.
const maxPlainFile = 16 << 20

// backup is one copy on its way.
type backup struct {
	ctx    context.Context //nolint:containedctx // of the one copy
	cfg    *Config
	config []byte // server.yaml as it is used
	db     store.Store
	now    time.Time
	tmp    string // where it is made, beside dest
	dest   string
	m      *Manifest
}

// write makes the copy: the store as one state, while updates go on; the files of that state; all else in
// the directory; the manifest last. It gets its name when it is whole and durable.
func (b *backup) write() (*Manifest, error) {
	switch {
	case !filepath.IsAbs(b.dest):
		return nil, reason.Errorf(reason.UsageError, "%q is not an absolute path", b.dest)
	case inside(b.cfg.Dir, b.dest), inside(realPath(b.cfg.Dir), realPath(b.dest)):
		return nil, reason.Errorf(reason.UsageError, "%s lies within %s: the next backup would copy it too", b.dest, b.cfg.Dir)
	}
	written, err := ParseConfig(ConfigFile, b.config)
	if err != nil {
		return nil, err
	}
	if written.Dir != b.cfg.Dir || written.Deployment != b.cfg.Deployment {
		return nil, reason.Errorf(reason.Config, "the configuration is of %s in %s, this server of %s in %s", written.Deployment, written.Dir, b.cfg.Deployment, b.cfg.Dir)
	}
	err = makeDir(b.dest, func(tmp string) error {
		b.tmp = tmp
		return b.fill()
	})
	if err != nil {
		return nil, err
	}
	return b.m, nil
}

func (b *backup) fill() error {
	b.m = &Manifest{
		Format: manifestFormat, Deployment: b.cfg.Deployment, MadeAt: b.now.UTC().Format(time.RFC3339), Dir: b.cfg.Dir,
		Files: []ManifestEntry{}, Missing: []string{}, Outside: b.cfg.outside(),
	}
	for _, step := range []func() error{b.copyStore, b.copyBlobs, b.copyOthers} {
		if err := step(); err != nil {
			return err
		}
	}
	slices.SortFunc(b.m.Files, func(x, y ManifestEntry) int { return strings.Compare(x.Path, y.Path) })
	slices.Sort(b.m.Missing)
	data, err := b.m.Bytes()
	if err != nil {
		return err
	}
	return durable.CreateNew(filepath.Join(b.tmp, ManifestFile), data, 0o600)
}

// copyStore copies one state of the store.
func (b *backup) copyStore() error {
	s, ok := b.db.(store.Snapshotter)
	if !ok {
		return reason.Errorf(reason.UsageError, "this kind of store is copied by its own tools")
	}
	return b.put(storeFile, false, func(w *summing) error { return s.Snapshot(b.ctx, w) })
}

// copyBlobs copies the files that the copied state knows, and verifies each.
func (b *backup) copyBlobs() error {
	blobs, err := blob.Open(filepath.Join(b.cfg.Dir, blobsDir))
	if err != nil {
		return err
	}
	db, err := bolt.Open(filepath.Join(b.tmp, storeFile), bolt.Options{})
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	return db.View(b.ctx, func(v store.View) error {
		n, sum, err := lastEntry(v)
		if err != nil {
			return err
		}
		b.m.LastEntry, b.m.LastEntrySHA256 = int64(n), hex.EncodeToString(sum[:]) //nolint:gosec // entries are counted from 1
		for f, err := range v.Blobs() {
			if err != nil {
				return err
			}
			if !f.Record.GetComplete() {
				continue // lost before, as recovery marked
			}
			if err := b.copyBlob(blobs, f.SHA256, f.Record.GetLength()); err != nil {
				return err
			}
		}
		return nil
	})
}

func (b *backup) copyBlob(blobs *blob.Dir, sum [32]byte, length int64) error {
	err := b.put(blobPath(sum), false, func(w *summing) error {
		r, err := blobs.Reader(sum, length)
		if err != nil {
			return err
		}
		defer func() { _ = r.Close() }()
		if err := copyUntil(b.ctx, w, r); err != nil {
			return err
		}
		if got := [32]byte(w.sum()); got != sum {
			return reason.Errorf(reason.HashMismatch, "blob %x has SHA-256 %x", sum, got)
		}
		return nil
	})
	// One that is gone or damaged spoils no copy of the others; the caller is told.
	if reason.Is(err, reason.NotFound) || reason.Is(err, reason.StateDamaged) || reason.Is(err, reason.HashMismatch) {
		b.m.Missing = append(b.m.Missing, hex.EncodeToString(sum[:]))
		return nil
	}
	return err
}

// copyOthers copies all else: configuration, identity, online keys.
func (b *backup) copyOthers() error {
	if err := b.put(ConfigFile, true, func(w *summing) error { _, err := w.Write(b.config); return err }); err != nil {
		return err
	}
	dir, err := filepath.EvalSymlinks(b.cfg.Dir) // WalkDir does not follow a link, and dir may be one
	if err != nil {
		return err
	}
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // a temporary file that has its name by now
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		switch {
		case e.IsDir() && rel == blobsDir:
			return fs.SkipDir
		case e.Type() == fs.ModeSymlink && rel != blobsDir && rel != storeFile && rel != ConfigFile && backupPath(rel):
			b.m.Outside = append(b.m.Outside, rel+": a link")
			return nil
		case !e.Type().IsRegular() || rel == storeFile || rel == ConfigFile || !backupPath(rel):
			return nil
		}
		return b.copyFile(path, rel)
	})
}

func (b *backup) copyFile(path, rel string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() > maxPlainFile {
		return reason.Errorf(reason.TooLarge, "%s has %d bytes, at most %d are copied", path, info.Size(), maxPlainFile).
			WithHint("it is no file of the server's: move it elsewhere")
	}
	return b.put(rel, info.Mode().Perm()&0o044 == 0o044, func(w *summing) error {
		return copyUntil(b.ctx, w, io.LimitReader(f, maxPlainFile))
	})
}

// put writes one file durably and enters it in the manifest.
func (b *backup) put(rel string, public bool, write func(*summing) error) error {
	e, err := putFile(b.tmp, rel, public, write)
	if err == nil {
		b.m.Files = append(b.m.Files, e)
	}
	return err
}

// lastEntry returns the number of the last entry of the audit log and the SHA-256 of its record.
func lastEntry(v store.View) (n uint64, sum [32]byte, err error) {
	// There are no gaps, so entry n is there exactly if the log has n or more.
	at := func(n uint64) (*store.AuditEntry, error) {
		e, err := v.AuditLog(n, 1)
		if err != nil || len(e) == 0 {
			return nil, err
		}
		return &e[0], nil
	}
	low, high := uint64(0), uint64(1)
	var last *store.AuditEntry
	for {
		e, err := at(high)
		if err != nil {
			return 0, sum, err
		}
		if e == nil {
			break
		}
		low, last = high, e
		high *= 2
	}
	for low+1 < high {
		mid := low + (high-low)/2
		e, err := at(mid)
		if err != nil {
			return 0, sum, err
		}
		if e == nil {
			high = mid
		} else {
			low, last = mid, e
		}
	}
	if last == nil {
		return 0, sum, nil
	}
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(last.Record)
	return last.Seq, sha256.Sum256(data), err
}

// outside names what the configuration needs and what does not lie in the server's directory.
func (c *Config) outside() []string {
	out := []string{}
	for _, s := range []struct{ name, value string }{
		{"online.image", c.OnlineImage}, {"online.director", c.OnlineDirector}, {"tls.cert", c.TLSCert}, {"tls.key", c.TLSKey},
	} {
		if s.value == "" || !strings.Contains(s.value, ":") && inside(c.Dir, c.file(s.value)) {
			continue
		}
		out = append(out, s.name+": "+s.value)
	}
	return out
}
