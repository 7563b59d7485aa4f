package agent

import (
	"testing"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

func TestSlotFlow(t *testing.T) {
	v := newDevice(t, slotInstaller(t))
	v.release("2.4.1", 17, func(f *metadata.Firmware) { f.Floor = 17 })
	_, err := v.once()
	must(t, err)
	v.boots("a", "factory")
	if s := v.status(); v.state() != "trial" || !s.Update.Reboot {
		t.Fatalf("state %s, reboot %t; want trial before its first boot", v.state(), s.Update.Reboot)
	}
	// Whatever is asked before the reboot changes nothing.
	if u, err := v.once(); u != nil || err != nil || !v.status().Update.Reboot {
		t.Errorf("again before the reboot: %v, %v", u, err)
	}
	v.with(func(a *Agent) { wantReason(t, a.Confirm(ctx), reason.NotFound) })
	v.reboot(true)
	v.boots("b", "2.4.1")
	if got := v.main().Counter; got != 3 {
		t.Errorf("counter %d before the new image's agent ran, want 3", got)
	}
	v.with(func(*Agent) {})
	m := v.main()
	if v.state() != "idle" || m.Counter != 17 || m.Floor != 17 || v.word("state.b") != "good" {
		t.Errorf("state %s, %+v, slot b %s; want confirmed", v.state(), m, v.word("state.b"))
	}
	if got := v.word("state.a"); got != "unbootable" {
		t.Errorf("slot a, below the floor, is %s", got)
	}
}

func TestSlotManualConfirm(t *testing.T) {
	v := newDevice(t, slotInstaller(t))
	v.cfg.Confirm = ConfirmManual
	v.release("2.4.1", 17, nil)
	_, err := v.once()
	must(t, err)
	v.reboot(true)
	v.with(func(a *Agent) {
		if u, err := a.Once(ctx, nil); u != nil || err != nil || v.state() != "trial" {
			t.Errorf("in trial: %v, %v, %s", u, err, v.state())
		}
		must(t, a.Confirm(ctx))
		wantReason(t, a.Confirm(ctx), reason.NotFound)
		wantReason(t, a.Revert(ctx), reason.NotFound)
	})
	if m := v.main(); m.Counter != 17 || v.word("state.b") != "good" || v.word("state.a") != "good" {
		t.Errorf("%+v, slots a %s, b %s", m, v.word("state.a"), v.word("state.b"))
	}
}

func TestSlotRevert(t *testing.T) {
	v := newDevice(t, slotInstaller(t))
	v.cfg.Confirm = ConfirmManual
	v.release("2.4.1", 17, func(f *metadata.Firmware) { f.Floor = 17 })
	_, err := v.once()
	must(t, err)
	v.reboot(true)
	v.with(func(a *Agent) { must(t, a.Revert(ctx)) })
	if s := v.status().Update; s.State != "reverting" || !s.Reboot {
		t.Fatalf("%+v; want reverting until the reboot", s)
	}
	v.reboot(true)
	v.boots("a", "factory")
	v.with(func(a *Agent) {
		_, err := a.Once(ctx, nil)
		wantReason(t, err, reason.Attempts)
	})
	if m := v.main(); v.state() != "reverted" || m.Counter != 3 || m.Floor != 0 {
		t.Errorf("state %s, %+v", v.state(), m)
	}
	// Another instruction starts anew.
	v.release("2.4.2", 18, nil)
	_, err = v.once()
	must(t, err)
	v.reboot(true)
	v.boots("b", "2.4.2")
}

func TestRevertBeforeTheFirstBoot(t *testing.T) {
	v := newDevice(t, slotInstaller(t))
	v.release("2.4.1", 17, nil)
	_, err := v.once()
	must(t, err)
	v.with(func(a *Agent) { must(t, a.Revert(ctx)) })
	if v.state() != "reverted" || v.word("state.b") != "unbootable" {
		t.Errorf("state %s, slot b %s", v.state(), v.word("state.b"))
	}
	v.reboot(true)
	v.boots("a", "factory")
}

// TestFallback: an image that never comes up is tried MaxAttempts times and then refused until the
// instruction changes.
func TestFallback(t *testing.T) {
	v := newDevice(t, slotInstaller(t))
	path := v.release("2.4.1", 17, nil)
	for attempt := 1; attempt <= MaxAttempts; attempt++ {
		_, err := v.once()
		must(t, err)
		v.reboot(false)
		v.boots("a", "factory")
		v.with(func(*Agent) {})
		if s := v.status().Update; s.State != "reverted" || s.Attempts != attempt || s.Failure == "" {
			t.Fatalf("after attempt %d: %+v", attempt, s)
		}
	}
	_, err := v.once()
	wantReason(t, err, reason.Attempts)
	if s := v.status(); s.Refusal == nil || s.Refusal.Path != path || s.Refusal.Reason != "attempts" {
		t.Errorf("refusal %+v", s.Refusal)
	}
	if len(v.staged()) != 0 {
		t.Errorf("staged bytes of a refused image: %v", v.staged())
	}
	v.release("2.4.2", 18, nil)
	_, err = v.once()
	must(t, err)
	v.reboot(true)
	v.with(func(*Agent) {})
	v.boots("b", "2.4.2")
	if m := v.main(); m.Counter != 18 {
		t.Errorf("%+v", m)
	}
}

// TestBootLoaderFallsBackByItself although the agent had started in the trial.
func TestBootLoaderFallsBackByItself(t *testing.T) {
	v := newDevice(t, slotInstaller(t))
	v.cfg.Confirm = ConfirmManual
	v.release("2.4.1", 17, nil)
	_, err := v.once()
	must(t, err)
	v.reboot(true)
	v.with(func(*Agent) {})
	v.reboot(true) // never confirmed
	v.boots("a", "factory")
	v.with(func(*Agent) {})
	if s := v.status().Update; s.State != "reverted" || s.Attempts != 1 {
		t.Errorf("%+v", s)
	}
}

// TestNoGoodSlotToGoBackTo: the device is left working, and takes the next release once the trial is
// confirmed.
func TestNoGoodSlotToGoBackTo(t *testing.T) {
	v := newDevice(t, slotInstaller(t))
	v.cfg.Confirm = ConfirmManual
	v.release("2.4.1", 17, nil)
	_, err := v.once()
	must(t, err)
	v.reboot(true)
	v.put("state.a", "unbootable") // somebody took it out of use
	v.with(func(a *Agent) {
		wantReason(t, a.Revert(ctx), reason.Stuck)
		if v.state() != "trial" {
			t.Errorf("state %s, want trial", v.state())
		}
		must(t, a.Confirm(ctx))
	})
	v.boots("b", "2.4.1")
	v.release("2.4.2", 18, nil)
	_, err = v.once()
	must(t, err)
	v.reboot(true)
	v.boots("a", "2.4.2")
}
