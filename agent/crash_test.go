//go:build faults

package agent

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/countersign-ota/countersign/agent/install"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/metadata/metadatatest"
	"github.com/countersign-ota/countersign/proto/reason"
)

// The processes that are killed are this test program, called with these variables.
const (
	crashDir   = "COUNTERSIGN_CRASH_DIR"   // of the device; the repository lies in repo/
	crashKind  = "COUNTERSIGN_CRASH_KIND"  // file or slot
	crashPhase = "COUNTERSIGN_CRASH_PHASE" // cycle or open
	crashAll   = "COUNTERSIGN_CRASH_ALL"   // every step; otherwise a sample
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		if err := crashChild(dir, os.Getenv(crashKind), os.Getenv(crashPhase)); err != nil {
			fmt.Fprintf(os.Stderr, "%v [%s]\n", err, reason.Of(err))
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// crashChild is one process of the device.
func crashChild(dir, kind, phase string) error {
	cfg, err := crashConfig(dir, kind)
	if err != nil {
		return err
	}
	a, err := Open(ctx, cfg)
	if err != nil {
		return err
	}
	if phase == "cycle" {
		if _, err := a.Once(ctx, nil); err != nil {
			return err
		}
	}
	return a.Close()
}

// crashConfig is the configuration of the device in dir.
func crashConfig(dir, kind string) (Config, error) {
	net := &memory{files: map[string][]byte{}}
	repo := filepath.Join(dir, "repo")
	err := filepath.WalkDir(repo, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(repo, path)
		if err != nil {
			return err
		}
		net.files[name], err = os.ReadFile(path)
		return err
	})
	if err != nil {
		return Config{}, err
	}
	boot, err := os.ReadFile(filepath.Join(dir, "boot-id"))
	if err != nil {
		return Config{}, err
	}
	var installer Installer = install.NewFile(install.FileConfig{
		Path: filepath.Join(dir, "firmware"), State: filepath.Join(dir, "installer"),
	})
	if kind == "slot" {
		installer = install.NewSlot(install.SlotConfig{
			A: filepath.Join(dir, "a.img"), B: filepath.Join(dir, "b.img"),
			Boot: install.NewBoot(filepath.Join(dir, "boot")), State: filepath.Join(dir, "installer"),
		})
	}
	return Config{
		Dir: filepath.Join(dir, "agent"), Transport: net, Root: net.files["1.root.json"], Deployment: "acme",
		Device: "gw-0001", Hardware: "gw-100-c", BootID: strings.TrimSpace(string(boot)),
		Clock:      func() time.Time { return time.Date(2026, 11, 25, 13, 0, 0, 0, time.UTC) },
		Components: map[string]Component{"main": {Product: "gw-100", Installer: installer, Counter: 3}},
	}, nil
}

// TestKilledAtEveryStep kills the process before each durable step of an update from Check to
// confirmed: afterwards the device runs one whole image, nothing fell, the update comes through, and
// so does the next one.
func TestKilledAtEveryStep(t *testing.T) {
	for _, tt := range []struct{ kind, phase string }{{"file", "cycle"}, {"slot", "cycle"}, {"slot", "open"}} {
		for _, drop := range []string{"", "1"} {
			name := tt.kind + " " + tt.phase + map[string]string{"": " killed", "1": " power cut"}[drop]
			t.Run(name, func(t *testing.T) {
				base := crashBase(t, tt.kind, tt.phase)
				first, stride := 1, 1
				if tt.phase == "cycle" && os.Getenv(crashAll) == "" {
					// The sample with unsynced writes kept and the one with them lost hit other steps.
					first, stride = 1+len(drop), 3
				}
				killed := 0
				for at := first; crashAt(t, base, tt.kind, tt.phase, at, drop); at += stride {
					killed++
				}
				t.Logf("killed at %d steps", killed)
				if killed < 5 {
					t.Errorf("only %d steps; are the fault points compiled in?", killed)
				}
			})
		}
	}
}

// crashBase prepares a device that runs 2.4.1 and is to take 2.4.2, which raises the floor above it.
// For phase open it has taken it and rebooted into the trial.
func crashBase(t *testing.T, kind, phase string) *device {
	t.Helper()
	installer := fileInstaller(t)
	if kind == "slot" {
		installer = slotInstaller(t)
	}
	v := newDevice(t, installer)
	v.cfg.Clock = func() time.Time { return time.Date(2026, 11, 25, 13, 0, 0, 0, time.UTC) }
	v.release("2.4.1", 17, nil)
	_, err := v.once()
	must(t, err)
	if kind == "slot" {
		v.reboot(true)
		v.with(func(*Agent) {})
	}
	v.release("2.4.2", 18, func(f *metadata.Firmware) { f.Floor = 18 })
	if phase == "open" {
		_, err := v.once()
		must(t, err)
		v.reboot(true)
	}
	v.put("boot-id", v.cfg.BootID)
	for name, data := range v.d.Files() {
		path := filepath.Join(v.dir, "repo", name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o700))
		must(t, os.WriteFile(path, data, 0o600))
	}
	return v
}

// crashAt kills a process on a copy of the device before step at. It returns false when the process
// ended by itself before that.
func crashAt(t *testing.T, base *device, kind, phase string, at int, drop string) bool {
	t.Helper()
	v := &device{t: t, d: base.d, net: &memory{}, dir: filepath.Join(t.TempDir(), "copy")}
	must(t, os.CopyFS(v.dir, os.DirFS(base.dir)))
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), crashDir+"="+v.dir, crashKind+"="+kind, crashPhase+"="+phase,
		fmt.Sprintf("COUNTERSIGN_FAULT_AT=%d", at), "COUNTERSIGN_FAULT_DROP="+drop)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		must(t, err)
		return false
	}
	if st, ok := exit.Sys().(syscall.WaitStatus); !ok || !st.Signaled() || st.Signal() != syscall.SIGKILL {
		t.Fatalf("step %d: the process failed instead of being killed: %s", at, out)
	}
	v.cfg, err = crashConfig(v.dir, kind)
	must(t, err)
	v.net = v.cfg.Transport.(*memory)
	if kind == "slot" && drop != "" {
		v.reboot(true) // the power came back
	}
	v.wholeImage(kind, at)
	v.with(func(*Agent) {})
	notFallen(t, base.status(), v.status())
	v.wholeImage(kind, at)
	v.finish(kind, "2.4.2", 18)

	// The next update works.
	v.net.files = crashNext(t, base)
	v.finish(kind, "2.4.3", 19)
	must(t, os.RemoveAll(v.dir))
	return true
}

// crashNext is the repository with one release more.
func crashNext(t *testing.T, base *device) map[string][]byte {
	t.Helper()
	if base.d.Files()["next"] == nil && base.net.files["next"] == nil {
		base.d.Release("gw-100", "2.4.3", 19, targetFor(base, "2.4.3"))
		base.net.files = base.d.Files()
		base.net.files["next"] = []byte("published")
	}
	return base.net.files
}

// finish lets the device go on until it has confirmed a version.
func (v *device) finish(kind, version string, counter int64) {
	v.t.Helper()
	for range 3 {
		if _, err := v.once(); err != nil {
			v.t.Fatalf("towards %s: %v [%s]", version, err, reason.Of(err))
		}
		if m := v.main(); m.Counter == counter && v.state() == "idle" {
			v.wholeImage(kind, 0)
			return
		}
		if kind == "slot" {
			v.reboot(true)
		}
	}
	v.t.Fatalf("never came to %s: %+v, %+v", version, v.main(), v.status().Update)
}

// wholeImage checks that what runs is one of the images, whole, and that a slot which may boot next
// is whole too.
func (v *device) wholeImage(kind string, at int) {
	v.t.Helper()
	whole := func(file string) bool {
		data, err := os.ReadFile(filepath.Join(v.dir, file))
		must(v.t, err)
		for _, version := range []string{"factory", "2.4.1", "2.4.2", "2.4.3"} {
			want := image(version)
			if len(data) >= len(want) && string(data[:len(want)]) == string(want) {
				return true
			}
		}
		return false
	}
	if kind == "file" {
		if !whole("firmware") {
			v.t.Fatalf("step %d: the file is no whole image", at)
		}
		return
	}
	for _, slot := range []string{"a", "b"} {
		if (v.word("current") == slot || v.word("state."+slot) != "unbootable") && !whole(slot+".img") {
			v.t.Fatalf("step %d: slot %s is %s, runs %s, and holds no whole image", at, slot, v.word("state."+slot), v.word("current"))
		}
	}
}

// targetFor is a target for the device's installer.
func targetFor(v *device, version string) metadatatest.Target {
	return metadatatest.Target{Data: image(version), Installer: v.cfg.Components["main"].Installer.Name()}
}
