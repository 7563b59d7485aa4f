package event_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/signer/event"
)

// many opens a release of gw-100 with n targets, each for its own hardware.
func (w *world) many(version string, n int, o event.Opening) (*event.Event, error) {
	spec := "class: feature\nspread_hours: 24\ncomponent: main\ninstaller: slot\nevidence: {sbom: gw.cdx.json}\ntargets:\n"
	w.write("gw.cdx.json", "{}")
	for i := range n {
		w.write(fmt.Sprintf("build/m-%d", i), fmt.Sprint(version, i))
		spec += fmt.Sprintf("- {file: build/m-%d, hardware: [x-%d]}\n", i, i)
	}
	return event.NewRelease("gw-100", version, w.spec(spec), w.state(), o)
}

// both publishes an event that engineering and quality sign.
func (w *world) both(e *event.Event, err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
	w.publish(w.sign(e, "rivera", nil), w.sign(e, "chen", nil))
}

// A base from a machine whose clock goes ahead is refreshed, stopped and followed all the same.
func TestClocksAhead(t *testing.T) {
	w := newWorld(t)
	w.found(twoProducts)
	ahead := w.opening()
	ahead.Now = now.Add(time.Hour)
	w.both(w.many("1.0", 1, ahead))
	w.both(w.many("1.1", 1, ahead))
	e, err := event.NewStop("gw-100", "1.0", "x", w.state(), nil, ahead)
	if err != nil {
		t.Fatal(err)
	}
	w.publish(w.sign(e, "chen", nil))
	for name, open := range map[string]func() (*event.Event, error){
		"refresh": func() (*event.Event, error) {
			return event.NewRefresh([]event.RoleRef{{Repository: metadata.Image, Role: "gw-100"}}, w.state(), w.opening())
		},
		"stop": func() (*event.Event, error) {
			return event.NewStop("gw-100", "1.1", "x", w.state(), nil, w.opening())
		},
		"successor": func() (*event.Event, error) {
			cancelled, err := w.many("1.2", 1, w.opening())
			if err != nil {
				return nil, err
			}
			return event.Successor(w.sign(cancelled, "rivera", nil), w.state(), w.opening())
		},
	} {
		t.Run(name, func(t *testing.T) {
			e, err := open()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.opened(e); err != nil {
				t.Error(err)
			}
		})
	}
}

// A stop changes the entries, and does not bring the end of the list closer.
func TestStopKeepsExpiry(t *testing.T) {
	w := newWorld(t)
	w.found(twoProducts)
	w.released("2.4.0")
	e := w.stop("gw-100", "2.4.0", nil)
	edit(t, e, metadata.Image, "gw-100.stop", func(signed object) { signed["expires"] = "2026-11-26T00:00:00Z" })
	_, err := w.opened(e)
	wantReason(t, err, reason.Profile)
	// Of other kinds the whole quorum decides; the review says so.
	r := w.release("2.4.1", basicSpec)
	edit(t, r, metadata.Image, "gw-100", func(signed object) { signed["expires"] = "2026-11-26T00:00:00Z" })
	if got := w.reviewOf(r).Warnings; !slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, "gw-100 expires on 2026-11-26") }) {
		t.Errorf("warnings %q", got)
	}
}

// An event of a product with bins holds what its kind says: the product's file, and the bins that it changes.
func TestBinsOfKinds(t *testing.T) {
	w := newWorld(t)
	w.found(twoProducts)
	w.pump("1.0", 12)
	refs, err := event.Refreshable(w.state(), "pump-9")
	if err != nil {
		t.Fatal(err)
	}
	all, err := event.NewRefresh(refs, w.state(), w.opening())
	if err != nil {
		t.Fatal(err)
	}
	bins := slices.DeleteFunc(slices.Clone(all.Proposal.Files), func(f event.ProposedFile) bool { return f.Role == "pump-9" })
	t.Run("a refresh of a bin alone", func(t *testing.T) {
		e := *all
		e.Proposal.Files = bins[:1]
		_, err := w.opened(&e)
		wantReason(t, err, reason.Profile)
	})
	// with adds a bin that the event does not change.
	with := func(e *event.Event) *event.Event {
		c := *e
		for _, b := range bins {
			if e.Proposal.Index(metadata.Image, b.Role) < 0 {
				c.Proposal.Files = append(slices.Clone(e.Proposal.Files), b)
				slices.SortFunc(c.Proposal.Files, func(a, b event.ProposedFile) int {
					return strings.Compare(string(a.Repository)+a.Role, string(b.Repository)+b.Role)
				})
				return &c
			}
		}
		t.Fatal("no further bin")
		return nil
	}
	w.write("build/q.img", "q")
	one := w.spec("class: feature\nspread_hours: 24\ncomponent: main\ninstaller: slot\ntargets:\n- {file: build/q.img, hardware: [x1]}\n")
	release, err := event.NewRelease("pump-9", "2.0", one, w.state(), w.opening())
	if err != nil {
		t.Fatal(err)
	}
	t.Run("a release with an unchanged bin", func(t *testing.T) {
		_, err := w.opened(with(release))
		wantReason(t, err, reason.Profile)
	})
	t.Run("a signed bin is followed with its product", func(t *testing.T) {
		signed := w.sign(release, "rivera", nil)
		signed.Signatures = slices.DeleteFunc(signed.Signatures, func(s event.Signature) bool {
			return signed.Proposal.Files[s.File].Role == "pump-9"
		})
		next, err := event.Successor(signed, w.state(), w.opening())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.opened(next); err != nil || len(next.Proposal.Files) != 2 {
			t.Errorf("%d files, %v", len(next.Proposal.Files), err)
		}
	})
	w.both(release, nil)
	gone := w.withdraw("pump-9", "2.0")
	t.Run("a withdrawal with an unchanged bin", func(t *testing.T) {
		bins = slices.DeleteFunc(bins, func(f event.ProposedFile) bool { return gone.Proposal.Index(metadata.Image, f.Role) >= 0 })
		_, err := w.opened(with(gone))
		wantReason(t, err, reason.Profile)
	})
	part := w.withdraw("pump-9", "1.0")
	last := part.Proposal.Files[len(part.Proposal.Files)-1]
	drop(part, last.Repository, last.Role)
	t.Run("a withdrawal of a part", func(t *testing.T) {
		_, err := w.opened(part)
		wantReason(t, err, reason.Profile)
	})
}

// What could never be stopped is not released.
func TestReleaseThatNobodyCouldStop(t *testing.T) {
	w := newWorld(t)
	w.found(twoProducts)
	_, err := w.many("1.0", metadata.MaxStops+1, w.opening())
	wantReason(t, err, reason.Limit)
	w.both(w.many("1.0", metadata.MaxStops, w.opening()))
	w.publish(w.sign(w.stop("gw-100", "1.0", nil), "chen", nil))
}

// A withdrawal does not name what is stopped as what is left, and a stop only what goes now.
func TestReviewOfWhatIsLeft(t *testing.T) {
	w := newWorld(t)
	w.found(twoProducts)
	w.released("2.4.0")
	w.released("2.4.1")
	w.publish(w.sign(w.stop("gw-100", "2.4.0", nil), "chen", nil))
	nothing := func(s string) bool { return strings.HasPrefix(s, "gw-100-c, component main: nothing is left") }
	e := w.withdraw("gw-100", "2.4.1")
	if r := w.reviewOf(e); !slices.ContainsFunc(r.Warnings, nothing) {
		t.Errorf("consequences %q, warnings %q", r.Consequences, r.Warnings)
	}
	w.both(e, nil)
	w.both(w.many("3.0", 1, w.opening()))
	if r := w.reviewOf(w.stop("gw-100", "3.0", nil)); slices.ContainsFunc(r.Warnings, nothing) {
		t.Errorf("the hardware of an earlier stop again: %q", r.Warnings)
	}
}

// hiding is a source that denies a role.
type hiding struct {
	*world
	role string
}

func (h hiding) Current(r metadata.Repository, role string) ([]byte, error) {
	if role == h.role {
		return nil, nil
	}
	return h.world.Current(r, role)
}

// A server that hides a bin does not make a stop or a withdrawal of a part: who saw the bin knows better.
func TestHiddenBin(t *testing.T) {
	w := newWorld(t)
	w.found(twoProducts)
	w.pump("1.0", 8)
	e := w.withdraw("pump-9", "1.0")
	saw := &event.History{}
	w.sign(e, "rivera", saw)
	s, err := event.StateFrom(hiding{w, e.Proposal.Files[1].Role}, "acme", event.Pins{})
	if err != nil {
		t.Fatal(err)
	}
	o := event.Opening{Now: now, Memory: saw}
	_, err = event.NewStop("pump-9", "1.0", "x", s, nil, o)
	wantReason(t, err, reason.BaseTooOld)
	_, err = event.NewWithdraw("pump-9", "1.0", "x", s, o)
	wantReason(t, err, reason.BaseTooOld)
	if _, err = event.NewStop("pump-9", "1.0", "x", w.seenByTool(), nil, o); err != nil {
		t.Error(err)
	}
}

// The subject of a refresh tells a product from its stop list.
func TestSubjectOfRefresh(t *testing.T) {
	w := newWorld(t)
	w.found(twoProducts)
	for _, role := range []string{"gw-100", "gw-100.stop", "targets"} {
		e, err := event.NewRefresh([]event.RoleRef{{Repository: metadata.Image, Role: role}}, w.state(), w.opening())
		if err != nil || e.Proposal.Subject != role {
			t.Errorf("%s: %+v, %v", role, e, err)
		}
	}
}
