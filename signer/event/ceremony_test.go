package event_test

import (
	"strings"
	"testing"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/proto/statement"
	"github.com/countersign-ota/countersign/signer/event"
)

type envelope = statement.Envelope

// Three people who never meet found a deployment, add a product and release into it, by files alone.
func TestThreePeopleByFiles(t *testing.T) {
	w := newWorld(t)
	machines := map[string]*event.History{"rivera": {}, "chen": {}, "okafor": {}}

	e, err := event.NewInit(w.plan(basicPlan), w.opening())
	if err != nil {
		t.Fatal(err)
	}
	if got, want := e.Proposal.Subject, "acme"; got != want {
		t.Errorf("subject %q, want %q", got, want)
	}
	// rivera and chen sign one after the other, okafor a copy of the unsigned file.
	first := w.sign(w.sign(e, "rivera", machines["rivera"]), "chen", machines["chen"])
	j := w.publish(first, w.sign(e, "okafor", machines["okafor"]))
	for i, f := range j.Files {
		if n := len(f.Signers[0].Tally.Valid); n != 3 {
			t.Errorf("file %d has %d signatures, want 3", i, n)
		}
	}

	change, err := event.NewChange(w.plan(twoProducts), w.state(), w.opening())
	if err != nil {
		t.Fatal(err)
	}
	if change.Proposal.Kind != event.Product || change.Proposal.Subject != "gw-100,pump-9" {
		t.Errorf("change is %s of %q", change.Proposal.Kind, change.Proposal.Subject)
	}
	w.publish(w.sign(change, "okafor", machines["okafor"]), w.sign(change, "rivera", machines["rivera"]))

	release := w.release("2.4.1", basicSpec)
	w.publish(w.sign(release, "rivera", machines["rivera"]), w.sign(release, "chen", machines["chen"]))

	v, ok, err := w.state().Role(metadata.Image, "gw-100")
	if err != nil || !ok || v.Version != 2 {
		t.Errorf("gw-100 is at version %d (%t, %v), want 2", v.Version, ok, err)
	}
	again, err := event.NewChange(w.plan(twoProducts), w.state(), w.opening())
	if again != nil || err != nil {
		t.Errorf("the plan is carried out, but a change was made: %v, %v", again, err)
	}
}

func TestReviewOfARelease(t *testing.T) {
	w := newWorld(t)
	w.found(twoProducts)
	w.released("2.4.0")
	e := w.sign(w.release("2.4.1", strings.Replace(basicSpec, "spread_hours: 24", "spread_hours: 12\nfloor: 1", 1)), "rivera", nil)
	j, err := w.opened(e)
	if err != nil {
		t.Fatal(err)
	}
	r := j.Review()
	if r.Subject != "gw-100/2.4.1" || len(r.Added) != 1 || len(r.Removed) != 0 || r.Complete {
		t.Fatalf("review %+v", r)
	}
	a := r.Added[0]
	if a.Path != "gw-100/2.4.1/gw.img" || a.OldCounter != 1 || a.Counter != 2 || a.OldFloor != 0 || a.Floor != 1 || a.OldSpreadHours != 24 || a.SpreadHours != 12 {
		t.Errorf("target %+v", a)
	}
	if len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "shorter") {
		t.Errorf("warnings %q", r.Warnings)
	}
	if r.Files[0].OldVersion != 2 || r.Files[0].Version != 3 {
		t.Errorf("file %+v", r.Files[0])
	}
	q := r.Quorum[0].Classes
	if len(q) != 2 || q[0].Class != "engineering" || len(q[0].Signed) != 1 || q[0].Signed[0].Reason != "record 8812" || q[0].Meaning != "authored" {
		t.Errorf("quorum %+v", q)
	}
	if strings.Join(q[1].Can, " ") != "chen okafor" || len(q[1].Signed) != 0 {
		t.Errorf("quality %+v", q[1])
	}
	err = j.Publishable()
	wantReason(t, err, reason.QuorumOpen)
	if want := "engineering 1/1, quality 0/1"; !strings.Contains(err.Error(), want) {
		t.Errorf("error %q does not say %q", err, want)
	}
	if hint := reason.HintOf(err); !strings.HasPrefix(hint, "chen or okafor: countersign sign ") {
		t.Errorf("hint %q", hint)
	}
}
