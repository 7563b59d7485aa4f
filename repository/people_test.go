package repository_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/proto/statement"
	"github.com/countersign-ota/countersign/repository"
	"github.com/countersign-ota/countersign/signer/event"
	"github.com/countersign-ota/countersign/signer/key"
	"github.com/countersign-ota/countersign/signer/remote"
)

// keysOf makes each person's signing keys once for all tests.
var keysOf = func() func(t testing.TB, id string) *key.Private {
	var mu sync.Mutex
	made := map[string]*key.Private{}
	return func(t testing.TB, id string) *key.Private {
		t.Helper()
		mu.Lock()
		defer mu.Unlock()
		if made[id] == nil {
			person, _, _ := strings.Cut(id, "@")
			kind := key.Ed25519
			if person == "okafor" {
				kind = key.P256
			}
			k, err := key.Generate(kind, key.Public{Person: person, Name: strings.ToUpper(person[:1]) + person[1:]}, true)
			if err != nil {
				t.Fatal(err)
			}
			made[id] = k
		}
		return made[id]
	}
}()

const basicPlan = `deployment: acme
online: online.pub
people: {rivera: rivera.pub, chen: chen.pub, okafor: okafor.pub}
meaning: {holder: approved, engineering: authored, quality: approved, stop: stopped}
roots: {require: {holder: 2}, people: {holder: [rivera, chen, okafor]}}
products:
  gw-100: {require: {engineering: 1, quality: 1}, people: {engineering: [rivera], quality: [chen, okafor]}}
`

// write makes a file of people's.
func (b *bed) write(name string, content []byte) string {
	b.t.Helper()
	path := filepath.Join(b.files, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		b.t.Fatal(err)
	}
	return path
}

// plan parses a plan; NAME.pub may name person@n for another key of theirs.
func (b *bed) plan(text string) *event.Plan {
	b.t.Helper()
	p, err := event.ParsePlan("plan.yaml", []byte(text), func(file string) ([]byte, error) {
		if file == "online.pub" {
			return os.ReadFile(filepath.Join(b.dir, repository.OnlineFile))
		}
		return keysOf(b.t, strings.TrimSuffix(file, ".pub")).Public.Bytes()
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return p
}

// opening is what a tool opens an event with.
func (b *bed) opening() event.Opening {
	return event.Opening{Now: b.clock.now().Truncate(time.Second), Memory: usedOf{b}}
}

// usedOf is the memory of a tool that asks the server what is used up.
type usedOf struct{ b *bed }

func (usedOf) Seen(metadata.Repository, string) (int64, [32]byte) { return 0, [32]byte{} }
func (usedOf) Signed(metadata.Repository, string, int64) ([32]byte, bool) {
	return [32]byte{}, false
}

func (u usedOf) Used(r metadata.Repository, role string) (version, counter int64) {
	p, err := u.b.operators["rivera"].Published(context.Background(), r, role, 0)
	if err != nil {
		u.b.t.Fatal(err)
	}
	return p.Version, p.Counter
}

// served is the event.Source of a tool: what the server answers.
type served struct{ b *bed }

func (s served) Current(r metadata.Repository, role string) ([]byte, error) {
	p, err := s.b.operators["rivera"].Published(context.Background(), r, role, 0)
	return p.File, err
}

func (s served) Root(r metadata.Repository, version int64) ([]byte, error) {
	p, err := s.b.operators["rivera"].Published(context.Background(), r, metadata.Root, version)
	return p.File, err
}

// state is what is in force, verified from root 1 on.
func (b *bed) state() *event.State {
	b.t.Helper()
	s, err := event.StateFrom(served{b}, "acme", event.Pins{})
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

// open gives an event to the server and returns its id.
func (b *bed) open(by string, e *event.Event) string {
	b.t.Helper()
	if _, err := b.operator(by).OpenEvent(context.Background(), e); err != nil {
		b.t.Fatalf("open: %v [%s]", err, reason.Of(err))
	}
	return e.ID()
}

// signed returns what a person signs of an event that the server holds.
func (b *bed) signed(id, person string) ([]event.Signature, []statement.Envelope) {
	b.t.Helper()
	e, _, err := b.operators["rivera"].Event(context.Background(), id)
	if err != nil {
		b.t.Fatal(err)
	}
	return b.signedOf(e, person)
}

// signedOf returns what a person signs of an event at hand.
func (b *bed) signedOf(e *event.Event, person string) ([]event.Signature, []statement.Envelope) {
	b.t.Helper()
	s, err := event.StateFromBase(e, event.Pins{})
	if err != nil {
		b.t.Fatalf("base of %s: %v", e.ID(), err)
	}
	j, err := event.Judge(e, s, event.Options{Now: b.clock.now()})
	if err != nil {
		b.t.Fatalf("%s judges: %v [%s]", person, err, reason.Of(err))
	}
	signers, err := keysOf(b.t, person).Signers()
	if err != nil {
		b.t.Fatal(err)
	}
	sigs, approval, err := event.Sign(j, signers, event.SignOptions{Reason: "record 8812", Now: b.clock.now()})
	if err != nil {
		b.t.Fatalf("%s signs: %v [%s]", person, err, reason.Of(err))
	}
	return sigs, []statement.Envelope{*approval}
}

// sign has people sign an event and fails unless all of it counts.
func (b *bed) sign(id string, people ...string) {
	b.t.Helper()
	for _, person := range people {
		sigs, approvals := b.signed(id, person)
		outcomes, err := b.operators["rivera"].AddSignatures(context.Background(), id, sigs, approvals)
		if err != nil {
			b.t.Fatalf("signature of %s: %v [%s]", person, err, reason.Of(err))
		}
		for _, o := range outcomes {
			if !o.GetTaken() {
				b.t.Fatalf("signature of %s: %s [%s]", person, o.GetMessage(), o.GetReason())
			}
		}
	}
}

// publish publishes an event and returns the versions that are public now, by repository and role.
func (b *bed) publish(id string) map[string]int64 {
	b.t.Helper()
	roles, err := b.operators["rivera"].Publish(context.Background(), id)
	if err != nil {
		b.t.Fatalf("publish: %v [%s]", err, reason.Of(err))
	}
	return versions(roles)
}

func versions(roles []*pb.PublishedRole) map[string]int64 {
	v := map[string]int64{}
	for _, r := range roles {
		v[r.GetRepository()+"/"+r.GetRole()] = r.GetVersion()
	}
	return v
}

// found founds the deployment of a plan.
func (b *bed) found(plan string) map[string]int64 {
	b.t.Helper()
	e, err := event.NewInit(b.plan(plan), b.opening())
	if err != nil {
		b.t.Fatal(err)
	}
	id := b.open("rivera", e)
	b.sign(id, "rivera", "chen", "okafor")
	return b.publish(id)
}

const basicSpec = `spread_hours: 24
class: security
evidence: {sbom: gw.cdx.json}
targets:
- {file: build/gw.img, component: main, hardware: [gw-100-c], installer: slot, installer_args: {}}
`

const sbom = `{"bomFormat":"CycloneDX","specVersion":"1.6","version":1,"components":[]}`

// firmware is the image of a release.
func firmware(version string) []byte {
	return bytes.Repeat([]byte("firmware "+version+"\n"), 20_000)
}

// release returns a release event of gw-100 and its spec.
func (b *bed) release(version, spec string) (*event.Event, *event.Spec) {
	b.t.Helper()
	b.write("build/gw.img", firmware(version))
	b.write("gw.cdx.json", []byte(sbom))
	s, err := event.LoadSpec(b.write("release.yaml", []byte(spec)))
	if err != nil {
		b.t.Fatal(err)
	}
	e, err := event.NewRelease("gw-100", version, s, b.state(), b.opening())
	if err != nil {
		b.t.Fatalf("release %s: %v [%s]", version, err, reason.Of(err))
	}
	return e, s
}

// upload sends the files of a release.
func (b *bed) upload(e *event.Event, s *event.Spec) {
	b.t.Helper()
	for _, a := range s.Artifacts(e) {
		sum, err := hex.DecodeString(a.Blob.SHA256)
		if err != nil {
			b.t.Fatal(err)
		}
		if err := b.operators["rivera"].Upload(context.Background(), a.File, [32]byte(sum), a.Blob.Length, remote.Watch{}); err != nil {
			b.t.Fatalf("upload of %s: %v [%s]", a.File, err, reason.Of(err))
		}
	}
}

// released publishes a release of gw-100.
func (b *bed) released(version string) map[string]int64 {
	b.t.Helper()
	e, s := b.release(version, basicSpec)
	b.upload(e, s)
	id := b.open("rivera", e)
	b.sign(id, "rivera", "chen")
	return b.publish(id)
}

// checked stops the server and fails if anything that it stored is not sound.
func (b *bed) checked() *repository.Report {
	b.t.Helper()
	if b.end != nil {
		b.stop()
	}
	r, err := repository.Check(context.Background(), b.dir, b.clock.now())
	if err != nil {
		b.t.Fatalf("check: %v [%s]", err, reason.Of(err))
	}
	for _, p := range r.Problems {
		b.t.Errorf("check: %s: %v [%s]", p.Where, p.Err, reason.Of(p.Err))
	}
	return r
}

func imagePath(version string) string {
	sum := sha256.Sum256(firmware(version))
	return fmt.Sprintf("/targets/gw-100/%s/%x.gw.img", version, sum)
}

func wantReason(t testing.TB, err error, want reason.Reason) {
	t.Helper()
	if got := reason.Of(err); got != want {
		t.Errorf("reason %q, want %q: %v", got, want, err)
	}
}

func hexOf(d [32]byte) string { return hex.EncodeToString(d[:]) }
