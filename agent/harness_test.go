package agent

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/countersign-ota/countersign/agent/install"
	"github.com/countersign-ota/countersign/agent/trust"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/metadata/metadatatest"
	"github.com/countersign-ota/countersign/proto/reason"
)

// memory is a Transport over files in the TUF layout.
type memory struct {
	files map[string][]byte
	// down, when set, is the network's failure; blob may damage image bytes on their way.
	down error
	blob func([]byte) []byte
	// offsets are those from which images were asked for.
	offsets []int64
}

func (m *memory) Fetch(_ context.Context, role string, version, limit int64) ([]byte, error) {
	if m.down != nil {
		return nil, m.down
	}
	file := fmt.Sprintf("%d.%s.json", version, role)
	if version == 0 {
		file = role + ".json"
	}
	data, ok := m.files[file]
	if !ok {
		return nil, trust.ErrNotFound
	}
	if int64(len(data)) > limit {
		return nil, reason.Errorf(reason.TooLarge, "%s is larger than %d bytes", file, limit)
	}
	return data, nil
}

func (m *memory) Download(_ context.Context, path string, sha [32]byte, offset int64) (io.ReadCloser, error) {
	if m.down != nil {
		return nil, m.down
	}
	m.offsets = append(m.offsets, offset)
	i := strings.LastIndexByte(path, '/')
	data, ok := m.files[fmt.Sprintf("targets/%s/%x.%s", path[:i], sha, path[i+1:])]
	if !ok {
		return nil, reason.Errorf(reason.NotFound, "no file %s", path)
	}
	if m.blob != nil {
		data = m.blob(bytes.Clone(data))
	}
	return io.NopCloser(bytes.NewReader(data[min(offset, int64(len(data))):])), nil
}

// device is a device under test: its directory, its installer and the deployment that it follows.
type device struct {
	t   *testing.T
	d   *metadatatest.Deployment
	net *memory
	cfg Config
	dir string
	now time.Time
}

// image returns bytes that differ by name.
func image(name string) []byte {
	return bytes.Repeat([]byte("image "+name+"\n"), 5000)
}

// newDevice makes a deployment with product gw-100 and a device of hardware gw-100-c that runs what
// left the factory, counter 3.
func newDevice(t *testing.T, installer func(dir string) Installer) *device {
	t.Helper()
	d := metadatatest.New(t, metadatatest.Options{})
	d.AddProduct("gw-100", metadatatest.Product{})
	return deviceOf(t, d, installer)
}

func deviceOf(t *testing.T, d *metadatatest.Deployment, installer func(dir string) Installer) *device {
	t.Helper()
	v := &device{t: t, d: d, net: &memory{}, dir: t.TempDir(), now: d.Now.Add(time.Hour)}
	v.cfg = Config{
		Dir: filepath.Join(v.dir, "agent"), Transport: v.net, Root: d.Root(metadata.Image, 1), Deployment: "acme",
		Device: "gw-0001", Hardware: "gw-100-c", Clock: func() time.Time { return v.now }, BootID: "boot-1",
		Components: map[string]Component{"main": {Product: "gw-100", Installer: installer(v.dir), Counter: 3}},
	}
	v.publish()
	return v
}

// publish serves what the deployment has published by now.
func (v *device) publish() { v.net.files = v.d.Files() }

// release publishes an image for the installer of the device and returns its path.
func (v *device) release(version string, counter int64, edit func(*metadata.Firmware)) string {
	v.t.Helper()
	paths := v.d.Release("gw-100", version, counter, metadatatest.Target{
		Data: image(version), Installer: v.cfg.Components["main"].Installer.Name(), Edit: edit,
	})
	v.publish()
	return paths[0]
}

func (v *device) open() *Agent {
	v.t.Helper()
	a, err := Open(context.Background(), v.cfg)
	if err != nil {
		v.t.Fatalf("Open: %v [%s]", err, reason.Of(err))
	}
	v.t.Cleanup(func() { a.Close() })
	return a
}

// with opens an agent, does something and closes it.
func (v *device) with(do func(a *Agent)) {
	v.t.Helper()
	a := v.open()
	do(a)
	if err := a.Close(); err != nil {
		v.t.Fatal(err)
	}
}

// once is one cycle of a new process.
func (v *device) once() (u *Update, err error) {
	v.t.Helper()
	v.with(func(a *Agent) { u, err = a.Once(context.Background(), nil) })
	return u, err
}

func (v *device) status() *Status {
	v.t.Helper()
	s, err := ReadStatus(v.cfg.Dir)
	if err != nil {
		v.t.Fatal(err)
	}
	return s
}

// main is the status of the one component.
func (v *device) main() ComponentStatus { return v.status().Components[0] }

// state is that of the set, "idle" without one.
func (v *device) state() string {
	if u := v.status().Update; u != nil {
		return u.State
	}
	return "idle"
}

// staged lists what lies in stage/.
func (v *device) staged() []string {
	v.t.Helper()
	entries, err := os.ReadDir(filepath.Join(v.cfg.Dir, "stage"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		v.t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func wantReason(t *testing.T, err error, want reason.Reason) {
	t.Helper()
	if !reason.Is(err, want) {
		t.Fatalf("got %v [%s], want reason %s", err, reason.Of(err), want)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%v [%s]", err, reason.Of(err))
	}
}

// fileInstaller replaces DIR/firmware, which the factory filled.
func fileInstaller(t *testing.T) func(string) Installer {
	return func(dir string) Installer {
		must(t, os.WriteFile(filepath.Join(dir, "firmware"), image("factory"), 0o755))
		return install.NewFile(install.FileConfig{
			Path: filepath.Join(dir, "firmware"), State: filepath.Join(dir, "installer"),
		})
	}
}

// runs checks that the file at DIR/firmware is this image, whole.
func (v *device) runs(version string) {
	v.t.Helper()
	data, err := os.ReadFile(filepath.Join(v.dir, "firmware"))
	must(v.t, err)
	if !bytes.Equal(data, image(version)) {
		v.t.Fatalf("the file holds %.20q…, want image %s", data, version)
	}
}

// bootScript is a boot control command over files; reboot plays the boot loader.
const bootScript = `#!/bin/sh
set -e
cd "$(dirname "$0")"
put() { echo "$2" >"$1.tmp"; mv "$1.tmp" "$1"; }
case $1 in
current) cat current ;;
state) cat "state.$2" ;;
mark) put "state.$2" "$3" ;;
good) put "state.$2" good ;;
*) exit 2 ;;
esac
`

// slotInstaller is a pair of slots as files, slot a filled by the factory.
func slotInstaller(t *testing.T) func(string) Installer {
	return func(dir string) Installer {
		must(t, os.WriteFile(filepath.Join(dir, "boot"), []byte(bootScript), 0o700))
		for name, text := range map[string]string{"current": "a", "state.a": "good", "state.b": "unbootable"} {
			must(t, os.WriteFile(filepath.Join(dir, name), []byte(text+"\n"), 0o600))
		}
		must(t, os.WriteFile(filepath.Join(dir, "a.img"), image("factory"), 0o600))
		must(t, os.WriteFile(filepath.Join(dir, "b.img"), nil, 0o600))
		return install.NewSlot(install.SlotConfig{
			A: filepath.Join(dir, "a.img"), B: filepath.Join(dir, "b.img"),
			Boot: install.NewBoot(filepath.Join(dir, "boot")), State: filepath.Join(dir, "installer"),
		})
	}
}

func (v *device) word(name string) string {
	v.t.Helper()
	data, err := os.ReadFile(filepath.Join(v.dir, name))
	must(v.t, err)
	return strings.TrimSpace(string(data))
}

func (v *device) put(name, text string) {
	v.t.Helper()
	must(v.t, os.WriteFile(filepath.Join(v.dir, name), []byte(text+"\n"), 0o600))
}

// reboot plays the boot loader: a slot on trial boots once, and one that is still on trial after it
// ran does not boot again. comesUp false is a trial that never reaches the agent.
func (v *device) reboot(comesUp bool) {
	v.t.Helper()
	v.cfg.BootID = "boot-" + fmt.Sprint(len(v.cfg.BootID)) + v.cfg.BootID
	current, other := v.word("current"), "b"
	if current == "b" {
		other = "a"
	}
	switch {
	case v.word("state."+other) == "trial" && comesUp:
		v.put("current", other)
	case v.word("state."+other) == "trial":
		v.put("state."+other, "unbootable")
	case v.word("state."+current) != "good":
		v.put("state."+current, "unbootable")
		v.put("current", other)
	}
}

// boots checks which slot runs and that it holds this image, whole.
func (v *device) boots(slot, version string) {
	v.t.Helper()
	if got := v.word("current"); got != slot {
		v.t.Fatalf("slot %s runs, want %s", got, slot)
	}
	data, err := os.ReadFile(filepath.Join(v.dir, slot+".img"))
	must(v.t, err)
	want := image(version)
	if len(data) < len(want) || sha256.Sum256(data[:len(want)]) != sha256.Sum256(want) {
		v.t.Fatalf("slot %s holds %.20q…, want image %s", slot, data, version)
	}
}

// targetOf is a target for the file installer.
func targetOf(version string) metadatatest.Target {
	return metadatatest.Target{Data: image(version), Installer: "file"}
}
