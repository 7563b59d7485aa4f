package repository_test

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/signer/event"
)

const pumpPlan = basicPlan + `  pump-9: {require: {engineering: 1, quality: 1}, people: {engineering: [rivera], quality: [chen, okafor]}}
`

// past is the event.Past of a tool that asks the server; it does not learn when a file was published.
type past struct{ b *bed }

func (p past) Version(role string, version int64) ([]byte, time.Time, error) {
	f, err := p.b.operators["rivera"].Published(ctx, metadata.Image, role, version)
	return f.File, time.Time{}, err
}

// made ends a test at an event that cannot be made.
func (b *bed) made(e *event.Event, err error) *event.Event {
	b.t.Helper()
	if err != nil {
		b.t.Fatalf("%v [%s]", err, reason.Of(err))
	}
	return e
}

func (b *bed) withdraw(version string) *event.Event {
	b.t.Helper()
	return b.made(event.NewWithdraw("gw-100", version, "link drops", b.state(), b.opening()))
}

func (b *bed) stopOf(version string) *event.Event {
	b.t.Helper()
	return b.made(event.NewStop("gw-100", version, "link drops", b.state(), past{b}, b.opening()))
}

func (b *bed) refresh(word string) *event.Event {
	b.t.Helper()
	s := b.state()
	roles, err := event.Refreshable(s, word)
	if err != nil {
		b.t.Fatal(err)
	}
	return b.made(event.NewRefresh(roles, s, b.opening()))
}

// kindTests hold an event of every kind, who signs it, and who signs what follows it when it is cancelled.
var kindTests = []struct {
	kind   string
	event  func(b *bed) *event.Event
	people []string
	// successor signs the event in place of the cancelled one; nil: there is none.
	successor []string
	role      string
}{
	{
		event.Init, func(b *bed) *event.Event { return b.made(event.NewInit(b.plan(basicPlan), b.opening())) },
		[]string{"chen", "okafor", "rivera"},
		nil, "image/gw-100",
	},
	{event.Root, func(b *bed) *event.Event {
		return b.made(event.NewChange(b.plan(rotatedPlan), b.state(), b.opening()))
	}, []string{"chen", "rivera@2", "okafor"}, []string{"rivera", "chen"}, "director/root"},
	{event.Product, func(b *bed) *event.Event {
		return b.made(event.NewChange(b.plan(pumpPlan), b.state(), b.opening()))
	}, []string{"okafor", "rivera", "chen"}, []string{"rivera", "chen"}, "image/pump-9"},
	{event.Release, func(b *bed) *event.Event {
		e, s := b.release("2.4.2", basicSpec)
		b.upload(e, s)
		return e
	}, []string{"chen", "rivera"}, []string{"rivera", "chen"}, "image/gw-100"},
	{
		event.Withdraw, func(b *bed) *event.Event { return b.withdraw("2.4.1") },
		[]string{"okafor", "rivera"},
		[]string{"okafor", "rivera"},
		"image/gw-100",
	},
	{
		event.Stop, func(b *bed) *event.Event { return b.stopOf("2.4.1") },
		[]string{"okafor"},
		[]string{"chen"},
		"image/gw-100.stop",
	},
	{
		event.Refresh, func(b *bed) *event.Event { return b.refresh("targets") },
		[]string{"okafor", "rivera"},
		[]string{"chen", "rivera"},
		"image/targets",
	},
}

// bedFor is a server as an event of a kind finds it.
func bedFor(t *testing.T, kind string) *bed {
	b := newBed(t)
	if kind != event.Init {
		b.found(basicPlan)
		b.released("2.4.0")
		b.released("2.4.1")
	}
	return b
}

// Every kind is opened, signed by people who never meet, each in a copy of their own; the copies are
// merged in another order than they were signed, come back as one file, and the event is published.
func TestEveryKindIsPublished(t *testing.T) {
	for _, tt := range kindTests {
		t.Run(tt.kind, func(t *testing.T) {
			b := bedFor(t, tt.kind)
			e := tt.event(b)
			if e.Proposal.Kind != tt.kind {
				t.Fatalf("kind %s", e.Proposal.Kind)
			}
			id := b.open("rivera", e)
			var copies []*event.Event
			for _, person := range tt.people {
				c := &event.Event{Proposal: e.Proposal}
				c.Signatures, c.Approvals = b.signed(id, person)
				copies = append([]*event.Event{c}, copies...)
			}
			if _, err := b.operators["rivera"].Publish(ctx, id); reason.Of(err) != reason.QuorumOpen {
				t.Errorf("before anybody signed: %v", err)
			}
			outcomes, err := b.operators["rivera"].OpenEvent(ctx, b.made(event.Merge(copies...)))
			if err != nil {
				t.Fatalf("%v [%s]", err, reason.Of(err))
			}
			for _, o := range outcomes {
				if !o.GetTaken() {
					t.Errorf("%s [%s]", o.GetMessage(), o.GetReason())
				}
			}
			if got := b.publish(id); got[tt.role] == 0 {
				t.Errorf("published %v, not %s", got, tt.role)
			}
			_, _, err = b.operators["rivera"].Cancel(ctx, id, "too late")
			wantReason(t, err, reason.EventPublished)
			b.checked()
		})
	}
}

// Every kind is cancelled after one person signed it. What used up versions leaves a successor, which comes
// first; then the same is opened anew and published.
func TestEveryKindIsCancelled(t *testing.T) {
	for _, tt := range kindTests {
		t.Run(tt.kind, func(t *testing.T) {
			b := bedFor(t, tt.kind)
			e := tt.event(b)
			id := b.open("rivera", e)
			b.sign(id, tt.people[0])
			if tt.kind == event.Stop { // its threshold is 1, so that it has its quorum
				if s := stateOf(t, b, id); s.GetState() != pb.EventState_EVENT_STATE_OPEN {
					t.Errorf("state %v", s.GetState())
				}
			}
			void, successor, err := b.operators["rivera"].Cancel(ctx, id, "not this way")
			if err != nil || void == 0 || (successor != "") != (tt.successor != nil) {
				t.Fatalf("void %d, successor %q, %v", void, successor, err)
			}
			_, err = b.operators["rivera"].Publish(ctx, id)
			wantReason(t, err, reason.EventCancelled)
			_, err = b.operators["rivera"].OpenEvent(ctx, e)
			wantReason(t, err, reason.EventCancelled)
			b.clock.forward(time.Minute) // in the same second an init would be the same proposal
			if successor != "" {
				if s := stateOf(t, b, successor); s.GetKind() != event.Refresh {
					t.Errorf("the successor is a %s event", s.GetKind())
				}
				_, err = b.operators["rivera"].OpenEvent(ctx, tt.event(b))
				wantReason(t, err, reason.RoleOpen)
				b.sign(successor, tt.successor...)
				b.publish(successor)
			}
			again := b.open("rivera", tt.event(b))
			b.sign(again, tt.people...)
			if got := b.publish(again); got[tt.role] == 0 {
				t.Errorf("published %v, not %s", got, tt.role)
			}
			b.checked()
		})
	}
}

// One open event a role, whatever its kind: a refresh gives way, all others stand in the way; and an event
// on an older base is stale.
func TestKindsOnOneRole(t *testing.T) {
	b := bedFor(t, event.Release)
	for _, tt := range []struct {
		name          string
		first, second func() *event.Event
		want          reason.Reason // none: the first gives way
	}{
		{
			"withdraw beside a release", func() *event.Event { e, _ := b.release("2.4.2", basicSpec); return e },
			func() *event.Event { return b.withdraw("2.4.1") }, reason.RoleOpen,
		},
		{
			"release beside a withdraw", func() *event.Event { return b.withdraw("2.4.1") },
			func() *event.Event { e, _ := b.release("2.4.2", basicSpec); return e }, reason.RoleOpen,
		},
		{
			"stop beside a stop", func() *event.Event { return b.stopOf("2.4.1") },
			func() *event.Event { return b.stopOf("2.4.0") }, reason.RoleOpen,
		},
		{
			"stop beside a release", func() *event.Event { e, _ := b.release("2.4.2", basicSpec); return e },
			func() *event.Event { return b.stopOf("2.4.1") }, "",
		},
		{
			"withdraw beside a refresh", func() *event.Event { return b.refresh("gw-100") },
			func() *event.Event { return b.withdraw("2.4.1") }, "",
		},
		{
			"stop beside a refresh", func() *event.Event { return b.refresh("gw-100.stop") },
			func() *event.Event { return b.stopOf("2.4.1") }, "",
		},
		{
			"root beside a refresh", func() *event.Event { return b.refresh("image-root") },
			func() *event.Event { return b.made(event.NewChange(b.plan(rotatedPlan), b.state(), b.opening())) }, "",
		},
		{
			"refresh beside a refresh", func() *event.Event { return b.refresh("gw-100") },
			func() *event.Event {
				b.clock.forward(time.Second)
				return b.refresh("gw-100")
			}, reason.RoleOpen,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			first, second := tt.first(), tt.second()
			old := b.open("rivera", first)
			_, err := b.operators["rivera"].OpenEvent(ctx, second)
			wantReason(t, err, tt.want)
			shared := first.Proposal.Files[0].Role == second.Proposal.Files[0].Role
			if s := stateOf(t, b, old).GetState(); tt.want == "" && shared && s != pb.EventState_EVENT_STATE_STALE {
				t.Errorf("the first is %v", s)
			}
			for _, id := range []string{first.ID(), second.ID()} {
				_, _, _ = b.operators["rivera"].Cancel(ctx, id, "the next case") // those that are open
			}
			b.clock.forward(time.Second)
		})
	}
	late := b.withdraw("2.4.1")
	b.released("2.4.2")
	_, err := b.operators["rivera"].OpenEvent(ctx, late)
	wantReason(t, err, reason.EventStale)
	b.checked()
}

// A withdrawal stops serving the files of its release, keeps their bytes, and uses its counter up; a stop
// still reaches the withdrawn image, and no image that never was.
func TestWithdrawalAndStop(t *testing.T) {
	b := bedFor(t, event.Withdraw)
	b.released("2.4.2")
	cert := b.certificate("rivera")
	served := func(version string) int { return b.ask(b.browser(cert), http.MethodGet, imagePath(version), nil).code }
	id := b.open("rivera", b.withdraw("2.4.2"))
	b.sign(id, "rivera", "okafor")
	if code := served("2.4.2"); code != http.StatusOK {
		t.Errorf("2.4.2 before its withdrawal: %d", code)
	}
	b.publish(id)
	for version, want := range map[string]int{"2.4.0": http.StatusOK, "2.4.1": http.StatusOK, "2.4.2": http.StatusNotFound} {
		if code := served(version); code != want {
			t.Errorf("%s: %d, want %d", version, code, want)
		}
	}
	name := strings.Split(filepath.Base(imagePath("2.4.2")), ".")[0]
	if _, err := os.Stat(filepath.Join(b.dir, "blobs", name[:2], name)); err != nil {
		t.Errorf("the bytes of the withdrawn image: %v", err)
	}
	if err := b.newDevice(metadata.Image).takes(b.mirror(), "gw-100/2.4.2/gw.img"); err == nil {
		t.Error("a device takes the withdrawn image")
	}

	// In quick succession: one person opens, signs and publishes.
	stop := b.stopOf("2.4.2")
	forged := &event.Event{Proposal: stop.Proposal}
	forged.Proposal.Files = []event.ProposedFile{stop.Proposal.Files[0]}
	forged.Proposal.Files[0].Signed = bytes.ReplaceAll(stop.Proposal.Files[0].Signed, []byte(name), []byte(strings.Repeat("ab", 32)))
	_, err := b.operators["rivera"].OpenEvent(ctx, forged)
	wantReason(t, err, reason.NeverListed)
	id = b.open("okafor", stop)
	b.sign(id, "okafor")
	if got := b.publish(id); got["image/gw-100.stop"] != 2 || got["image/gw-100"] != 0 {
		t.Errorf("published %v", got)
	}
	// A stopped image that is listed is not installed either.
	id = b.open("okafor", b.stopOf("2.4.1"))
	b.sign(id, "okafor")
	b.publish(id)
	v := b.newDevice(metadata.Image)
	wantReason(t, v.takes(b.mirror(), "gw-100/2.4.1/gw.img"), reason.Stopped)
	if err := v.takes(b.mirror(), image240); err != nil {
		t.Error(err)
	}
	if got := b.released("2.4.3"); got["image/gw-100"] == 0 {
		t.Errorf("published %v", got)
	}
	b.checked()
}

// An engineering key is replaced while an event that it signed is open: the event goes first, then what
// follows it, which its owner can no longer sign; then the keys. The old key signs nothing any more.
func TestEngineeringKeyRevokedWhileAnEventIsOpen(t *testing.T) {
	b := bedFor(t, event.Release)
	e, _ := b.release("2.4.2", basicSpec)
	id := b.open("chen", e)
	b.sign(id, "rivera")
	rotation := func() *event.Event {
		return b.made(event.NewChange(b.plan(rotatedPlan), b.state(), b.opening()))
	}
	_, err := b.operators["rivera"].OpenEvent(ctx, rotation())
	wantReason(t, err, reason.RoleOpen)
	_, successor, err := b.operator("chen").Cancel(ctx, id, "rivera's key is lost")
	if err != nil || successor == "" {
		t.Fatalf("successor %q, %v", successor, err)
	}
	if _, after, err := b.operator("chen").Cancel(ctx, successor, "rivera's key is lost"); err != nil || after != "" {
		t.Fatalf("an unsigned successor: %q, %v", after, err)
	}
	next := b.open("chen", rotation())
	b.sign(next, "chen", "okafor", "rivera@2")
	if got := b.publish(next); got["image/gw-100"] != 5 {
		t.Errorf("published %v, want version 5 over the cancelled 4", got)
	}
	e, s := b.release("2.4.3", basicSpec)
	b.upload(e, s)
	id = b.open("chen", e)
	outcomes, err := b.operator("chen").AddSignatures(ctx, id, []event.Signature{b.rawSignature(e, 0, "rivera")}, nil)
	if err != nil || outcomes[0].GetReason() != string(reason.KeyNotInRole) {
		t.Errorf("the old key: %v, %v", outcomes, err)
	}
	b.sign(id, "rivera@2", "chen")
	b.publish(id)
	b.checked()
}

// rawSignature is what a key gives without asking whether it may.
func (b *bed) rawSignature(e *event.Event, file int, person string) event.Signature {
	b.t.Helper()
	signers, err := keysOf(b.t, person).Signers()
	if err != nil {
		b.t.Fatal(err)
	}
	signer := signers[metadata.Image]
	pub, err := signer.PublicKey()
	if err != nil {
		b.t.Fatal(err)
	}
	k, err := metadata.NewKey(pub)
	if err != nil {
		b.t.Fatal(err)
	}
	sig, err := metadata.Sign(e.Proposal.Files[file].Signed, signer, k)
	if err != nil {
		b.t.Fatal(err)
	}
	return event.Signature{File: file, KeyID: sig.KeyID, Sig: sig.Signature}
}

// Two proposals of one version: while nobody signed either, the one that is opened second takes the
// version; once a signature counted, the version is used up and the other is refused.
func TestTwoProposalsOfOneVersion(t *testing.T) {
	b := bedFor(t, event.Release)
	first, s := b.release("2.4.2", basicSpec)
	second := b.withdraw("2.4.1")
	b.upload(first, s)
	id := b.open("rivera", first)
	_, err := b.operators["rivera"].OpenEvent(ctx, second)
	wantReason(t, err, reason.RoleOpen)
	if _, successor, err := b.operators["rivera"].Cancel(ctx, id, "the other one"); err != nil || successor != "" {
		t.Fatalf("successor %q, %v", successor, err)
	}
	other := b.open("rivera", second)
	// Somebody signed the first on paper, so to speak, and it comes too late.
	late := &event.Event{Proposal: first.Proposal, Signatures: []event.Signature{b.rawSignature(first, 0, "rivera")}}
	_, err = b.operators["rivera"].OpenEvent(ctx, late)
	wantReason(t, err, reason.EventCancelled)
	third, _ := b.release("2.4.3", basicSpec) // the same version as well
	b.sign(other, "rivera")
	_, successor, err := b.operators["rivera"].Cancel(ctx, other, "neither")
	if err != nil || successor == "" {
		t.Fatalf("successor %q, %v", successor, err)
	}
	_, err = b.operators["rivera"].OpenEvent(ctx, third)
	wantReason(t, err, reason.RoleOpen)
	if _, _, err := b.operators["rivera"].Cancel(ctx, successor, "unsigned"); err != nil {
		t.Fatal(err)
	}
	_, err = b.operators["rivera"].OpenEvent(ctx, third)
	wantReason(t, err, reason.VersionUsed)
	if got := b.released("2.4.4"); got["image/gw-100"] != 5 {
		t.Errorf("published %v", got)
	}
	b.checked()
}
