package repository

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"time"

	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/repository/internal/audit"
	"github.com/countersign-ota/countersign/repository/internal/store"
	"github.com/countersign-ota/countersign/repository/internal/store/bolt"
)

// RestoreOptions say what is restored where.
type RestoreOptions struct {
	// Source is the folder of a backup.
	Source string
	// Dir is the server's directory, absolute, which must not exist; empty: the one that the backup's
	// configuration names.
	Dir string
	// Now is the clock; nil is the system's.
	Now func() time.Time
}

// Restored says what Restore made.
type Restored struct {
	Dir      string
	Config   string
	Manifest *Manifest
	// SHA256 is the manifest's.
	SHA256 [32]byte
	// Damaged are the paths of images and evidence that the backup names and that are gone or damaged
	// there, in order: recovery marks them, an upload heals them.
	Damaged []string
}

// Restore makes a server's directory out of a backup, whole or not at all. Every file is compared with the
// manifest; nothing but what that names is copied. The store is marked in the same step: the server starts
// and serves what is public, and signs, opens and publishes nothing until Recover. Reasons: malformed,
// hash-mismatch, exists, disk-full, locked, config, state-damaged.
func Restore(ctx context.Context, o RestoreOptions) (*Restored, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	data, err := readManifest(filepath.Join(o.Source, ManifestFile))
	if err != nil {
		return nil, err
	}
	m, err := ParseManifest(data)
	if err != nil {
		return nil, reason.Wrap(err, "%s", filepath.Join(o.Source, ManifestFile))
	}
	r := &restoration{ctx: ctx, o: o, m: m, made: &Restored{Manifest: m, SHA256: sha256.Sum256(data)}}
	if err := r.configure(); err != nil {
		return nil, err
	}
	if err := makeDir(r.made.Dir, r.fill); err != nil {
		return nil, err
	}
	return r.made, nil
}

type restoration struct {
	ctx    context.Context //nolint:containedctx // of the one restoration
	o      RestoreOptions
	m      *Manifest
	config []byte
	made   *Restored
}

func readManifest(path string) ([]byte, error) {
	f, err := openPlain(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, reason.Errorf(reason.Malformed, "%s is no whole backup: it has no %s, which is written last", filepath.Dir(path), ManifestFile).
			WithHint("restore another one")
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxManifest+1))
	if err == nil && len(data) > maxManifest {
		err = reason.Errorf(reason.TooLarge, "%s has more than %d bytes", path, maxManifest)
	}
	return data, err
}

// openPlain opens a regular file and follows no link.
func openPlain(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = reason.Errorf(reason.Malformed, "%s is not a plain file", path)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// configure reads the configuration of the backup and, for another directory, changes the one line of it.
func (r *restoration) configure() error {
	var err error
	for _, f := range r.m.Files {
		if f.Path == ConfigFile {
			var b bytes.Buffer
			if f.Length > maxConfig {
				return reason.Errorf(reason.TooLarge, "%s has more than %d bytes", ConfigFile, maxConfig)
			}
			if err = r.copyTo(newSumming(&b), f); err != nil {
				return err
			}
			r.config = b.Bytes()
		}
	}
	cfg, err := ParseConfig(ConfigFile, r.config)
	if err != nil {
		return reason.Wrap(err, "backup")
	}
	if cfg.Deployment != r.m.Deployment {
		return reason.Errorf(reason.Malformed, "the backup is of deployment %q, its configuration says %q", r.m.Deployment, cfg.Deployment)
	}
	r.made.Dir = cfg.Dir
	if r.o.Dir != "" && r.o.Dir != cfg.Dir {
		if !filepath.IsAbs(r.o.Dir) {
			return reason.Errorf(reason.UsageError, "%q is not an absolute path", r.o.Dir)
		}
		if r.config, err = withDir(r.config, cfg, r.o.Dir); err != nil {
			return err
		}
		r.made.Dir = r.o.Dir
	}
	r.made.Config = filepath.Join(r.made.Dir, ConfigFile)
	return nil
}

// withDir returns the configuration with another dir. All else must stay as it is, so a file in which dir
// does not have a line of its own is left to people.
func withDir(config []byte, cfg *Config, dir string) ([]byte, error) {
	lines := strings.SplitAfter(string(config), "\n")
	for i, line := range lines {
		if !strings.HasPrefix(line, "dir:") {
			continue
		}
		lines[i] = fmt.Sprintf("dir: %q\n", dir)
		changed := []byte(strings.Join(lines, ""))
		got, err := ParseConfig(ConfigFile, changed)
		want := *cfg
		want.Dir = dir
		if err == nil && reflect.DeepEqual(*got, want) {
			return changed, nil
		}
		lines[i] = line
	}
	return nil, reason.Errorf(reason.Config, "the backup's %s says dir: %q in a way that cannot be changed here", ConfigFile, cfg.Dir).
		WithHint("restore it to %s", cfg.Dir)
}

// copyTo writes one file of the backup to w, and fails with hash-mismatch unless it is what the manifest
// says.
func (r *restoration) copyTo(w *summing, e ManifestEntry) error {
	f, err := openPlain(filepath.Join(r.o.Source, filepath.FromSlash(e.Path)))
	if errors.Is(err, fs.ErrNotExist) {
		return reason.Errorf(reason.HashMismatch, "%s is not in the backup, and its manifest names it", e.Path)
	}
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if err := copyUntil(r.ctx, w, io.LimitReader(f, e.Length+1)); err != nil {
		return err
	}
	if got := hex.EncodeToString(w.sum()); w.n != e.Length || got != e.SHA256 {
		return reason.Errorf(reason.HashMismatch, "%s in the backup has sha256 %.12s, its manifest says %.12s", e.Path, got, e.SHA256).
			WithHint("restore another backup; this one was damaged or changed")
	}
	return nil
}

func (r *restoration) fill(tmp string) error {
	r.made.Damaged = nil
	for _, e := range r.m.Files {
		err := r.put(tmp, e)
		if _, isBlob := blobOf(e.Path); isBlob && (reason.Is(err, reason.HashMismatch) || errors.Is(err, syscall.EIO)) {
			r.made.Damaged = append(r.made.Damaged, e.Path)
			continue
		}
		if err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Join(tmp, blobsDir), 0o700); err != nil {
		return err
	}
	return r.mark(filepath.Join(tmp, storeFile))
}

func (r *restoration) put(tmp string, e ManifestEntry) error {
	write := func(w *summing) error { return r.copyTo(w, e) }
	if e.Path == ConfigFile {
		write = func(w *summing) error { _, err := w.Write(r.config); return err }
	}
	_, err := putFile(tmp, e.Path, e.Public, write)
	return err
}

// mark makes the store one that must be recovered.
func (r *restoration) mark(path string) error {
	db, err := bolt.Open(path, bolt.Options{})
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	var deployment string
	var last uint64
	var sum [32]byte
	err = db.View(r.ctx, func(v store.View) error {
		if deployment, err = v.Meta(store.MetaDeployment); err != nil {
			return err
		}
		last, sum, err = lastEntry(v)
		return err
	})
	if err != nil {
		return err
	}
	if deployment != r.m.Deployment || int64(last) != r.m.LastEntry || hex.EncodeToString(sum[:]) != r.m.LastEntrySHA256 { //nolint:gosec // entries are counted from 1
		return reason.Errorf(reason.Malformed, "the store in the backup is of %q and ends at entry %d, its manifest says %q and %d", deployment, last, r.m.Deployment, r.m.LastEntry)
	}
	now := r.o.Now()
	state := fmt.Sprintf("restored at %s from the copy of %s, whose log ends at entry %d (%.12s)", now.UTC().Format(time.RFC3339), r.m.MadeAt, last, r.m.LastEntrySHA256)
	err = db.Update(r.ctx, func(tx store.Tx) error {
		if err := tx.SetMeta(store.MetaRestored, state); err != nil {
			return err
		}
		return audit.Write(tx, audit.Entry(now, audit.Server, "server.restore", deployment,
			fmt.Sprintf("%s; manifest %x; %d files damaged", state, r.made.SHA256, len(r.made.Damaged))))
	})
	return errors.Join(err, db.Close())
}
