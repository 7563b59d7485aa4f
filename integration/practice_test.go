package integration

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign-ota/countersign/agent"
	"github.com/countersign-ota/countersign/agent/install"
	"github.com/countersign-ota/countersign/agent/transport"
	"github.com/countersign-ota/countersign/agent/transport/rpc"
	"github.com/countersign-ota/countersign/integration/world"
	"github.com/countersign-ota/countersign/proto/reason"
)

// practice is a deployment over years: people lose keys, come and go, thresholds change, online keys are
// stolen. What the plan says now is in its fields.
type practice struct {
	t *testing.T
	w *world.World
	// need of holders must sign the roots.
	need    int
	holders []string
	people  []string
	// engineering and quality sign the products.
	engineering, quality []string
	// roots are all versions of the image root, from 1 on.
	roots [][]byte
	// old are the files of the key that each person had last.
	old map[string]string
	// next numbers releases.
	next int
}

// years begins the deployment with two products, one of them with bins.
func years(t *testing.T) *practice {
	t.Helper()
	w, err := world.New(filepath.Join(t.TempDir(), "world"), "acme", programs)
	must(t, err)
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	must(t, w.Start())
	p := &practice{
		t: t, w: w, need: 2, holders: slices.Clone(world.People), people: slices.Clone(world.People),
		engineering: []string{"rivera"}, quality: []string{"chen", "okafor"}, old: map[string]string{},
	}
	p.keepRoot()
	p.change("new products", nil, "rivera", "chen")
	return p
}

// change opens the event that leads to the plan as it stands now and has people sign and publish it;
// those in also sign with the key that they had before.
func (p *practice) change(why string, also []string, signers ...string) {
	p.t.Helper()
	id := p.open()
	for _, person := range also {
		must(p.t, p.w.Sign(person, id, id, "--reason", why, "--key", p.old[person]).Err())
	}
	must(p.t, p.w.SignAndPublish(id, why, signers...))
}

func (p *practice) open() string {
	p.t.Helper()
	must(p.t, p.w.Put(world.Engineer, "plan.yaml", p.plan()))
	id, err := p.w.Open(world.Engineer, "change", "plan.yaml", "--no-input", "--yes")
	must(p.t, err)
	return id
}

func (p *practice) plan() string {
	list := func(ids []string) string { return "[" + strings.Join(ids, ", ") + "]" }
	var b strings.Builder
	fmt.Fprintf(&b, "deployment: acme\nonline: online.pub\npeople:\n")
	for _, id := range p.people {
		fmt.Fprintf(&b, "  %s: %s.pub\n", id, id)
	}
	b.WriteString("meaning: {holder: approved, engineering: authored, quality: approved, stop: stopped}\n")
	fmt.Fprintf(&b, "roots: {require: {holder: %d}, people: {holder: %s}}\nproducts:\n", p.need, list(p.holders))
	stop := slices.Concat(p.engineering, p.quality)
	slices.Sort(stop)
	for _, product := range []string{"gw-100: {bins: 0", "pump-9: {bins: 16"} {
		fmt.Fprintf(&b, "  %s, require: {engineering: 1, quality: 1}, people: {engineering: %s, quality: %s}, stop: %s, sbom: none}\n",
			product, list(p.engineering), list(p.quality), list(slices.Compact(stop)))
	}
	return b.String()
}

// newKey gives people new keys; their old ones stay beside, as on another stick.
func (p *practice) newKey(person string, args ...string) {
	p.t.Helper()
	desk := p.w.Desk(person)
	if _, err := os.Stat(p.w.KeyFile(person)); err == nil {
		old := filepath.Join(desk, fmt.Sprintf("old-%d.key", len(p.roots)))
		must(p.t, os.Rename(p.w.KeyFile(person), old))
		must(p.t, os.Remove(filepath.Join(desk, person+".pub")))
		p.old[person] = old
	}
	_, err := p.w.NewKey(person, append([]string{"--director"}, args...)...)
	must(p.t, err)
	if person != world.Engineer {
		must(p.t, p.w.Give(person, world.Engineer, person+".pub"))
	}
}

// joins lets another person in.
func (p *practice) joins(person string, args ...string) {
	p.t.Helper()
	p.newKey(person, args...)
	p.people = append(p.people, person)
	token := filepath.Join(p.w.Desk(person), person+".token")
	must(p.t, p.w.As(world.Engineer, "operator", "invite", person, "--role", "engineering", "-o", token, "--no-input", "--yes").Err())
	must(p.t, p.w.As(person, "login", "--token-file", token, "--no-input", "--yes").Err())
}

// release publishes a release of both products, signed by these two.
func (p *practice) release(engineer, quality string) (gw []byte) {
	p.t.Helper()
	p.next++
	version := fmt.Sprintf("%d.0.0", p.next)
	gw = image(p.t, p.w, "gw.img", 70_000+p.next, byte(p.next))
	image(p.t, p.w, "pump.img", 50_000+p.next, byte(100+p.next))
	for _, r := range []struct{ release, image string }{{"gw-100/" + version, "gw.img"}, {"pump-9/" + version, "pump.img"}} {
		id, err := p.w.OpenRelease(r.release, r.image)
		must(p.t, err)
		must(p.t, p.w.SignAndPublish(id, "release "+r.release, engineer, quality))
	}
	return gw
}

// keepRoot keeps the newest root, as a factory bakes it in.
func (p *practice) keepRoot() {
	p.t.Helper()
	root, err := p.w.RootVersion(len(p.roots) + 1)
	must(p.t, err)
	p.roots = append(p.roots, root)
}

// meet lets a new device have its last contact now: it trusts the newest root and installed the newest
// release.
func (p *practice) meet() {
	p.t.Helper()
	d, err := p.w.EnrolledDevice(fmt.Sprintf("met-%02d", len(p.roots)), world.DeviceOptions{Root: string(p.roots[len(p.roots)-1])})
	must(p.t, err)
	must(p.t, d.Update())
}

// The signing practice of a manufacturer over years, as the processes that people run. After every
// change the next release needs what the plan says, and nothing less; at the end devices from every
// root on, that met the server then or left the factory then, take the newest release, whatever their
// clock says.
func TestYearsOfPractice(t *testing.T) {
	p := years(t)
	step := func(name string, change func()) {
		t.Helper()
		if t.Failed() {
			t.FailNow()
		}
		change()
		t.Log(name, "done")
	}
	root := func(name string, change func()) {
		step(name, func() {
			change()
			p.keepRoot()
			p.release(p.engineering[0], p.quality[0])
			p.meet()
		})
	}
	step("first release", func() { p.release("rivera", "chen"); p.meet() })
	root("one of three holders lost", func() {
		p.newKey("okafor")
		p.change("okafor lost the key", nil, "rivera", "chen")
	})
	root("every root key replaced at once by the same people", func() {
		for _, person := range p.holders {
			p.newKey(person)
		}
		p.change("new keys for everybody", []string{"rivera", "chen"}, "rivera", "chen")
	})
	root("root threshold raised, a fourth holder with a P-256 key", func() {
		p.joins("nakamura", "--type", "p256")
		p.holders, p.need = append(p.holders, "nakamura"), 3
		p.change("three of four", nil, "rivera", "chen", "okafor")
	})
	step("a quality signer leaves while an event is open", func() {
		image(t, p.w, "late.img", 1000, 9)
		late, err := p.w.OpenRelease("gw-100/99.0.0", "late.img")
		must(t, err)
		must(t, p.w.Sign("chen", late, late, "--reason", "my last day").Err())
		p.quality = []string{"okafor", "nakamura"}
		must(t, p.w.Put(world.Engineer, "plan.yaml", p.plan()))
		must(t, p.w.As(world.Engineer, "change", "plan.yaml", "--no-input").Want(4, string(reason.RoleOpen)))
		// chen's signature is out there: the version is used up, and the successor takes its place.
		must(t, p.w.As("rivera", "event", "cancel", late, "--reason", "chen left", "--no-input", "--yes").Err())
		must(t, p.w.SignAndPublish(p.waits("rivera"), "in place of the cancelled release", "rivera", "okafor"))
		p.change("chen leaves quality", nil, "rivera", "okafor", "nakamura")
		must(t, p.w.Sign("rivera", late, late, "--reason", "late").Want(4, string(reason.EventCancelled)))
		image(t, p.w, "gw.img", 1000, 9)
		id, err := p.w.OpenRelease("gw-100/98.0.0", "gw.img")
		must(t, err)
		must(t, p.w.Sign("chen", id, id, "--reason", "still here?").Want(4, string(reason.KeyNotInRole)))
		must(t, p.w.As("rivera", "event", "cancel", id, "--reason", "a test", "--no-input", "--yes").Err())
		p.release("rivera", "nakamura")
	})
	root("root threshold lowered", func() {
		p.need = 2
		p.change("two of four", nil, "rivera", "chen", "okafor")
	})
	root("P-256 to Ed25519", func() {
		p.newKey("nakamura")
		p.change("nakamura has an Ed25519 key", nil, "rivera", "okafor")
	})
	root("an engineer's key replaced, stop list and bins stay valid", func() {
		p.newKey("rivera")
		p.change("rivera has a new key", []string{"rivera"}, "rivera", "chen", "okafor")
	})
	root("all online keys stolen", p.stolen)
	for _, r := range []struct {
		person  string
		signers []string
	}{
		{"chen", []string{"rivera", "okafor"}},
		{"okafor", []string{"rivera", "chen", "okafor"}}, // who signed the products proves the new key there
		{"nakamura", []string{"rivera", "okafor"}},
		{"chen", []string{"rivera", "okafor"}},
		{"nakamura", []string{"rivera", "okafor"}},
	} {
		root("a yearly new key for "+r.person, func() {
			p.newKey(r.person)
			p.change("yearly rotation", nil, r.signers...)
		})
	}
	if n := len(p.roots); n < 13 {
		t.Fatalf("%d roots, wanted 13 or more, so that some device is 12 behind", n)
	}
	newest := p.release(p.engineering[0], p.quality[0])
	for v := range p.roots {
		t.Run(fmt.Sprintf("met at root %d", v+1), func(t *testing.T) {
			d := p.w.Device(fmt.Sprintf("met-%02d", v+1))
			must(t, d.Update())
			runs(t, d, newest)
		})
		for name, ahead := range map[string]time.Duration{"right": 0, "1970": -56 * 365 * 24 * time.Hour, "fast": 10 * 365 * 24 * time.Hour} {
			t.Run(fmt.Sprintf("made with root %d, clock %s", v+1, name), func(t *testing.T) { p.fromFactory(t, v, name, ahead, newest) })
		}
	}
}

// waits returns the event that waits for a person.
func (p *practice) waits(person string) string {
	p.t.Helper()
	var status struct {
		Events []struct {
			ID    string `json:"id"`
			Waits bool   `json:"waits_for_you"`
		} `json:"events"`
	}
	r := p.w.As(person, "status", "--json")
	must(p.t, r.Err())
	must(p.t, r.JSON(&status))
	for _, e := range status.Events {
		if e.Waits {
			return e.ID
		}
	}
	p.t.Fatalf("nothing waits for %s\n%s", person, r)
	return ""
}

// stolen gives the server new online keys, since somebody has the old ones.
func (p *practice) stolen() {
	p.t.Helper()
	config := filepath.Join(p.w.ServerDir(), "server.yaml")
	must(p.t, p.w.Server("online", "new", "--config", config).Err())
	yaml, err := os.ReadFile(config)
	must(p.t, err)
	changed := string(yaml)
	for _, name := range []string{"image", "director"} {
		files, err := filepath.Glob(filepath.Join(p.w.ServerDir(), "online", name+"*.key"))
		must(p.t, err)
		files = slices.DeleteFunc(files, func(f string) bool { return filepath.Base(f) == name+".key" })
		if len(files) != 1 {
			p.t.Fatalf("new online keys: %v", files)
		}
		changed = strings.Replace(changed, "online/"+name+".key", "online/"+filepath.Base(files[0]), 1)
	}
	must(p.t, os.WriteFile(config, []byte(changed), 0o600))
	must(p.t, p.w.Close())
	_, err = p.w.Serve()
	must(p.t, err)
	online, err := os.ReadFile(filepath.Join(p.w.ServerDir(), "online.pub"))
	must(p.t, err)
	must(p.t, p.w.Put(world.Engineer, "online.pub", string(online)))
	p.change("the server was broken into", nil, "rivera", "chen")
}

// fromFactory runs a device that was made with an old root and never met the server, by the agent's
// library, since a process has no clock of its own. A clock that is far ahead makes it refuse what has
// expired by then, after it took every root; the next cycle with a right clock succeeds.
func (p *practice) fromFactory(t *testing.T, v int, clock string, ahead time.Duration, want []byte) {
	id := fmt.Sprintf("made-%02d-%s", v+1, clock)
	d, err := p.w.EnrolledDevice(id, world.DeviceOptions{Root: string(p.roots[v])})
	must(t, err)
	state := filepath.Join(d.Dir, "state")
	ca, err := os.ReadFile(filepath.Join(p.w.ServerDir(), "identity", "root.pem"))
	must(t, err)
	cycle := func(ahead time.Duration) error {
		server, err := rpc.New(rpc.Config{
			Address: p.w.GRPC, CA: ca,
			Certificate: transport.FromFiles(filepath.Join(state, "identity.pem"), filepath.Join(state, "identity.key")),
		})
		must(t, err)
		defer server.Close()
		a, err := agent.Open(t.Context(), agent.Config{
			Dir: state, Transport: server, Root: p.roots[v], Deployment: "acme", Device: id, Hardware: "gw-100-c",
			Clock: func() time.Time { return time.Now().Add(ahead) }, Built: time.Now().Add(-365 * 24 * time.Hour),
			Components: map[string]agent.Component{"main": {Product: "gw-100", Installer: install.NewSlot(install.SlotConfig{
				A: d.Slot("a"), B: d.Slot("b"), Boot: install.NewBoot(filepath.Join(d.Dir, "boot", "boot")), State: filepath.Join(state, "installer.main"),
			})}},
		})
		must(t, err)
		defer a.Close()
		if _, err = a.Once(t.Context(), nil); err != nil {
			return err
		}
		if s := a.Status(); s.Update == nil || !s.Update.Reboot {
			return errors.New("nothing to reboot for")
		}
		return nil
	}
	err = cycle(ahead)
	if ahead > 0 {
		if !reason.Is(err, reason.Expired) {
			t.Fatalf("a clock far ahead: %v, want expired", err)
		}
		if staged, err := d.Staged(); err != nil || len(staged) > 0 {
			t.Fatalf("staged %v, %v", staged, err)
		}
		if got := rootOf(t, state); got != int64(len(p.roots)) {
			t.Errorf("root %d after a refused cycle, want %d: expiry never blocks a root", got, len(p.roots))
		}
		err = cycle(0)
	}
	must(t, err)
	must(t, d.Reboot())
	runs(t, d, want)
}

// rootOf returns the version of the root in force on a device.
func rootOf(t *testing.T, dir string) int64 {
	t.Helper()
	s, err := agent.ReadStatus(dir)
	must(t, err)
	for _, r := range s.Roles {
		if r.Name == "image/root" {
			return r.Version
		}
	}
	return 0
}
