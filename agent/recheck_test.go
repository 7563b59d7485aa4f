package agent

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/metadata/metadatatest"
	"github.com/countersign-ota/countersign/proto/reason"
)

// heard is what the world may have become between Stage and Install, and the device has heard of it
// (DESIGN 5.2).
var heard = []struct {
	name string
	want reason.Reason // empty: Install succeeds
	do   func(v *device, path string)
}{
	{"nothing", "", func(*device, string) {}},
	{"withdrawn", reason.NotFound, func(v *device, path string) { v.d.Withdraw("gw-100", path) }},
	{"stopped", reason.Stopped, func(v *device, path string) { v.d.Stop(path, "smoke") }},
	{"listed with other bytes", reason.HashMismatch, func(v *device, path string) {
		v.d.Withdraw("gw-100", path)
		v.d.Release("gw-100", "2.4.1", 17, metadatatest.Target{Data: image("other"), Installer: "file"})
	}},
	{"listed with another counter", reason.HashMismatch, func(v *device, path string) {
		v.d.Withdraw("gw-100", path)
		v.d.Release("gw-100", "2.4.1", 18, metadatatest.Target{Data: image("2.4.1"), Installer: "file"})
	}},
	{"listed for other hardware", reason.Hardware, func(v *device, path string) {
		v.d.Withdraw("gw-100", path)
		v.d.Release("gw-100", "2.4.1", 17, metadatatest.Target{
			Data: image("2.4.1"), Installer: "file", Hardware: []string{"gw-100-e"},
		})
	}},
}

func TestInstallChecksAgain(t *testing.T) {
	for _, tt := range heard {
		t.Run(tt.name, func(t *testing.T) {
			v := newDevice(t, fileInstaller(t))
			path := v.release("2.4.1", 17, nil)
			v.with(func(a *Agent) {
				u, err := a.Check(ctx)
				must(t, err)
				must(t, a.Stage(ctx, u, nil))
				tt.do(v, path)
				v.publish()
				hear(t, a)
				err = a.Install(ctx, u)
				if tt.want == "" {
					must(t, err)
					return
				}
				wantReason(t, err, tt.want)
				v.runs("factory")
			})
			v.release("2.4.3", 20, nil)
			_, err := v.once()
			must(t, err)
			v.runs("2.4.3")
		})
	}
}

// hear refreshes the stored metadata of the product without choosing an update.
func hear(t *testing.T, a *Agent) {
	t.Helper()
	c, err := a.refresh(ctx)
	must(t, err)
	_, err = c.Product(ctx, a.cfg.Transport, a.comp.Product)
	must(t, err)
	must(t, a.learn(c, true))
}

// TestStopsAreRemembered although a thief of the online keys serves the list from before.
func TestStopsAreRemembered(t *testing.T) {
	v := newDevice(t, fileInstaller(t))
	path := v.release("2.4.1", 17, nil)
	v.d.Stop(path, "smoke")
	v.publish()
	u, err := v.once()
	if u != nil || err != nil {
		t.Fatalf("a stopped image is offered: %v, %v", u, err)
	}
	if s := v.status().Stopped; len(s) != 1 || s[0].Path != path || s[0].Counter != 17 {
		t.Fatalf("stops %+v", s)
	}
	v.d.Change("gw-100.stop", func(s *metadata.TargetsRole) {
		s.UnrecognizedFields[metadata.StopField] = metadata.StopsField(nil)
	})
	v.publish()
	u, err = v.once()
	if u != nil || err != nil {
		t.Errorf("an image that was stopped once is offered: %v, %v", u, err)
	}
	v.release("2.4.2", 18, nil)
	for range 2 {
		_, err = v.once()
		must(t, err)
	}
	if s := v.status().Stopped; len(s) != 0 {
		t.Errorf("stops of images that no counter lets back: %+v", s)
	}
}

func TestStoppedInTrialIsTakenBack(t *testing.T) {
	v := newDevice(t, slotInstaller(t))
	v.cfg.Confirm = ConfirmManual
	path := v.release("2.4.1", 17, nil)
	_, err := v.once()
	must(t, err)
	v.reboot(true)
	v.with(func(*Agent) {})
	v.d.Stop(path, "smoke")
	v.publish()
	_, err = v.once()
	must(t, err)
	if s := v.status().Update; s == nil || s.State != "reverting" || !s.Reboot {
		t.Fatalf("%+v; want reverting until the reboot", s)
	}
	v.reboot(true)
	v.boots("a", "factory")
	u, err := v.once()
	if u != nil || err != nil {
		t.Errorf("after the way back: %v, %v", u, err)
	}
}

// TestNoWayBackToAStoppedImage: where both are stopped, what runs goes on (DESIGN 1.8).
func TestNoWayBackToAStoppedImage(t *testing.T) {
	v := newDevice(t, slotInstaller(t))
	v.cfg.Confirm = ConfirmManual
	first := v.release("2.4.1", 17, nil)
	_, err := v.once()
	must(t, err)
	v.reboot(true)
	v.with(func(a *Agent) { must(t, a.Confirm(ctx)) })
	second := v.release("2.4.2", 18, nil)
	_, err = v.once()
	must(t, err)
	v.reboot(true)
	v.boots("a", "2.4.2")
	v.d.Stop(first, "smoke")
	v.d.Stop(second, "fire")
	v.publish()
	_, err = v.once()
	wantReason(t, err, reason.Stopped)
	v.with(func(a *Agent) { wantReason(t, a.Revert(ctx), reason.Stopped) })
	v.boots("a", "2.4.2")
	if v.state() != "trial" {
		t.Errorf("state %s, want trial", v.state())
	}
}

// TestExpiryAtInstall: root and targets bind, timestamp and snapshot may expire while bytes wait.
func TestExpiryAtInstall(t *testing.T) {
	for _, tt := range []struct {
		name  string
		after time.Duration
		want  reason.Reason
	}{
		{"timestamp and snapshot", 40 * 24 * time.Hour, ""},
		{"targets and root", 366 * 24 * time.Hour, reason.Expired},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := newDevice(t, fileInstaller(t))
			v.release("2.4.1", 17, nil)
			v.with(func(a *Agent) {
				u, err := a.Check(ctx)
				must(t, err)
				must(t, a.Stage(ctx, u, nil))
			})
			v.now = v.now.Add(tt.after)
			v.with(func(a *Agent) {
				err := a.Install(ctx, a.Staged())
				if tt.want == "" {
					must(t, err)
					v.runs("2.4.1")
					return
				}
				wantReason(t, err, tt.want)
				v.runs("factory")
			})
		})
	}
}

func TestStagedBytesDamaged(t *testing.T) {
	for name, damage := range map[string]func(path string) error{
		"flipped":   func(path string) error { return flipFile(path, 77) },
		"truncated": func(path string) error { return os.Truncate(path, 10) },
		"gone":      os.Remove,
	} {
		t.Run(name, func(t *testing.T) {
			v := newDevice(t, fileInstaller(t))
			v.release("2.4.1", 17, nil)
			v.with(func(a *Agent) {
				u, err := a.Check(ctx)
				must(t, err)
				must(t, a.Stage(ctx, u, nil))
			})
			must(t, damage(filepath.Join(v.cfg.Dir, "stage", v.staged()[0])))
			v.with(func(a *Agent) {
				u := a.Staged()
				if name == "gone" {
					if u != nil {
						t.Errorf("staged without bytes: %v", u)
					}
					return
				}
				err := a.Install(ctx, u)
				if r := reason.Of(err); r != reason.HashMismatch && r != reason.LengthMismatch {
					t.Errorf("Install of damaged bytes: %v [%s]", err, r)
				}
			})
			v.runs("factory")
			_, err := v.once()
			must(t, err)
			v.runs("2.4.1")
		})
	}
}

func TestInstallWithoutStage(t *testing.T) {
	v := newDevice(t, fileInstaller(t))
	v.release("2.4.1", 17, nil)
	v.with(func(a *Agent) {
		u, err := a.Check(ctx)
		must(t, err)
		wantReason(t, a.Install(ctx, u), reason.UsageError)
	})
	v.runs("factory")
}

func flipFile(path string, at int) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	data[at%len(data)] ^= 0x10
	return os.WriteFile(path, data, 0o600)
}
