package event_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/signer/event"
)

// everyKind returns an event of each kind, and the world in which it may be opened.
func everyKind(t *testing.T) map[string]struct {
	w *world
	e *event.Event
} {
	t.Helper()
	type one = struct {
		w *world
		e *event.Event
	}
	fresh := newWorld(t)
	init, err := event.NewInit(fresh.plan(twoProducts), fresh.opening())
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]one{event.Init: {fresh, init}}
	open := func(kind string, make func(w *world) (*event.Event, error)) {
		w := newWorld(t)
		w.found(twoProducts)
		w.released("2.4.0")
		w.released("2.4.1")
		w.pump("1.0", 2)
		e, err := make(w)
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		if e.Proposal.Kind != kind {
			t.Fatalf("kind %q, want %q", e.Proposal.Kind, kind)
		}
		all[kind] = one{w, e}
	}
	change := func(plan string) func(w *world) (*event.Event, error) {
		return func(w *world) (*event.Event, error) { return event.NewChange(w.plan(plan), w.state(), w.opening()) }
	}
	open(event.Root, change(strings.Replace(twoProducts, "okafor: okafor.pub", "okafor: okafor@2.pub", 1)))
	open(event.Product, change(strings.Replace(twoProducts, "gw-100: {require: {engineering: 1, quality: 1}", "gw-100: {require: {engineering: 1, quality: 2}", 1)))
	open(event.Release, func(w *world) (*event.Event, error) { return w.release("2.4.2", basicSpec), nil })
	open(event.Withdraw, func(w *world) (*event.Event, error) { return w.withdraw("gw-100", "2.4.1"), nil })
	open(event.Stop, func(w *world) (*event.Event, error) { return w.stop("gw-100", "2.4.1", nil), nil })
	open(event.Refresh, func(w *world) (*event.Event, error) {
		return event.NewRefresh([]event.RoleRef{{Repository: metadata.Image, Role: metadata.Root}, {Repository: metadata.Image, Role: "gw-100"}}, w.state(), w.opening())
	})
	return all
}

// signersOf are people who together complete every kind.
var signersOf = []string{"rivera", "chen", "okafor", "okafor@2"}

// People who never meet sign copies of their own; merged in any order they complete the quorum, and the
// bytes are the same.
func TestEveryKindMergesInAnyOrder(t *testing.T) {
	for kind, one := range everyKind(t) {
		t.Run(kind, func(t *testing.T) {
			var copies []*event.Event
			for _, id := range signersOf {
				signed, err := one.w.trySign(one.e, id, nil)
				if reason.Is(err, reason.KeyNotInRole) {
					continue
				}
				if err != nil {
					t.Fatalf("%s: %v", id, err)
				}
				copies = append(copies, signed)
			}
			var want []byte
			rapid.Check(t, func(rt *rapid.T) {
				order := rapid.Permutation(copies).Draw(rt, "order")
				merged := order[0]
				for _, c := range order[1:] {
					var err error
					if merged, err = event.Merge(merged, c); err != nil {
						rt.Fatal(err)
					}
				}
				data, err := merged.Bytes()
				if err != nil {
					rt.Fatal(err)
				}
				if want == nil {
					want = data
				}
				if !bytes.Equal(data, want) {
					rt.Fatal("merged to other bytes")
				}
			})
			one.w.publish(copies...)
			// Published, it is stale for whoever opens it again.
			_, err := one.w.opened(one.e)
			wantReason(t, err, reason.EventStale)
		})
	}
}

// What a person sees is computed from the bytes that are signed: whichever value of a signed part is
// changed, the event may not be signed, or its review shows another text. So no two proposals look
// alike and mean different things. (Only the version of the TUF specification is not shown: nothing
// depends on it.)
func TestReviewShowsEveryByte(t *testing.T) {
	for kind, one := range everyKind(t) {
		t.Run(kind, func(t *testing.T) {
			before := shown(t, one.w, one.e)
			if before == "" {
				t.Fatal("the event may not be signed")
			}
			changed := 0
			for i, f := range one.e.Proposal.Files {
				text, err := metadata.FromCanonical(f.Signed)
				if err != nil {
					t.Fatal(err)
				}
				var signed any
				if err := json.Unmarshal(text, &signed); err != nil {
					t.Fatal(err)
				}
				for _, path := range leaves(signed, nil) {
					if path[len(path)-1] == "spec_version" {
						continue
					}
					for _, value := range others(at(signed, path...)) {
						c := clone(t, signed)
						set(c, value, path...)
						canonical, err := metadata.Canonical(c)
						if err != nil {
							continue
						}
						e := *one.e
						e.Proposal.Files = slices.Clone(one.e.Proposal.Files)
						e.Proposal.Files[i].Signed = canonical
						changed++
						if shown(t, one.w, &e) == before {
							t.Errorf("%s %s: %s is %v instead of %v, and the review is the same", f.Repository, f.Role, strings.Join(path, "."), value, at(signed, path...))
						}
					}
				}
			}
			if changed < 10 {
				t.Errorf("only %d changes were tried", changed)
			}
		})
	}
}

// shown returns the review of an event without the ids that follow from its bytes; "" when it may not
// be signed.
func shown(t *testing.T, w *world, e *event.Event) string {
	t.Helper()
	j, err := event.Judge(e, w.state(), event.Options{Now: now})
	if err != nil {
		if reason.Of(err) == "" {
			t.Errorf("no reason: %v", err)
		}
		return ""
	}
	r := j.Review()
	r.Event = ""
	for i := range r.Files {
		r.Files[i].SHA256 = ""
	}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// leaves returns the paths of all values that hold no others, in a fixed order.
func leaves(v any, path []string) [][]string {
	var all [][]string
	switch x := v.(type) {
	case object:
		for _, name := range slices.Sorted(maps.Keys(x)) {
			all = append(all, leaves(x[name], append(slices.Clone(path), name))...)
		}
	case []any:
		for i := range x {
			all = append(all, leaves(x[i], append(slices.Clone(path), strconv.Itoa(i)))...)
		}
	default:
		all = append(all, path)
	}
	return all
}

// others returns values to put in the place of one.
func others(v any) []any {
	switch x := v.(type) {
	case float64:
		return []any{x + 1, float64(metadata.MaxVersion) + 1, float64(1<<53 - 1)}
	case bool:
		return []any{!x}
	case string:
		return []any{x + "x", strings.ToUpper(x) + " ", "2031-01-01T00:00:00Z"}
	}
	return []any{"x"}
}

// A signature by a key that was revoked while the event was open does not count any more.
func TestRevokedKeyWhileAnEventIsOpen(t *testing.T) {
	w := newWorld(t)
	two := strings.Replace(twoProducts, "people: {engineering: [rivera], quality: [chen, okafor]}}", "people: {engineering: [rivera, dumont], quality: [chen, okafor]}}", 1)
	two = strings.Replace(two, "okafor: okafor.pub}", "okafor: okafor.pub, dumont: dumont.pub}", 1)
	p := w.plan(two)
	e, err := event.NewInit(p, w.opening())
	if err != nil {
		t.Fatal(err)
	}
	w.publish(w.sign(e, "rivera", nil), w.sign(e, "chen", nil), w.sign(e, "okafor", nil), w.sign(e, "dumont", nil))
	w.write("build/gw.img", "firmware")
	w.write("gw.cdx.json", "{}")
	// The product's file in force is dumont's, so it stands when rivera goes.
	first, err := event.NewRelease("gw-100", "2.4.0", w.spec(basicSpec), w.state(), w.opening())
	if err != nil {
		t.Fatal(err)
	}
	w.publish(w.sign(first, "dumont", nil), w.sign(first, "chen", nil))
	open := w.release("2.4.1", basicSpec)
	rivera, chen := w.sign(open, "rivera", nil), w.sign(open, "chen", nil)
	gone := strings.Replace(two, "engineering: [rivera, dumont], quality: [chen, okafor]}}", "engineering: [dumont], quality: [chen, okafor], }, stop: [chen, okafor, dumont]}", 1)
	gone = strings.Replace(gone, "okafor], }", "okafor]}", 1)
	change, err := event.NewChange(w.plan(gone), w.state(), w.opening())
	if err != nil {
		t.Fatal(err)
	}
	if i := change.Proposal.Index(metadata.Image, "gw-100"); i >= 0 {
		t.Fatal("the change holds the product's file, so the release went stale")
	}
	w.publish(w.sign(change, "rivera", nil), w.sign(change, "chen", nil), w.sign(change, "okafor", nil))
	merged, err := event.Merge(w.carry(rivera), w.carry(chen))
	if err != nil {
		t.Fatal(err)
	}
	j, err := event.Judge(merged, w.state(), event.Options{Now: now, Memory: w.server, Online: w.online})
	if err != nil {
		t.Fatal(err)
	}
	if j.Complete || len(j.Refused) == 0 || !reason.Is(j.Refused[0].Err, reason.KeyNotInRole) {
		t.Errorf("complete %v, refused %+v", j.Complete, j.Refused)
	}
	wantReason(t, j.Publishable(), reason.QuorumOpen)
	dumont := w.sign(open, "dumont", nil)
	if j, err = w.tryPublish(chen, dumont); err != nil || !j.Complete {
		t.Errorf("with dumont: %v", err)
	}
}

// Two proposals of one version: only one is ever published, and the other's signers are told.
func TestTwoProposalsOfOneVersion(t *testing.T) {
	w := newWorld(t)
	w.found(twoProducts)
	a, b := w.release("2.4.0", basicSpec), w.release("2.4.1", basicSpec)
	h := &event.History{}
	signed := w.sign(a, "rivera", h)
	_, err := w.trySign(b, "rivera", h)
	wantReason(t, err, reason.VersionUsed)
	w.publish(signed, w.sign(a, "chen", nil))
	_, err = w.opened(b)
	wantReason(t, err, reason.EventStale)
	_, err = w.trySign(b, "chen", nil) // from its own, old base: chen's machine knows nothing yet
	if err != nil {
		t.Fatal(err)
	}
	seen := &event.History{}
	seen.Saw(w.verified(seen))
	_, err = w.trySign(b, "chen", seen)
	wantReason(t, err, reason.BaseTooOld)
}

// verified is the published state as a machine reads it, with the product read.
func (w *world) verified(h *event.History) *event.State {
	w.t.Helper()
	s, err := event.StateFrom(w, "acme", h.Pins())
	if err != nil {
		w.t.Fatal(err)
	}
	if _, _, err := s.Role(metadata.Image, "gw-100"); err != nil {
		w.t.Fatal(fmt.Errorf("gw-100: %w", err))
	}
	return s
}
