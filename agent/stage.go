package agent

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/countersign-ota/countersign/agent/internal/stage"
	"github.com/countersign-ota/countersign/agent/internal/state"
	"github.com/countersign-ota/countersign/proto/reason"
)

// Progress is told how many bytes of an image of total bytes are on disk. It may be nil.
type Progress func(target string, done, total int64)

// Stage brings the bytes of u to the disk: streamed through the hash, resumed where an earlier call
// or a power cut left off. When it returns nil they are whole, verified and durable. A cancelled or
// failed call leaves what it has for the next one; a failed download is no attempt. Reasons:
// unreachable, hash-mismatch, length-mismatch, disk-full.
func (a *Agent) Stage(ctx context.Context, u *Update, progress Progress) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.refused(ctx, a.stageSet(ctx, u, progress))
}

func (a *Agent) stageSet(ctx context.Context, u *Update, progress Progress) error {
	rec := a.store.Record()
	if set := rec.Set; set != nil && set.State != state.State_STATE_STAGING &&
		set.State != state.State_STATE_STAGED && set.State != state.State_STATE_REVERTED {
		return reason.Errorf(reason.Busy, "%s is in state %s", ofSet(set), stateName(set.State))
	}
	if !u.same(rec.Set) {
		rec.Set = &state.Set{Members: u.members, Instruction: instruction(u.members)}
	}
	if rec.Set.State == state.State_STATE_STAGED && a.whole(rec.Set) {
		return nil
	}
	rec.Set.State = state.State_STATE_STAGING
	for _, m := range rec.Set.Members {
		m.Installed = false
	}
	if err := a.commit(rec); err != nil {
		return err
	}
	if err := a.clean(); err != nil {
		return err
	}
	for _, m := range rec.Set.Members {
		if err := a.stageMember(ctx, u, m, progress); err != nil {
			return &targetError{path: m.Path, counter: m.Counter, err: reason.Wrap(err, "%s not staged", m.Path)}
		}
	}
	rec = a.store.Record()
	rec.Set.State = state.State_STATE_STAGED
	rec.Refusal = nil
	return a.commit(rec)
}

func (a *Agent) stageMember(ctx context.Context, u *Update, m *state.Member, progress Progress) error {
	open := func(ctx context.Context, offset int64) (io.ReadCloser, error) {
		return a.cfg.Transport.Download(ctx, m.Path, sum(m.Sha256), offset)
	}
	switch {
	case u.file != "":
		open = func(_ context.Context, offset int64) (io.ReadCloser, error) { return openAt(u.file, offset) }
	case a.cfg.Transport == nil:
		return reason.Errorf(reason.Config, "no transport to download with")
	}
	var report func(done, total int64)
	if progress != nil {
		report = func(done, total int64) { progress(m.Path, done, total) }
	}
	_, err := a.stage.Stage(ctx, stage.File{SHA256: sum(m.Sha256), Length: m.Length}, open, report)
	return err
}

// openAt opens a local image at an offset.
func openAt(path string, offset int64) (io.ReadCloser, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, reason.Errorf(reason.UsageError, "image: %w", err)
	}
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// whole reports whether the bytes of every member lie staged.
func (a *Agent) whole(set *state.Set) bool {
	for _, m := range set.Members {
		if !a.stage.Has(sum(m.Sha256)) {
			return false
		}
	}
	return true
}
