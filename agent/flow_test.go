package agent

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/countersign-ota/countersign/agent/gate"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

var ctx = context.Background()

func TestFileFlow(t *testing.T) {
	v := newDevice(t, fileInstaller(t))
	if u, err := v.once(); u != nil || err != nil {
		t.Fatalf("with nothing released: %v, %v", u, err)
	}
	v.release("2.4.1", 17, func(f *metadata.Firmware) { f.Floor = 12 })
	var done, total int64
	v.with(func(a *Agent) {
		u, err := a.Once(ctx, func(_ string, d, n int64) { done, total = d, n })
		must(t, err)
		if u.String() != "gw-100/2.4.1/gw.img" || u.Targets()[0].Counter != 17 {
			t.Errorf("updated to %v", u.Targets())
		}
	})
	v.runs("2.4.1")
	if size := int64(len(image("2.4.1"))); done != size || total != size {
		t.Errorf("progress ended at %d of %d, want %d", done, total, size)
	}
	m := v.main()
	if m.Counter != 17 || m.Floor != 12 || m.Path != "gw-100/2.4.1/gw.img" || m.Version != "2.4.1" || m.Confirmed.IsZero() {
		t.Errorf("component %+v", m)
	}
	if v.state() != "idle" || len(v.staged()) != 0 {
		t.Errorf("state %s, staged %v; want idle and nothing", v.state(), v.staged())
	}
	if u, err := v.once(); u != nil || err != nil {
		t.Errorf("again: %v, %v; want nothing to do", u, err)
	}
	v.release("2.4.2", 18, nil)
	if _, err := v.once(); err != nil {
		t.Fatal(err)
	}
	v.runs("2.4.2")
	if m := v.main(); m.Previous != "gw-100/2.4.1/gw.img" || m.Floor != 12 {
		t.Errorf("component %+v; want previous 2.4.1 and floor 12", m)
	}
}

func TestFloorRetiresThePreviousImage(t *testing.T) {
	v := newDevice(t, fileInstaller(t))
	v.release("2.4.1", 17, nil)
	_, err := v.once()
	must(t, err)
	v.release("2.4.2", 18, nil)
	_, err = v.once()
	must(t, err)
	old := filepath.Join(v.dir, "firmware.old")
	if _, err := os.Stat(old); err != nil {
		t.Fatalf("the previous image is not kept: %v", err)
	}
	v.release("2.4.3", 19, func(f *metadata.Firmware) { f.Floor = 19 })
	_, err = v.once()
	must(t, err)
	if _, err := os.Stat(old); err == nil {
		t.Error("the previous image is still there, below the floor")
	}
}

// TestDowngradeIsANewRelease: old bytes under a higher counter (DESIGN 1.3).
func TestDowngradeIsANewRelease(t *testing.T) {
	for name, installer := range map[string]func(string) Installer{"file": fileInstaller(t), "slot": slotInstaller(t)} {
		t.Run(name, func(t *testing.T) {
			v := newDevice(t, installer)
			update := func() {
				t.Helper()
				_, err := v.once()
				must(t, err)
				if name == "slot" {
					v.reboot(true)
					v.with(func(*Agent) {})
				}
			}
			v.release("2.4.1", 17, nil)
			update()
			v.release("2.4.2", 18, nil)
			update()
			v.release("2.4.1", 19, nil) // the same bytes
			update()
			if m := v.main(); m.Counter != 19 || v.state() != "idle" {
				t.Fatalf("%+v, %s", m, v.state())
			}
			if name == "file" {
				v.runs("2.4.1")
			} else {
				v.boots(v.word("current"), "2.4.1")
			}
			// And once more the same bytes, which now run already.
			v.release("2.4.1", 20, nil)
			update()
			if m := v.main(); m.Counter != 20 || v.state() != "idle" {
				t.Errorf("%+v, %s", m, v.state())
			}
		})
	}
}

// TestConfirmedImageThatDoesNotRun is installed again: somebody put other bytes in its place.
func TestConfirmedImageThatDoesNotRun(t *testing.T) {
	v := newDevice(t, slotInstaller(t))
	for i, version := range []string{"2.4.1", "2.4.2"} {
		v.release(version, int64(17+i), nil)
		_, err := v.once()
		must(t, err)
		v.reboot(true)
		v.with(func(*Agent) {})
	}
	v.boots("a", "2.4.2")
	v.put("current", "b") // by hand, as a technician may in the boot loader
	u, err := v.once()
	must(t, err)
	if u == nil || u.Targets()[0].Counter != 18 {
		t.Fatalf("update %v, want counter 18 again", u)
	}
	v.reboot(true)
	v.boots("a", "2.4.2")
}

func TestResumeStaging(t *testing.T) {
	v := newDevice(t, fileInstaller(t))
	v.release("2.4.1", 17, nil)
	v.with(func(a *Agent) {
		u, err := a.Check(ctx)
		must(t, err)
		stop, cancel := context.WithCancel(ctx)
		err = a.Stage(stop, u, func(_ string, done, _ int64) { cancel() })
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	})
	v.with(func(a *Agent) {
		u, err := a.Check(ctx)
		must(t, err)
		must(t, a.Stage(ctx, u, nil))
		if s := a.Staged(); s == nil || s.String() != u.String() {
			t.Errorf("Staged = %v", s)
		}
	})
	if v.state() != "staged" {
		t.Fatalf("state %s, want staged", v.state())
	}
	v.net.down = reason.Errorf(reason.Unreachable, "the cable is out")
	v.with(func(a *Agent) {
		_, err := a.Check(ctx)
		wantReason(t, err, reason.Unreachable)
		must(t, a.Install(ctx, a.Staged()))
		if a.Staged() != nil {
			t.Error("still staged after Install")
		}
	})
	v.runs("2.4.1")
}

func TestGatesDefer(t *testing.T) {
	v := newDevice(t, fileInstaller(t))
	charge := 80
	v.cfg.Gates = &gate.Gates{Battery: func() (int, error) { return charge, nil }}
	v.release("2.4.1", 17, func(f *metadata.Firmware) { f.Conditions = &metadata.Conditions{BatteryPercentMin: 50} })
	charge = 20
	_, err := v.once()
	wantReason(t, err, reason.Gate)
	var d *gate.Deferral
	if !errors.As(err, &d) || d.Code != gate.CodeBattery {
		t.Errorf("deferral %+v", d)
	}
	v.runs("factory")
	if s := v.status(); s.Update.State != "staged" || s.Update.Attempts != 0 || s.Refusal.Reason != "gate" {
		t.Errorf("%+v, %+v; want staged, deferred, no attempt", s.Update, s.Refusal)
	}
	charge = 50
	v.net.offsets = nil
	_, err = v.once()
	must(t, err)
	v.runs("2.4.1")
	if v.net.offsets != nil {
		t.Error("a deferred image was downloaded again")
	}
	if r := v.status().Refusal; r != nil {
		t.Errorf("refusal %+v after the installation", r)
	}
}

// TestGateClosesBeforeActivation: written, not activated, and taken up there.
func TestGateClosesBeforeActivation(t *testing.T) {
	v := newDevice(t, slotInstaller(t))
	asked := 0
	v.cfg.Gates = &gate.Gates{BatteryMin: 50, Battery: func() (int, error) {
		asked++
		if asked == 2 {
			return 49, nil
		}
		return 50, nil
	}}
	v.release("2.4.1", 17, nil)
	_, err := v.once()
	wantReason(t, err, reason.Gate)
	if v.state() != "staged" || v.word("state.b") != "unbootable" {
		t.Errorf("state %s, slot b %s", v.state(), v.word("state.b"))
	}
	_, err = v.once()
	must(t, err)
	if v.word("state.b") != "trial" || asked != 4 {
		t.Errorf("slot b %s after %d questions", v.word("state.b"), asked)
	}
}

func TestClockBelowBuildTime(t *testing.T) {
	v := newDevice(t, fileInstaller(t))
	v.release("2.4.1", 17, nil)
	built := v.now
	v.now = time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC)
	v.cfg.Built = built
	_, err := v.once()
	must(t, err)
	if got := v.status().Contact; !got.Equal(built.Truncate(time.Second)) {
		t.Errorf("contact at %s, want the build time %s", got, built)
	}
	v.cfg.Built = v.d.Now.Add(10 * 24 * time.Hour) // the timestamp holds for 7 days
	_, err = v.once()
	wantReason(t, err, reason.Expired)
}
