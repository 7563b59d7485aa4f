package agent

import (
	"bytes"
	"context"

	"github.com/countersign-ota/countersign/agent/install"
	"github.com/countersign-ota/countersign/agent/internal/state"
	"github.com/countersign-ota/countersign/proto/reason"
)

// settle takes the set as far as it goes without the network, a gate or a person: after a cut, after
// a reboot, and after an activation. What runs, and what boot control says, win over the record
// (DESIGN 5.1).
func (a *Agent) settle(ctx context.Context) error {
	set := a.store.Record().Set
	if set == nil || len(set.Members) == 0 {
		return nil
	}
	switch set.State {
	case state.State_STATE_STAGED:
		if !a.whole(set) {
			return a.move(state.State_STATE_STAGING, func(m *state.Member) { m.Installed = false })
		}
		return nil
	case state.State_STATE_INSTALLING, state.State_STATE_TRIAL, state.State_STATE_CONFIRMING, state.State_STATE_REVERTING:
	default:
		return nil
	}
	run, err := a.comp.Installer.Running(ctx)
	if err != nil {
		return reason.Wrap(err, "what runs")
	}
	m := set.Members[0]
	runs := run.SHA256 == sum(m.Sha256)
	switch set.State {
	case state.State_STATE_INSTALLING:
		return a.settleInstalling(ctx, run, runs)
	case state.State_STATE_TRIAL:
		return a.settleTrial(ctx, m, run, runs)
	case state.State_STATE_CONFIRMING:
		if runs {
			return a.finishConfirm(ctx)
		}
		return a.giveUp(ctx, fellBack(m), false)
	default:
		return a.finishRevert(ctx)
	}
}

// settleInstalling: the cut came between the first write in place and the record of the activation.
func (a *Agent) settleInstalling(ctx context.Context, run install.Running, runs bool) error {
	switch {
	case run.NeedsReboot, runs && run.Trial:
		// It was activated; the record just did not say so yet. Nothing but Activate names a next slot:
		// Install cleared that of an earlier attempt.
		if err := a.move(state.State_STATE_TRIAL, func(m *state.Member) { m.BootId = a.boot }); err != nil {
			return err
		}
		return a.settle(ctx)
	case runs:
		return a.finishConfirm(ctx)
	}
	return a.move(state.State_STATE_STAGED, nil)
}

func (a *Agent) settleTrial(ctx context.Context, m *state.Member, run install.Running, runs bool) error {
	switch {
	case run.NeedsReboot && m.BootId == a.boot:
		// It waits for its first boot.
		return a.move(state.State_STATE_TRIAL, func(m *state.Member) { m.Reboot = true })
	case !runs:
		return a.giveUp(ctx, fellBack(m), false)
	case !run.Trial:
		// Boot control calls it good already: the cut came between it and the record.
		return a.finishConfirm(ctx)
	case a.cfg.Confirm == ConfirmAuto:
		return a.confirm(ctx)
	}
	return a.move(state.State_STATE_TRIAL, func(m *state.Member) { m.Reboot = false })
}

func fellBack(m *state.Member) error {
	return reason.Errorf(reason.InstallFailed, "%s did not stay: the device runs the image before", m.Path)
}

// Confirm ends a trial: what runs stays, its counter and floor bind, and there is no way back below
// the floor. Reason not-found when nothing is in trial, install-failed when boot control refuses;
// then Confirm again.
func (a *Agent) Confirm(ctx context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	m, err := a.inTrial(ctx)
	if err != nil {
		return err
	}
	if m.Reboot {
		return reason.Errorf(reason.NotFound, "%s waits for a reboot and does not run yet", m.Path)
	}
	return a.confirm(ctx)
}

// Revert ends a trial the other way, also one that waits for its first boot: the image before runs
// again, at once or after a reboot (Status says which), and the one on trial is refused until the instruction changes. Reason not-found when
// nothing is in trial, stopped when a person stopped the image before.
func (a *Agent) Revert(ctx context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	m, err := a.inTrial(ctx)
	if err != nil {
		return err
	}
	return a.giveUp(ctx, reason.Errorf(reason.Declined, "%s was taken back by hand", m.Path), true)
}

// inTrial settles and returns the image in trial, or not-found.
func (a *Agent) inTrial(ctx context.Context) (*state.Member, error) {
	if err := a.settle(ctx); err != nil {
		return nil, err
	}
	set := a.store.Record().Set
	if set == nil || set.State != state.State_STATE_TRIAL {
		return nil, reason.Errorf(reason.NotFound, "nothing is in trial")
	}
	return set.Members[0], nil
}

// confirm decides: from the commit on nothing reverts any more, and Open repeats what is left.
func (a *Agent) confirm(ctx context.Context) error {
	if err := a.move(state.State_STATE_CONFIRMING, nil); err != nil {
		return err
	}
	return a.finishConfirm(ctx)
}

// finishConfirm: boot control first, then the record, so that counters never rise above what boots.
func (a *Agent) finishConfirm(ctx context.Context) error {
	if err := a.comp.Installer.Confirm(ctx); err != nil {
		return reason.Wrap(err, "confirm")
	}
	rec := a.store.Record()
	m := rec.Set.Members[0]
	comp := rec.Components[a.id]
	if !bytes.Equal(comp.Sha256, m.Sha256) {
		comp.PreviousCounter, comp.PreviousSha256, comp.PreviousPath = comp.Counter, comp.Sha256, comp.Path
	}
	comp.Counter = max(comp.Counter, m.Counter)
	comp.Floor = max(comp.Floor, m.Floor)
	comp.Sha256, comp.Path = m.Sha256, m.Path
	comp.ConfirmedAt = a.cfg.now(rec.TimeFloor).Unix()
	rec.Set, rec.Refusal, rec.Lost = nil, nil, false
	if err := a.commit(rec); err != nil {
		return err
	}
	a.log.Info("confirmed", "target", m.Path, "counter", m.Counter, "floor", comp.Floor)
	if err := a.clean(); err != nil {
		return err
	}
	return a.retire(ctx)
}

// giveUp decides the other way and counts the attempt; final uses up all of them. The image before
// must be one that may run: then, and where nothing better is left, the trial goes on working.
func (a *Agent) giveUp(ctx context.Context, cause error, final bool) error {
	rec := a.store.Record()
	m, comp := rec.Set.Members[0], rec.Components[a.id]
	run, err := a.comp.Installer.Running(ctx)
	if err != nil {
		return reason.Wrap(err, "what runs")
	}
	if run.SHA256 == sum(m.Sha256) && stoppedIn(rec, comp.Counter, sum(comp.Sha256)) {
		return reason.Errorf(reason.Stopped, "%s cannot be taken back: a person stopped %s, the image before", m.Path, comp.Path)
	}
	rec.Set.Attempts++
	if final {
		rec.Set.Attempts = MaxAttempts
	}
	rec.Set.Failure = clip(cause.Error())
	rec.Set.State = state.State_STATE_REVERTING
	m.Installed = false
	if err := a.commit(rec); err != nil {
		return err
	}
	a.log.Warn("taken back", "target", m.Path, "attempt", rec.Set.Attempts, "cause", rec.Set.Failure)
	return a.finishRevert(ctx)
}

// finishRevert repeats Revert until the image before runs. Where there is no way back, reason stuck, the
// device is left working: an image that runs stays in trial, so that it can be confirmed and the next
// release taken; any other set is over.
func (a *Agent) finishRevert(ctx context.Context) error {
	stuck := a.comp.Installer.Revert(ctx)
	if stuck != nil && !reason.Is(stuck, reason.Stuck) {
		return reason.Wrap(stuck, "revert")
	}
	run, err := a.comp.Installer.Running(ctx)
	if err != nil {
		return reason.Wrap(err, "what runs")
	}
	to, reboot := state.State_STATE_REVERTED, false
	switch {
	case stuck != nil && run.SHA256 == sum(a.store.Record().Set.Members[0].Sha256):
		to = state.State_STATE_TRIAL
	case stuck == nil && run.NeedsReboot:
		to, reboot = state.State_STATE_REVERTING, true
	}
	if err := a.move(to, func(m *state.Member) { m.Reboot = reboot }); err != nil {
		return err
	}
	if stuck != nil {
		return reason.Wrap(stuck, "revert")
	}
	return a.clean()
}

// retire has the kept image made unbootable when it is below the floor or stopped (DESIGN 5.1). It
// is asked after each confirmation and at every Open.
func (a *Agent) retire(ctx context.Context) error {
	keeper, ok := a.comp.Installer.(Fallbacker)
	if !ok {
		return nil
	}
	rec := a.store.Record()
	comp := rec.Components[a.id]
	if rec.Set != nil && rec.Set.State != state.State_STATE_STAGED && rec.Set.State != state.State_STATE_STAGING &&
		rec.Set.State != state.State_STATE_REVERTED {
		return nil // the other slot belongs to the trial
	}
	kept, bootable, err := keeper.Fallback(ctx)
	if err != nil {
		return reason.Wrap(err, "fallback")
	}
	if !bootable || kept == sum(comp.Sha256) || kept != sum(comp.PreviousSha256) {
		return nil
	}
	if comp.PreviousCounter >= comp.Floor && !stoppedIn(rec, comp.PreviousCounter, kept) {
		return nil
	}
	a.log.Info("image before may not boot again", "target", comp.PreviousPath, "counter", comp.PreviousCounter, "floor", comp.Floor)
	return a.unlessStuck(keeper.MarkUnbootable(ctx, kept), "fallback")
}

// unlessStuck logs that a component is stuck, which stops nothing, and returns every other error.
func (a *Agent) unlessStuck(err error, what string) error {
	if reason.Is(err, reason.Stuck) {
		a.log.Error("stuck", "what", what, "err", err, "reason", reason.Stuck)
		return nil
	}
	return reason.Wrap(err, "%s", what)
}
