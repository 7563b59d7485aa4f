package event_test

import (
	"strings"
	"testing"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/signer/event"
)

// Faults that leave people unable to sign are kept for a rehearsal, and refused everywhere else.
func TestPlanFaults(t *testing.T) {
	for _, c := range []struct {
		name   string
		change []string
		code   string
	}{
		{"no key for the director root", []string{"chen: chen.pub", "chen: image-only.pub"}, event.NoDirectorKey},
		{"unknown person", []string{"chen: chen.pub, ", ""}, event.PersonUnknown},
		{"nobody may stop", []string{"[chen, okafor]}}", "[chen, okafor]}, stop: []}"}, event.StopNobody},
		{"more than a role may have", []string{"{holder: 2}", "{holder: 65}"}, event.ClassTooSmall},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			text := strings.NewReplacer(c.change...).Replace(twoProducts)
			_, err := event.ParsePlan("plan.yaml", []byte(text), w.readImageOnly)
			wantReason(t, err, reason.Plan)
			p, err := event.ParsePlanToRehearse("plan.yaml", []byte(text), w.readImageOnly)
			if err != nil {
				t.Fatal(err)
			}
			faults := p.Faults()
			if len(faults) == 0 || faults[0].Code != c.code || !reason.Is(faults[0].Err, reason.Plan) || !strings.HasPrefix(faults[0].Err.Error(), "plan.yaml:") {
				t.Errorf("faults %v, want %s first, with its line", faults, c.code)
			}
			_, err = event.NewInit(p, w.opening())
			wantReason(t, err, reason.Plan)
			w.found(twoProducts)
			_, err = event.NewChange(p, w.state(), w.opening())
			wantReason(t, err, reason.Plan)
		})
	}
	t.Run("a fault of form stays an error", func(t *testing.T) {
		_, err := event.ParsePlanToRehearse("plan.yaml", []byte(strings.Replace(twoProducts, "{holder: 2}", "{holder: 0}", 1)), newWorld(t).read)
		wantReason(t, err, reason.Plan)
	})
}

// readImageOnly is read, with chen's keys without the one for the director root in image-only.pub.
func (w *world) readImageOnly(file string) ([]byte, error) {
	if file != "image-only.pub" {
		return w.read(file)
	}
	pub := keysOf(w.t, "chen").Public
	pub.Director = nil
	return pub.Bytes()
}

// A draft is what a change would be, also where nobody may sign it.
func TestDraft(t *testing.T) {
	w := newWorld(t)
	noSpare := strings.Replace(twoProducts, "{holder: 2}", "{holder: 3}", 1)
	_, err := event.NewInit(w.plan(noSpare), w.opening())
	wantReason(t, err, reason.QuorumMalformed)
	e, err := event.NewDraft(w.plan(noSpare), w.state(), w.opening())
	if err != nil || e == nil || e.Proposal.Kind != event.Init || e.Proposal.Index(metadata.Director, metadata.Root) < 0 {
		t.Fatalf("draft %v, %v", e, err)
	}
	_, err = event.Judge(e, w.state(), event.Options{Now: now})
	wantReason(t, err, reason.QuorumMalformed)

	w.found(twoProducts)
	e, err = event.NewDraft(w.plan(noSpare), w.state(), w.opening())
	if err != nil || e == nil || e.Proposal.Kind != event.Root {
		t.Fatalf("draft %v, %v", e, err)
	}
	if e, err := event.NewDraft(w.plan(twoProducts), w.state(), w.opening()); e != nil || err != nil {
		t.Errorf("nothing differs: %v, %v", e, err)
	}
	root, err := w.state().RootFile(metadata.Image, 1)
	if err != nil || len(root) == 0 {
		t.Errorf("root 1: %d bytes, %v", len(root), err)
	}
	if root, err := w.state().RootFile(metadata.Image, 2); err != nil || len(root) != 0 {
		t.Errorf("root 2: %d bytes, %v", len(root), err)
	}
}
