package integration

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign-ota/countersign/integration/thief"
	"github.com/countersign-ota/countersign/integration/world"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/signer/key"
)

// attack is one lie of a server to a device that runs release 1 of gw-100.
type attack struct {
	name string
	lie  func(*liar) error
	// want is why the device refuses.
	want reason.Reason
}

// liar is a thief of the server's keys who, where a test says so, also has people sign what they
// should not.
type liar struct {
	*thief.Thief
	people map[string]metadata.Signer
	wrong  metadata.Signer // an outsider
}

// signers returns people's keys of the image repository.
func (l *liar) signers(people ...string) []metadata.Signer {
	var s []metadata.Signer
	for _, p := range people {
		s = append(s, l.people[p])
	}
	return s
}

// role serves the next version of a role, changed by edit and signed by its people.
func (l *liar) role(role string, edit func(signed map[string]any), signers ...metadata.Signer) error {
	old, err := l.Role(role)
	if err != nil {
		return err
	}
	canonical, err := thief.Edit(old.Canonical(), func(signed map[string]any) {
		signed["version"] = old.Signed.Version + 1
		edit(signed)
	})
	if err != nil {
		return err
	}
	file, err := thief.Sign(canonical, signers...)
	if err != nil {
		return err
	}
	return l.Replace(role, file)
}

// text serves the next version of a role, genuine and signed by all, its bytes changed by edit.
func (l *liar) text(role string, edit func(string) string) error {
	old, err := l.Role(role)
	if err != nil {
		return err
	}
	canonical, err := thief.Edit(old.Canonical(), func(signed map[string]any) { signed["version"] = old.Signed.Version + 1 })
	if err != nil {
		return err
	}
	file, err := thief.Sign(canonical, l.signers(world.People...)...)
	if err != nil {
		return err
	}
	return l.Replace(role, []byte(edit(string(file))))
}

// stage is a deployment that has released 1.0.0 and then went on, the server as a thief took it in
// between, and a device that runs 1.0.0.
type stage struct {
	*world.World
	before *thief.Thief
	device *world.Device
	people map[string]metadata.Signer
	wrong  metadata.Signer
	newest []byte
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{World: start(t), people: map[string]metadata.Signer{}}
	image(t, s.World, "one.img", 200_000, 1)
	must(t, s.Release("gw-100/1.0.0", "one.img"))
	var err error
	s.device, err = s.EnrolledDevice("gw-0001", world.DeviceOptions{HTTPS: true})
	must(t, err)
	must(t, s.device.Update())
	s.before, err = thief.Steal(context.Background(), s.ServerDir(), "https://"+s.HTTPS)
	must(t, err)
	// The true server goes on: every offline role gets a version above what the thief will claim, as
	// it must, since a snapshot that listed it was signed.
	products := map[string]string{"gw-100": strings.Replace(world.TwoClasses, "stop: [rivera, chen, okafor]", "stop: [okafor]", 1)}
	for _, id := range []string{"pump-9", "pump-10"} {
		products[id] = world.TwoClasses
		must(t, s.AddProducts(products, world.Regulator))
	}
	image(t, s.World, "two.img", 100_000, 2)
	must(t, s.Release("gw-100/2.0.0", "two.img"))
	s.newest = image(t, s.World, "three.img", 100_000, 3)
	must(t, s.Release("gw-100/3.0.0", "three.img"))
	for _, p := range world.People {
		s.people[p] = s.load(t, s.KeyFile(p))
	}
	path, err := s.NewKey("mallory")
	must(t, err)
	s.wrong = s.load(t, filepath.Join(filepath.Dir(path), ".countersign", "keys", "mallory.key"))
	return s
}

func (s *stage) load(t *testing.T, file string) metadata.Signer {
	t.Helper()
	private, err := key.Load(file, func(key.Public) ([]byte, error) { return []byte(world.Passphrase), nil })
	must(t, err)
	signers, err := private.Signers()
	must(t, err)
	return signers[metadata.Image]
}

// TestAttacksOverTheWire lets a real agent meet a server that lies. Each lie must be refused for its own
// reason, with its exit code; nothing may be staged or run; and the same device must take release 3
// from the true server afterwards.
func TestAttacksOverTheWire(t *testing.T) {
	s := newStage(t)
	for _, set := range []struct {
		name    string
		attacks []attack
	}{
		{"timestamp", timestampAttacks},
		{"snapshot", snapshotAttacks},
		{"bytes", byteAttacks},
		{"targets", targetsAttacks},
		{"product", productAttacks},
		{"stop", stopAttacks},
		{"root", rootAttacks},
		{"image", imageAttacks},
	} {
		t.Run(set.name, func(t *testing.T) {
			for _, a := range set.attacks {
				t.Run(a.name, func(t *testing.T) { s.run(t, a) })
			}
		})
	}
}

func (s *stage) run(t *testing.T, a attack) {
	l := &liar{Thief: s.before.Copy(), people: s.people, wrong: s.wrong}
	must(t, a.lie(l))
	d, err := s.device.Copy(filepath.Join(t.TempDir(), "gw"))
	must(t, err)
	url, err := l.Listen()
	must(t, err)
	defer l.Close()
	must(t, d.Server(url))
	before, err := d.Current()
	must(t, err)
	r := d.Run("once")
	if err := r.Want(int(a.want.Class()), string(a.want)); err != nil {
		t.Error(err)
	}
	// A gate is asked once the image waits; everything else is refused before a byte of it is kept.
	if staged, err := d.Staged(); err != nil || len(staged) != 0 && a.want != reason.Gate {
		t.Errorf("staged %v, %v", staged, err)
	}
	runs(t, d, before)
	must(t, d.Server("https://"+s.HTTPS))
	if err := d.Update(); err != nil {
		t.Fatalf("the next good cycle failed: %v", err)
	}
	runs(t, d, s.newest)
}

// object reads a member that is an object.
func object(v any, names ...string) map[string]any {
	for _, n := range names {
		v = v.(map[string]any)[n]
	}
	m, ok := v.(map[string]any)
	if !ok {
		panic(fmt.Sprintf("integration: no object at %v", names))
	}
	return m
}
