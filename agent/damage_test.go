package agent

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// damages are what a disk may do to a file.
var damages = []struct {
	name string
	do   func(path string) error
}{
	{"missing", os.Remove},
	{"empty", func(path string) error { return os.Truncate(path, 0) }},
	{"truncated", func(path string) error {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		return os.Truncate(path, info.Size()/2)
	}},
	{"zeroed", func(path string) error {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		return os.WriteFile(path, make([]byte, info.Size()), 0o600)
	}},
	{"flipped", func(path string) error { return flipFile(path, 100) }},
	{"huge", func(path string) error { return os.Truncate(path, 64<<20) }},
	{"unreadable", func(path string) error {
		// Root reads through any mode; a link in a circle fails for everybody.
		if err := os.Remove(path); err != nil {
			return err
		}
		return os.Symlink(filepath.Base(path), path)
	}},
}

// agentFiles lists every file in the agent's directory but the lock, and the installer's record.
func (v *device) agentFiles() []string {
	v.t.Helper()
	var files []string
	err := filepath.WalkDir(v.cfg.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == "lock" {
			return err
		}
		rel, err := filepath.Rel(v.dir, path)
		files = append(files, rel)
		return err
	})
	must(v.t, err)
	return append(files, "installer")
}

// TestDamagedFiles: whatever file it is and whatever happened to it, the agent heals or refuses, never
// trusts less than before, and the next update works.
func TestDamagedFiles(t *testing.T) {
	sample := updated(t)
	files := sample.agentFiles()
	if len(files) < 10 {
		t.Fatalf("only %v", files)
	}
	for _, file := range files {
		for _, d := range damages {
			t.Run(strings.ReplaceAll(file, "/", ":")+" "+d.name, func(t *testing.T) {
				t.Parallel()
				v := updated(t)
				before := v.status()
				must(t, d.do(filepath.Join(v.dir, file)))
				v.with(func(*Agent) {})
				notFallen(t, before, v.status())
				v.runs("2.4.1")
				u, err := v.once()
				must(t, err)
				v.runs("2.4.2")
				if u == nil {
					t.Fatal("the next update was not taken")
				}
				after := v.status()
				notFallen(t, before, after)
				if after.StateLost || after.Components[0].Counter != 18 {
					t.Errorf("%+v", after.Components[0])
				}
			})
		}
	}
}

// updated is a device on 2.4.1, counter 17, for which 2.4.2 is published.
func updated(t *testing.T) *device {
	t.Helper()
	v := newDevice(t, fileInstaller(t))
	v.release("2.4.1", 17, func(f *metadata.Firmware) { f.Floor = 16 })
	_, err := v.once()
	must(t, err)
	v.release("2.4.2", 18, nil)
	return v
}

// TestDamagedInTrial: the same while an image is in trial. The agent opens, the device runs one whole
// image, and the next update works.
func TestDamagedInTrial(t *testing.T) {
	trial := func(t *testing.T) *device {
		v := updated(t)
		v.cfg.Confirm = ConfirmManual
		_, err := v.once()
		must(t, err)
		if v.state() != "trial" {
			t.Fatalf("state %s, want trial", v.state())
		}
		return v
	}
	for _, file := range trial(t).agentFiles() {
		for _, d := range damages {
			t.Run(strings.ReplaceAll(file, "/", ":")+" "+d.name, func(t *testing.T) {
				t.Parallel()
				v := trial(t)
				before := v.status()
				must(t, d.do(filepath.Join(v.dir, file)))
				v.cfg.Confirm = ConfirmAuto
				v.with(func(*Agent) {})
				notFallen(t, before, v.status())
				v.runs("2.4.2")
				v.release("2.4.3", 19, nil)
				_, err := v.once()
				must(t, err)
				v.runs("2.4.3")
				if m := v.main(); m.Counter != 19 || m.Floor != 16 {
					t.Errorf("%+v", m)
				}
			})
		}
	}
}

// TestStateLost: wiping or ruining the record opens no way back, since the counter is built into the
// image (DESIGN 5).
func TestStateLost(t *testing.T) {
	for _, d := range damages {
		t.Run(d.name, func(t *testing.T) {
			v := updated(t)
			for _, name := range []string{"record.0", "record.1"} {
				must(t, d.do(filepath.Join(v.cfg.Dir, name)))
			}
			_, err := ReadStatus(v.cfg.Dir)
			wantReason(t, err, reason.StateLost)
			built := v.cfg.Components["main"]
			built.Counter = 17 // that of the image which runs
			v.cfg.Components["main"] = built
			v.cfg.AllowLocal = true
			v.d.Release("gw-100", "1.0.0", 16, targetOf("1.0.0"))
			v.publish()
			v.with(func(a *Agent) {
				_, err := a.CheckLocal(ctx, Local{Path: "gw-100/1.0.0/gw.img"})
				wantReason(t, err, reason.CounterLow)
			})
			if s := v.status(); !s.StateLost || s.Components[0].Counter != 17 {
				t.Errorf("lost %t, %+v; want it to be said, and counter 17", s.StateLost, s.Components[0])
			}
			_, err = v.once()
			must(t, err)
			v.runs("2.4.2")
			if s := v.status(); s.StateLost || s.Components[0].Counter != 18 {
				t.Errorf("after the next update: lost %t, %+v", s.StateLost, s.Components[0])
			}
		})
	}
}

// TestWipedDirectory is a first start as far as anybody can tell, and opens no way back either.
func TestWipedDirectory(t *testing.T) {
	v := updated(t)
	must(t, os.RemoveAll(v.cfg.Dir))
	built := v.cfg.Components["main"]
	built.Counter = 17
	v.cfg.Components["main"] = built
	_, err := v.once()
	must(t, err)
	v.runs("2.4.2")
	if m := v.main(); m.Counter != 18 {
		t.Errorf("%+v", m)
	}
}

func TestTwoAgentsOnOneDirectory(t *testing.T) {
	v := newDevice(t, fileInstaller(t))
	v.open()
	_, err := Open(ctx, v.cfg)
	wantReason(t, err, reason.Locked)
	if reason.Exit(err) != 8 {
		t.Errorf("exit %d, want 8", reason.Exit(err))
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, tt := range []struct {
		name string
		want reason.Reason
		edit func(t *testing.T, v *device)
	}{
		{"no directory", reason.Config, func(_ *testing.T, v *device) { v.cfg.Dir = "" }},
		{"no root", reason.Config, func(_ *testing.T, v *device) { v.cfg.Root = nil }},
		{"no device", reason.Config, func(_ *testing.T, v *device) { v.cfg.Device = "" }},
		{"bad hardware", reason.Config, func(_ *testing.T, v *device) { v.cfg.Hardware = "GW 100" }},
		{"no component", reason.Config, func(_ *testing.T, v *device) { v.cfg.Components = nil }},
		{"two components", reason.Config, func(_ *testing.T, v *device) { v.cfg.Components["radio"] = v.cfg.Components["main"] }},
		{"no installer", reason.Config, func(_ *testing.T, v *device) { v.cfg.Components["main"] = Component{Product: "gw-100"} }},
		{"no product", reason.Config, func(_ *testing.T, v *device) {
			v.cfg.Components["main"] = Component{Installer: v.cfg.Components["main"].Installer}
		}},
		{"negative counter", reason.Config, func(_ *testing.T, v *device) {
			c := v.cfg.Components["main"]
			c.Counter = -1
			v.cfg.Components["main"] = c
		}},
		{"interval too short", reason.Config, func(_ *testing.T, v *device) { v.cfg.Interval = 1 }},
		{"root of another deployment", reason.ScopeMismatch, func(_ *testing.T, v *device) { v.cfg.Deployment = "globex" }},
		{"director's root", reason.ScopeMismatch, func(_ *testing.T, v *device) { v.cfg.Root = v.d.Root(metadata.Director, 1) }},
		{"root without scope", reason.RootWithoutScope, func(_ *testing.T, v *device) {
			v.d.Edit(metadata.Root, func(s map[string]any) { delete(s, metadata.ScopeField) })
			v.cfg.Root = v.d.File(metadata.Image, metadata.Root)
		}},
		{"root with an example key", reason.KeyExample, func(t *testing.T, v *device) {
			k, id := exampleKey(t)
			v.d.Edit(metadata.Root, func(s map[string]any) { addRootKey(s, k, id) })
			v.cfg.Root = v.d.File(metadata.Image, metadata.Root)
		}},
		{"root that nobody signed", reason.Threshold, func(_ *testing.T, v *device) {
			v.d.SignedBy(metadata.Root, "rivera")
			v.cfg.Root = v.d.File(metadata.Image, metadata.Root)
		}},
		{"no JSON", reason.Malformed, func(_ *testing.T, v *device) { v.cfg.Root = []byte("root") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := newDevice(t, fileInstaller(t))
			tt.edit(t, v)
			a, err := Open(ctx, v.cfg)
			wantReason(t, err, tt.want)
			if a != nil {
				t.Error("an agent with the refusal")
			}
			if _, err := os.Stat(filepath.Join(v.cfg.Dir, "record.0")); err == nil && v.cfg.Dir != "" {
				t.Error("a record was written")
			}
			v.runs("factory")
		})
	}
}

// addRootKey makes an example key a holder of the root.
func addRootKey(root map[string]any, k *metadata.Key, id string) {
	root["keys"].(map[string]any)[id] = map[string]any{
		"keytype": k.Type, "scheme": k.Scheme, "keyval": map[string]any{"public": k.Value.PublicKey},
	}
	for _, name := range []string{metadata.Root, metadata.Targets} {
		role := root["roles"].(map[string]any)[name].(map[string]any)
		role["keyids"] = append(role["keyids"].([]any), id)
		q := root[metadata.QuorumField].(map[string]any)[name].(map[string]any)
		q["people"] = append(q["people"].([]any), map[string]any{"id": "mallory", "class": "holder", "keyid": id, "name": "M"})
	}
}
