package install

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"github.com/countersign-ota/countersign/internal/durable"
	"github.com/countersign-ota/countersign/proto/reason"
)

// FileConfig describes one file that is replaced as a whole.
type FileConfig struct {
	// Path of the file. Beside it lie PATH.new between Install and Activate, and PATH.old with the
	// previous version from Activate on.
	Path string
	// State is the file for the installer's record.
	State string
	// Mode of the file; 0 keeps that of the one it replaces, or is 0755 for the first.
	Mode fs.FileMode
}

// File replaces one file atomically: whoever opens PATH finds the old version or the new one, whole.
// The trial begins at Activate, without a reboot; starting the new version again is the maker's.
type File struct {
	c FileConfig
}

// NewFile returns the installer for c. It touches nothing.
func NewFile(c FileConfig) *File { return &File{c: c} }

// phase says where a replacement stands. It is written before the step that it names is begun.
type phase string

const (
	idle       phase = "idle"
	activating phase = "activating" // Next becomes Current: done when PATH.new is gone
	trying     phase = "trial"
	reverting  phase = "reverting" // Previous becomes Current: done when PATH.old is gone, or PATH if there was none
)

// fileRecord says which image lies where. A missing entry is a file that the installer did not put
// there, or none.
type fileRecord struct {
	Version  int    `json:"countersign_file"`
	Phase    phase  `json:"phase"`
	Current  *entry `json:"current,omitempty"`
	Previous *entry `json:"previous,omitempty"`
	Next     *entry `json:"next,omitempty"`
	// First is true when nothing lay at PATH before Current.
	First bool `json:"first,omitempty"`
}

// Name is the installer's name in firmware documents.
func (f *File) Name() string { return "file" }

func (f *File) fresh() string { return f.c.Path + ".new" }
func (f *File) old() string   { return f.c.Path + ".old" }

// load reads the record as the files show it to be: a step whose rename happened is done.
func (f *File) load() (fileRecord, error) {
	r := fileRecord{Phase: idle}
	err := loadRecord(f.c.State, &r)
	if err == nil && r.Version != recordVersion && r.Version != 0 {
		err = reason.Errorf(reason.StateDamaged, "record %q has version %d, want %d", f.c.State, r.Version, recordVersion)
	}
	if err != nil {
		return fileRecord{Version: recordVersion, Phase: idle}, err
	}
	r.Version = recordVersion
	switch {
	case r.Phase == activating && !exists(f.fresh()):
		r.Phase, r.Current, r.Previous, r.Next = trying, r.Next, r.Current, nil
	case r.Phase == reverting && (r.First && !exists(f.c.Path) || !r.First && !exists(f.old())):
		r.Phase, r.Current, r.Previous, r.First = idle, r.Previous, nil, false
	}
	return r, nil
}

// Install writes img to PATH.new. It does nothing if img was activated already, and refuses while
// another image is on trial.
func (f *File) Install(ctx context.Context, img Image) error {
	r, err := f.load()
	switch {
	case err != nil: // damaged: what lies there counts as not ours, and the record begins anew
	case r.Current.is(img) && f.holds(r.Current) && (r.Phase == trying || r.Phase == idle):
		return nil
	case r.Next.is(img) && r.Phase == activating:
		return nil
	case r.Phase != idle:
		return reason.Errorf(reason.InstallFailed, "another image is on trial in %q", f.c.Path)
	}
	if err := os.RemoveAll(f.fresh()); err != nil {
		return reason.Errorf(reason.InstallFailed, "cannot replace %q: %w", f.fresh(), err)
	}
	if err := write(ctx, f.fresh(), img); err != nil {
		if e := os.Remove(f.fresh()); e != nil && !errors.Is(e, fs.ErrNotExist) {
			return errors.Join(err, e)
		}
		return err
	}
	if err := f.dress(); err != nil {
		return err
	}
	r.Next = entryOf(img)
	return saveRecord(f.c.State, r)
}

// dress gives PATH.new the mode and owner of what it replaces.
func (f *File) dress() error {
	mode := f.c.Mode
	info, err := os.Lstat(f.c.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if mode == 0 {
			mode = 0o755
		}
	case err != nil:
		return reason.Errorf(reason.InstallFailed, "cannot read %q: %w", f.c.Path, err)
	case !info.Mode().IsRegular():
		return reason.Errorf(reason.InstallFailed, "%q is not a regular file", f.c.Path)
	default:
		if mode == 0 {
			mode = info.Mode().Perm()
		}
		if uid, gid := owner(info); uid != os.Getuid() || gid != os.Getgid() {
			if err := os.Chown(f.fresh(), uid, gid); err != nil {
				return reason.Errorf(reason.InstallFailed, "cannot give %q its owner: %w", f.fresh(), err)
			}
		}
	}
	if err := os.Chmod(f.fresh(), mode); err != nil {
		return reason.Errorf(reason.InstallFailed, "cannot give %q its mode: %w", f.fresh(), err)
	}
	return syncFile(f.fresh())
}

// Activate reads PATH.new back, keeps the file at PATH as PATH.old, and puts the new one in its place.
func (f *File) Activate(ctx context.Context, img Image) error {
	r, err := f.load()
	if err != nil {
		return err
	}
	if r.Current.is(img) && r.Next == nil && f.holds(r.Current) {
		return saveRecord(f.c.State, r) // done; the record may not have said so yet
	}
	if !r.Next.is(img) || r.Phase != idle && r.Phase != activating {
		return reason.Errorf(reason.InstallFailed, "%q holds sha256 %x, not %x of %q", f.fresh(), r.Next.sum(), img.SHA256, img.Path)
	}
	if err := readBack(ctx, f.fresh(), img); err != nil {
		return err
	}
	if r.Phase == idle {
		r.Phase, r.First = activating, !exists(f.c.Path)
		if err := saveRecord(f.c.State, r); err != nil {
			return err
		}
	}
	if !r.First {
		if err := keep(ctx, f.c.Path, f.old()); err != nil {
			return err
		}
	}
	if err := durable.Rename(f.fresh(), f.c.Path); err != nil {
		return reason.Errorf(reason.InstallFailed, "cannot replace %q: %w", f.c.Path, err)
	}
	r.Phase, r.Current, r.Previous, r.Next = trying, r.Next, r.Current, nil
	return saveRecord(f.c.State, r)
}

// keep makes old another name of path. Where the file system has no links it copies.
func keep(ctx context.Context, path, old string) error {
	fail := func(err error) error {
		return reason.Errorf(reason.InstallFailed, "cannot keep the previous version of %q: %w", path, err)
	}
	tmp := old + ".tmp"
	if err := os.RemoveAll(tmp); err != nil {
		return fail(err)
	}
	if err := os.Link(path, tmp); err != nil {
		if err := duplicate(ctx, path, tmp); err != nil {
			return fail(err)
		}
	}
	if err := durable.Rename(tmp, old); err != nil {
		return fail(err)
	}
	return nil
}

// Confirm ends the trial. PATH.old stays until the next Activate.
func (f *File) Confirm(context.Context) error {
	r, err := f.load()
	if err != nil || r.Phase != trying {
		return nil //nolint:nilerr // a lost record has no trial to end: what lies there runs
	}
	r.Phase = idle
	return saveRecord(f.c.State, r)
}

// Revert puts PATH.old back, or removes PATH where there was nothing before. An image that was
// installed and not activated is removed. Without its record, or with a damaged PATH.old, it is stuck
// and changes nothing.
func (f *File) Revert(ctx context.Context) error {
	r, err := f.load()
	if err != nil {
		return reason.Errorf(reason.Stuck, "cannot revert %q: %w", f.c.Path, err)
	}
	switch r.Phase {
	case idle, activating:
		// The record first: while it says activating, a missing PATH.new means that it is done.
		r.Phase, r.Next = idle, nil
		if err := saveRecord(f.c.State, r); err != nil {
			return err
		}
		if err := os.RemoveAll(f.fresh()); err != nil {
			return reason.Errorf(reason.InstallFailed, "cannot remove %q: %w", f.fresh(), err)
		}
		return nil
	case trying:
		if err := f.revertible(ctx, r); err != nil {
			return err
		}
		r.Phase = reverting
		if err := saveRecord(f.c.State, r); err != nil {
			return err
		}
	}
	if r.First {
		err = durable.Remove(f.c.Path)
	} else {
		err = durable.Rename(f.old(), f.c.Path)
	}
	if err != nil {
		return reason.Errorf(reason.InstallFailed, "cannot revert %q: %w", f.c.Path, err)
	}
	r.Phase, r.Current, r.Previous, r.First = idle, r.Previous, nil, false
	return saveRecord(f.c.State, r)
}

// revertible checks that what Revert would put back is there and whole.
func (f *File) revertible(ctx context.Context, r fileRecord) error {
	if r.First {
		return nil
	}
	if !exists(f.old()) {
		return reason.Errorf(reason.Stuck, "cannot revert %q: %q is gone", f.c.Path, f.old())
	}
	if p := r.Previous; p != nil {
		if err := readBack(ctx, f.old(), Image{SHA256: p.SHA256, Length: p.Length}); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return reason.Errorf(reason.Stuck, "cannot revert %q: %w", f.c.Path, err)
		}
	}
	return nil
}

// Running returns what the record says of PATH; a file of another length is not what was installed.
func (f *File) Running(context.Context) (Running, error) {
	r, err := f.load()
	if err != nil {
		return Running{}, nil //nolint:nilerr // a damaged record says nothing
	}
	run := Running{Trial: r.Phase == trying || r.Phase == reverting}
	if f.holds(r.Current) {
		run.SHA256 = r.Current.SHA256
	}
	return run, nil
}

// Fallback returns the hash of PATH.old, zero if the installer did not make it.
func (f *File) Fallback(context.Context) (sha [32]byte, ok bool, err error) {
	r, err := f.load()
	if err != nil || !exists(f.old()) {
		return sha, false, nil //nolint:nilerr // a damaged record says nothing of PATH.old
	}
	return r.Previous.sum(), true, nil
}

// MarkUnbootable removes PATH.old if it holds the image sha; zero stands for one that the installer
// did not put there. What lies at PATH is refused, and so is the way back of a trial: both are stuck.
func (f *File) MarkUnbootable(_ context.Context, sha [32]byte) error {
	r, err := f.load()
	if err != nil {
		return nil //nolint:nilerr // a damaged record says nothing of PATH.old
	}
	if !exists(f.old()) || r.Previous.sum() != sha {
		if f.holds(r.Current) && r.Current.SHA256 == sha {
			return reason.Errorf(reason.Stuck, "sha256 %x lies at %q, which stays", sha, f.c.Path)
		}
		return nil
	}
	if r.Phase != idle {
		return reason.Errorf(reason.Stuck, "%q is the way back of a trial", f.old())
	}
	if err := durable.Remove(f.old()); err != nil {
		return reason.Errorf(reason.InstallFailed, "cannot remove %q: %w", f.old(), err)
	}
	r.Previous = nil
	return saveRecord(f.c.State, r)
}

// holds reports whether PATH can be the image e, judged by its length.
func (f *File) holds(e *entry) bool {
	info, err := os.Lstat(f.c.Path)
	return err == nil && e != nil && info.Mode().IsRegular() && info.Size() == e.Length
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
