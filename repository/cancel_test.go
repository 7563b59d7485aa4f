package repository_test

import (
	"strings"
	"testing"
	"time"

	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/signer/event"
)

func TestWhoMayCancel(t *testing.T) {
	b := newBed(t)
	b.found(basicPlan)
	e, _ := b.release("2.4.1", basicSpec)
	id := b.open("rivera", e)
	_, _, err := b.operator("dana").Cancel(ctx, id, "I would rather not")
	wantReason(t, err, reason.Permission)
	for _, why := range []string{"", strings.Repeat("x", 1025)} {
		_, _, err := b.operators["rivera"].Cancel(ctx, id, why)
		wantReason(t, err, reason.UsageError)
	}
	_, _, err = b.operators["rivera"].Cancel(ctx, strings.Repeat("0", 64), "x")
	wantReason(t, err, reason.NotFound)
	void, successor, err := b.operator("okafor").Cancel(ctx, id, "wrong build") // signs gw-100
	if err != nil || void != 0 || successor != "" {
		t.Fatalf("void %d, successor %q, %v", void, successor, err)
	}
	if s := stateOf(t, b, id); s.GetState() != pb.EventState_EVENT_STATE_CANCELLED {
		t.Errorf("state %v", s.GetState())
	}
	for name, call := range map[string]func() error{
		"cancel again": func() error { _, _, err := b.operators["rivera"].Cancel(ctx, id, "x"); return err },
		"publish":      func() error { _, err := b.operators["rivera"].Publish(ctx, id); return err },
		"sign":         func() error { _, err := b.operators["rivera"].AddSignatures(ctx, id, nil, nil); return err },
		"open again":   func() error { _, err := b.operators["rivera"].OpenEvent(ctx, e); return err },
	} {
		if err := call(); reason.Of(err) != reason.EventCancelled {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := b.released("2.4.2"); got["image/gw-100"] != 2 {
		t.Errorf("unsigned, its version is free: %v", got)
	}
	b.checked()
}

// A signed proposal that is cancelled leaves a successor, which must be published first and makes the
// cancelled version worthless. Its counter is used up as well.
func TestCancelledReleaseHasASuccessor(t *testing.T) {
	b := newBed(t)
	b.found(basicPlan)
	b.released("2.4.0")
	e, _ := b.release("2.4.1", basicSpec)
	id := b.open("rivera", e)
	b.sign(id, "rivera")
	void, successor, err := b.operators["rivera"].Cancel(ctx, id, "wrong build")
	if err != nil || void != 1 || successor == "" {
		t.Fatalf("void %d, successor %q, %v", void, successor, err)
	}
	s := stateOf(t, b, successor)
	if s.GetKind() != event.Refresh || s.GetSubject() != "gw-100" || s.GetState() != pb.EventState_EVENT_STATE_OPEN {
		t.Errorf("successor %v", s)
	}
	early, _ := b.release("2.4.2", basicSpec)
	_, err = b.operators["rivera"].OpenEvent(ctx, early)
	wantReason(t, err, reason.RoleOpen)
	if !strings.Contains(err.Error(), "comes first") {
		t.Errorf("the refusal does not say that the successor comes first: %v", err)
	}
	b.sign(successor, "rivera", "okafor")
	if got := b.publish(successor); got["image/gw-100"] != 4 {
		t.Errorf("published %v, want version 4 over the cancelled 3", got)
	}
	next, files := b.release("2.4.2", basicSpec)
	b.upload(next, files)
	last := b.open("rivera", next)
	b.sign(last, "rivera", "chen")
	if got := b.publish(last); got["image/gw-100"] != 5 {
		t.Errorf("published %v", got)
	}
	data, err := served{b}.Current(metadata.Image, "gw-100")
	if err != nil {
		t.Fatal(err)
	}
	f, err := metadata.ParseTargets(data, metadata.Profile)
	if err != nil {
		t.Fatal(err)
	}
	high, err := metadata.ParseHigh(f.Signed.UnrecognizedFields[metadata.HighField])
	if err != nil || high.Counter != 3 {
		t.Errorf("counter %+v, %v; 2 was signed before", high, err)
	}
	b.checked()
}

// A cancelled init stands in nobody's way: what was signed hangs under roots that nobody has pinned.
func TestCancelledInit(t *testing.T) {
	b := newBed(t)
	e, err := event.NewInit(b.plan(basicPlan), b.opening())
	if err != nil {
		t.Fatal(err)
	}
	id := b.open("rivera", e)
	b.sign(id, "rivera")
	if _, successor, err := b.operators["rivera"].Cancel(ctx, id, "a product is missing"); err != nil || successor != "" {
		t.Fatalf("successor %q, %v", successor, err)
	}
	b.clock.forward(time.Minute) // in the same second it would be the same proposal
	if got := b.found(basicPlan); got["image/targets"] != 1 {
		t.Errorf("published %v", got)
	}
	b.checked()
}

const rotatedPlan = `deployment: acme
online: online.pub
people: {rivera: rivera@2.pub, chen: chen.pub, okafor: okafor.pub}
meaning: {holder: approved, engineering: authored, quality: approved, stop: stopped}
roots: {require: {holder: 2}, people: {holder: [rivera, chen, okafor]}}
products:
  gw-100: {require: {engineering: 1, quality: 1}, people: {engineering: [rivera], quality: [chen, okafor]}}
`

// rivera's keys are replaced: both roots, targets and all that rivera signs, in one transaction. A root
// that has its quorum is not cancelled any more.
func TestRootRotation(t *testing.T) {
	b := newBed(t)
	b.found(basicPlan)
	b.released("2.4.0")
	e, err := event.NewChange(b.plan(rotatedPlan), b.state(), b.opening())
	if err != nil {
		t.Fatal(err)
	}
	id := b.open("rivera", e)
	b.sign(id, "chen", "okafor")
	_, err = b.operators["rivera"].Publish(ctx, id)
	wantReason(t, err, reason.QuorumOpen) // gw-100 needs rivera's new key
	_, _, err = b.operators["rivera"].Cancel(ctx, id, "changed our mind")
	wantReason(t, err, reason.Permission)
	b.sign(id, "rivera@2")
	got := b.publish(id)
	for role, version := range map[string]int64{
		"image/root": 2, "director/root": 2, "image/targets": 2, "image/gw-100": 3,
	} {
		if got[role] != version {
			t.Errorf("%s %d, want %d", role, got[role], version)
		}
	}
	for _, version := range []string{"1", "2"} {
		if code, _ := b.get("/" + version + ".root.json"); code != 200 {
			t.Errorf("root %s is not served: %d", version, code)
		}
	}
	if code, _ := b.get("/3.root.json"); code != 404 {
		t.Errorf("root 3: %d, want 404", code)
	}
	// The published event is still shown with the base that it was made from.
	shown, _, err := b.operators["rivera"].Event(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	s, err := event.StateFromBase(shown, event.Pins{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := event.Judge(shown, s, event.Options{Now: b.clock.now()}); err != nil {
		t.Errorf("the published event does not judge against its base: %v [%s]", err, reason.Of(err))
	}
	r := b.checked()
	if r.Checked["roots"] != 4 {
		t.Errorf("checked %v", r.Checked)
	}
}
