package agent

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/countersign-ota/countersign/agent/internal/state"
	"github.com/countersign-ota/countersign/agent/trust"
	"github.com/countersign-ota/countersign/proto/reason"
)

// Local is an instruction given on the device itself. The target must be listed in verified metadata
// like any other; all rules bind.
type Local struct {
	// Path names the target, PRODUCT/VERSION/FILE. It may be empty when File is given and the
	// product lists its targets without bins.
	Path string
	// File is an image on this machine whose bytes are taken in place of a download.
	File string
}

// Check fetches and verifies metadata, makes it durable, and returns what this device is to install:
// the highest unstopped counter for its product, component and hardware. It returns nil and no error
// when there is nothing to do, and while an image is in trial or waits for a reboot. An image in trial
// that was stopped is taken back.
//
// Errors of class reason.NotAuthentic must reach a person; of class NotAllowed and NotYet say why the
// instructed image is not installed; after any error the next Check starts afresh on what was verified.
func (a *Agent) Check(ctx context.Context) (*Update, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	u, err := a.check(ctx, Local{})
	return u, a.refused(ctx, err)
}

// CheckLocal is Check with an instruction given on the device: reason permission unless the
// configuration allows it, not-found for a target that nobody signed.
func (a *Agent) CheckLocal(ctx context.Context, l Local) (*Update, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.cfg.AllowLocal {
		return nil, reason.Errorf(reason.Permission, "this device takes no local instruction").
			WithHint("set allow_local in its configuration")
	}
	u, err := a.check(ctx, l)
	return u, a.refused(ctx, err)
}

// Staged returns the update whose bytes are on disk, or nil. It uses no network.
func (a *Agent) Staged() *Update {
	a.mu.Lock()
	defer a.mu.Unlock()
	set := a.store.Record().Set
	if set == nil || set.State != state.State_STATE_STAGED {
		return nil
	}
	return ofSet(set)
}

func (a *Agent) check(ctx context.Context, l Local) (*Update, error) {
	if a.cfg.Transport == nil {
		return nil, reason.Errorf(reason.Config, "no transport to check with")
	}
	c, err := a.refresh(ctx)
	if err != nil {
		return nil, err
	}
	t, err := a.choose(ctx, c, l)
	if cerr := a.learn(c, err == nil); cerr != nil {
		return nil, cerr
	}
	if err != nil {
		return nil, err
	}
	if busy, err := a.busy(ctx); busy || err != nil {
		return nil, err
	}
	return a.consider(ctx, t, l)
}

// refresh brings stored metadata up to what the server has, and commits it, also what verified before
// an error.
func (a *Agent) refresh(ctx context.Context) (*trust.Client, error) {
	c, err := a.client(a.store.Record())
	if err != nil {
		return nil, err
	}
	err = c.Refresh(ctx, a.cfg.Transport)
	if cerr := a.learn(c, false); cerr != nil {
		return nil, cerr
	}
	return c, err
}

// learn commits the versions in force and, when the server was heard in full, the time and the stops.
func (a *Agent) learn(c *trust.Client, heard bool) error {
	rec := a.store.Record()
	adopt(rec, c)
	a.remember(rec, c.Stops(a.comp.Product))
	if heard {
		rec.Contact = a.cfg.now(rec.TimeFloor).Unix()
	}
	return a.commit(rec)
}

// choose returns the instructed target; nil where the product has none for this device.
func (a *Agent) choose(ctx context.Context, c *trust.Client, l Local) (*trust.Target, error) {
	if l.Path != "" {
		return c.Target(ctx, a.cfg.Transport, l.Path)
	}
	all, err := c.Product(ctx, a.cfg.Transport, a.comp.Product)
	if err != nil {
		return nil, err
	}
	if l.File != "" {
		return byHash(all, l.File)
	}
	rec := a.store.Record()
	var best *trust.Target
	for _, t := range all {
		if t.Firmware.Component != a.id || !slices.Contains(t.Firmware.Hardware, a.cfg.Hardware) {
			continue
		}
		if t.Stop != nil || stoppedIn(rec, t.Firmware.Counter, t.SHA256) {
			continue
		}
		if best == nil || t.Firmware.Counter > best.Firmware.Counter {
			best = t
		}
	}
	return best, nil
}

// byHash returns the target whose bytes lie in file. The highest counter wins where one image was
// released twice.
func byHash(all []*trust.Target, file string) (*trust.Target, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, reason.Errorf(reason.UsageError, "image: %w", err)
	}
	defer f.Close() //nolint:errcheck // nothing was written
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return nil, reason.Errorf(reason.UsageError, "image: %w", err)
	}
	have := h.Sum(nil)
	var best *trust.Target
	for _, t := range all {
		if bytes.Equal(t.SHA256[:], have) && (best == nil || t.Firmware.Counter > best.Firmware.Counter) {
			best = t
		}
	}
	if best == nil {
		return nil, reason.Errorf(reason.NotFound, "no release lists %q, sha256 %s…", filepath.Base(file), short(have))
	}
	return best, nil
}

// busy reports whether a set has gone too far to take another one. A stopped trial is taken back first.
func (a *Agent) busy(ctx context.Context) (bool, error) {
	set := a.store.Record().Set
	if set == nil {
		return false, nil
	}
	switch set.State {
	case state.State_STATE_TRIAL, state.State_STATE_CONFIRMING, state.State_STATE_REVERTING, state.State_STATE_INSTALLING:
		// INSTALLING is left by an Install whose context was cancelled.
	default:
		return false, nil
	}
	rec := a.store.Record()
	m := set.Members[0]
	if set.State == state.State_STATE_TRIAL && stoppedIn(rec, m.Counter, sum(m.Sha256)) {
		a.log.Warn("the image in trial was stopped and is taken back", "target", m.Path, "reason", reason.Stopped)
		if err := a.giveUp(ctx, reason.Errorf(reason.Stopped, "%s was stopped while in trial", m.Path), true); err != nil {
			return true, err
		}
	}
	if err := a.settle(ctx); err != nil {
		return true, err
	}
	set = a.store.Record().Set
	return set != nil && set.State != state.State_STATE_STAGED && set.State != state.State_STATE_STAGING &&
		set.State != state.State_STATE_REVERTED, nil
}

// consider judges the instructed target and makes it an update. A set for another instruction is
// dropped with its bytes, and so is its count of attempts.
func (a *Agent) consider(ctx context.Context, t *trust.Target, l Local) (*Update, error) {
	rec := a.store.Record()
	var u *Update
	var judged error
	if t != nil {
		u = newUpdate(a.id, t)
		u.file = l.File
		judged = a.judge(ctx, rec, t)
		if errors.Is(judged, errNothingToDo) {
			u, judged = nil, nil
		}
	}
	if rec.Set != nil && (u == nil || !u.same(rec.Set)) {
		rec.Set = nil
	}
	if judged == nil {
		rec.Refusal = nil
	}
	if err := a.commit(rec); err != nil {
		return nil, err
	}
	if err := a.clean(); err != nil {
		return nil, err
	}
	if judged != nil {
		return nil, judged
	}
	return u, nil
}
