package world

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
)

// Device is one device of the deployment.
type Device struct {
	ID string
	// Dir holds agent.conf, the state folder, slots and boot control.
	Dir   string
	World *World
}

// DeviceOptions describe a device; zero values are the defaults.
type DeviceOptions struct {
	Hardware string // default gw-100-c
	Product  string // default gw-100
	// HTTPS makes it speak HTTPS instead of gRPC.
	HTTPS bool
	// Root is the image root that it trusts; "" takes the one its server has as version 1.
	Root string
	// Deployment is what it believes to belong to; "" is the World's.
	Deployment string
	// Flags are further lines of agent.conf.
	Flags []string
}

// FactoryImage is what a new device runs.
const FactoryImage = "factory image"

// bootControl keeps slot states in files: the command that the slot installer speaks to
// (docs/formats.md, boot control).
const bootControl = `#!/bin/sh
# Boot control over files, in place of a boot loader.
set -eu
cd "$(dirname "$0")"
case "$1" in
current) cat current ;;
state) cat "state.$2" ;;
mark) echo "$3" >"state.$2.new"; sync "state.$2.new"; mv "state.$2.new" "state.$2"; if [ "$3" = trial ]; then echo "$2" >next; fi ;;
good) echo good >"state.$2.new"; sync "state.$2.new"; mv "state.$2.new" "state.$2"; rm -f next ;;
*) echo "boot: unknown word $1" >&2; exit 2 ;;
esac
`

// NewDevice makes a device with two slots as files, of which a runs, and a configuration.
func (w *World) NewDevice(id string, o DeviceOptions) (*Device, error) {
	d := &Device{ID: id, Dir: filepath.Join(w.Dir, "devices", id), World: w}
	if o.Hardware == "" {
		o.Hardware = "gw-100-c"
	}
	if o.Product == "" {
		o.Product = "gw-100"
	}
	if o.Deployment == "" {
		o.Deployment = w.Deployment
	}
	server := "grpc://" + w.GRPC
	if o.HTTPS {
		server = "https://" + w.HTTPS
	}
	conf := append([]string{
		"deployment " + o.Deployment,
		"device " + id,
		"hardware " + o.Hardware,
		"server " + server,
		"dir " + filepath.Join(d.Dir, "state"),
		"root " + filepath.Join(d.Dir, "image-root.json"),
		"director none",
		"confirm manual",
		"allow_local yes",
		fmt.Sprintf("component main product=%s installer=slot a=%s b=%s boot=%s counter=0",
			o.Product, d.Slot("a"), d.Slot("b"), filepath.Join(d.Dir, "boot", "boot")),
	}, o.Flags...)
	files := map[string]string{
		"agent.conf":   strings.Join(conf, "\n") + "\n",
		"slot.a":       FactoryImage,
		"slot.b":       "",
		"boot/boot":    bootControl,
		"boot/current": "a\n",
		"boot/state.a": "good\n",
		"boot/state.b": "unbootable\n",
	}
	if o.Root != "" {
		files["image-root.json"] = o.Root
	}
	for name, content := range files {
		path := filepath.Join(d.Dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return nil, err
		}
		mode := os.FileMode(0o600)
		if name == "boot/boot" {
			mode = 0o700
		}
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// Device returns a device that NewDevice made.
func (w *World) Device(id string) *Device {
	return &Device{ID: id, Dir: filepath.Join(w.Dir, "devices", id), World: w}
}

// Copy makes another body for the same device in the folder dir: all its files, the paths in its
// configuration changed.
func (d *Device) Copy(dir string) (*Device, error) {
	// os.CopyFS opens files to everybody, and a key that others can read is refused.
	if out, err := exec.Command("cp", "-a", d.Dir, dir).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("copy device: %w: %s", err, out)
	}
	name := filepath.Join(dir, "agent.conf")
	conf, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	err = os.WriteFile(name, []byte(strings.ReplaceAll(string(conf), d.Dir, dir)), 0o600)
	return &Device{ID: d.ID, Dir: dir, World: d.World}, err
}

// Server points the device at another server, grpc://host:port or https://host:port.
func (d *Device) Server(url string) error {
	name := filepath.Join(d.Dir, "agent.conf")
	conf, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	lines := strings.Split(string(conf), "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, "server ") {
			lines[i] = "server " + url
		}
	}
	return os.WriteFile(name, []byte(strings.Join(lines, "\n")), 0o600)
}

// Trust bakes another deployment and root into the device.
func (d *Device) Trust(deployment string, root []byte) error {
	name := filepath.Join(d.Dir, "agent.conf")
	conf, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	changed := strings.Replace(string(conf), "deployment "+d.World.Deployment, "deployment "+deployment, 1)
	if err := os.WriteFile(name, []byte(changed), 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(d.Dir, "image-root.json"), root, 0o600)
}

// Slot is the path of slot a or b.
func (d *Device) Slot(name string) string { return filepath.Join(d.Dir, "slot."+name) }

// Run runs countersign-agent on the device.
func (d *Device) Run(args ...string) Result {
	return d.World.command(d.ID, d.Dir, nil, "countersign-agent", append(args, "--config", filepath.Join(d.Dir, "agent.conf"))...)
}

// Reboot does what a boot loader does: it starts the slot on trial if there is one; a slot that was
// on trial and not confirmed falls back. The kernel's boot id cannot change under the agent, so the
// device names its own (COUNTERSIGN_BOOT_ID is not a setting: the boot control decides what runs).
func (d *Device) Reboot() error {
	boot := filepath.Join(d.Dir, "boot")
	current, err := os.ReadFile(filepath.Join(boot, "current"))
	if err != nil {
		return err
	}
	next, err := os.ReadFile(filepath.Join(boot, "next"))
	if os.IsNotExist(err) {
		state, err := os.ReadFile(filepath.Join(boot, "state."+strings.TrimSpace(string(current))))
		if err != nil || strings.TrimSpace(string(state)) == "good" {
			return err
		}
		other := map[string]string{"a": "b\n", "b": "a\n"}[strings.TrimSpace(string(current))]
		return os.WriteFile(filepath.Join(boot, "current"), []byte(other), 0o600)
	}
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(boot, "current"), next, 0o600); err != nil {
		return err
	}
	return os.Remove(filepath.Join(boot, "next"))
}

// Current returns the content of the slot that runs.
func (d *Device) Current() ([]byte, error) {
	slot, err := os.ReadFile(filepath.Join(d.Dir, "boot", "current"))
	if err != nil {
		return nil, err
	}
	return os.ReadFile(d.Slot(strings.TrimSpace(string(slot))))
}

// Staged lists what lies whole in the staging folder.
func (d *Device) Staged() ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(d.Dir, "state", "stage"))
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var whole []string
	for _, e := range entries {
		if len(e.Name()) == 64 {
			whole = append(whole, e.Name())
		}
	}
	sort.Strings(whole)
	return whole, nil
}
