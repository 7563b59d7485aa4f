package agent

import (
	"context"

	"github.com/countersign-ota/countersign/agent/gate"
	"github.com/countersign-ota/countersign/agent/install"
	"github.com/countersign-ota/countersign/agent/internal/stage"
	"github.com/countersign-ota/countersign/agent/internal/state"
	"github.com/countersign-ota/countersign/agent/trust"
	"github.com/countersign-ota/countersign/proto/reason"
)

// Install installs and activates what Stage staged. Before it writes, and again before it activates,
// it verifies from stored metadata that the target is still listed with this hash and not stopped,
// that root and targets are unexpired and every rule still holds, and asks the gates; it hashes the
// staged bytes again. It uses no network.
//
// When it returns nil the image is confirmed, in trial, or waits for a reboot (Status says which). A
// closed gate, reason gate, defers: nothing is lost. Reason install-failed counts as an attempt. Once
// it was cut off at any point, by its context or by power, the next Install or Open goes on.
func (a *Agent) Install(ctx context.Context, u *Update) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.refused(ctx, a.installSet(ctx, u))
}

func (a *Agent) installSet(ctx context.Context, u *Update) error {
	if err := a.settle(ctx); err != nil {
		return err
	}
	set := a.store.Record().Set
	if !u.same(set) || (set.State == state.State_STATE_STAGING || set.State == state.State_STATE_REVERTED) {
		return reason.Errorf(reason.UsageError, "%s is not staged", u)
	}
	if set.State != state.State_STATE_STAGED {
		return nil // beyond it already: in trial, or waiting for a reboot
	}
	m := set.Members[0]
	if err := a.installMember(ctx, m); err != nil {
		return &targetError{path: m.Path, counter: m.Counter, err: reason.Wrap(err, "%s not installed", m.Path)}
	}
	return a.settle(ctx)
}

// installMember takes one staged image through Install and Activate. The record is the commit point
// of each step: INSTALLING before the first write in place, installed after the last one, TRIAL after
// the activation.
func (a *Agent) installMember(ctx context.Context, m *state.Member) error {
	t, err := a.again(ctx, m, gate.Install)
	if err != nil {
		return err
	}
	path := a.stage.Path(sum(m.Sha256))
	if err := stage.Verify(ctx, path, sum(m.Sha256), m.Length); err != nil {
		return a.restage(err)
	}
	image := install.Image{
		Component: m.Component, Path: m.Path, Counter: m.Counter, Length: m.Length,
		SHA256: sum(m.Sha256), Args: t.Firmware.InstallerArgs, File: path,
	}
	if err := a.move(state.State_STATE_INSTALLING, nil); err != nil {
		return err
	}
	if !m.Installed {
		if err := a.comp.Installer.Install(ctx, image); err != nil {
			return a.failed(ctx, err)
		}
		if err := a.move(state.State_STATE_INSTALLING, func(m *state.Member) { m.Installed = true }); err != nil {
			return err
		}
	}
	if _, err := a.again(ctx, m, gate.Activate); err != nil {
		if merr := a.move(state.State_STATE_STAGED, nil); merr != nil {
			return merr
		}
		return err
	}
	if err := a.comp.Installer.Activate(ctx, image); err != nil {
		return a.failed(ctx, err)
	}
	return a.move(state.State_STATE_TRIAL, func(m *state.Member) { m.BootId = a.boot })
}

// again is the check at the moment of use: metadata as stored, every rule, and the gates
// (DESIGN 5.2, 5.4).
func (a *Agent) again(ctx context.Context, m *state.Member, step gate.Step) (*trust.Target, error) {
	rec := a.store.Record()
	c, err := a.client(rec)
	if err != nil {
		return nil, err
	}
	t, err := c.Target(ctx, nil, m.Path)
	if err != nil {
		return nil, err
	}
	if t.SHA256 != sum(m.Sha256) || t.Length != m.Length || t.Firmware.Counter != m.Counter {
		return nil, reason.Errorf(reason.HashMismatch, "it is listed as sha256 %s…, counter %d; staged is %s…, counter %d",
			short(t.SHA256[:]), t.Firmware.Counter, short(m.Sha256), m.Counter)
	}
	if err := a.rules(ctx, rec, t); err != nil {
		return nil, err
	}
	f := t.Firmware
	request := gate.Request{
		Step: step, Device: a.cfg.Device, Component: m.Component, Product: f.Product, Version: f.Version,
		Counter: f.Counter, Class: f.Class, Conditions: f.Conditions,
	}
	return t, a.gates.Check(ctx, request, a.cfg.now(rec.TimeFloor))
}

// restage sends a set back to be downloaded whose staged bytes are not what they were.
func (a *Agent) restage(err error) error {
	if r := reason.Of(err); r != reason.HashMismatch && r != reason.LengthMismatch {
		return err
	}
	rec := a.store.Record()
	rec.Set.State = state.State_STATE_STAGING
	if cerr := a.commit(rec); cerr != nil {
		return cerr
	}
	if cerr := a.stage.Clean(nil); cerr != nil {
		return cerr
	}
	return err
}

// move commits a state of the set and a change of its member.
func (a *Agent) move(to state.State, change func(*state.Member)) error {
	rec := a.store.Record()
	rec.Set.State = to
	if change != nil {
		change(rec.Set.Members[0])
	}
	return a.commit(rec)
}

// failed counts an attempt that the installer could not carry out and takes it back. A cancelled
// context is no failure.
func (a *Agent) failed(ctx context.Context, cause error) error {
	if ctx.Err() != nil {
		return cause
	}
	if reason.Of(cause) == "" {
		cause = reason.Errorf(reason.InstallFailed, "%w", cause)
	}
	if err := a.giveUp(ctx, cause, false); err != nil {
		return err
	}
	return cause
}
