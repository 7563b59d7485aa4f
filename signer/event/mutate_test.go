package event_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/signer/event"
)

// paths lists all places in a decoded JSON value.
func paths(v any, prefix []string) [][]string {
	var all [][]string
	add := func(name string, child any) {
		p := append(slices.Clone(prefix), name)
		all = append(all, p)
		all = append(all, paths(child, p)...)
	}
	switch x := v.(type) {
	case object:
		for _, name := range slices.Sorted(maps.Keys(x)) {
			add(name, x[name])
		}
	case []any:
		for i := range x {
			add(strconv.Itoa(i), x[i])
		}
	}
	return all
}

// Whatever stands at any place of any file of any kind, and whichever file of the base is missing: it is
// judged, or refused with a reason, and never a panic.
func TestMutations(t *testing.T) {
	w := newWorld(t)
	w.found(twoProducts)
	p := newPast(w)
	w.released("2.4.0")
	w.released("2.4.1")
	w.pump("1.0", 3)
	p.keep(now)
	w.publish(w.sign(w.stop("gw-100", "2.4.0", nil), "chen", nil))
	w.write("build/q.img", "q")
	pump, err := event.NewRelease("pump-9", "2.0", w.spec("class: feature\nspread_hours: 24\ncomponent: main\ninstaller: slot\ntargets:\n- {file: build/q.img, hardware: [x1]}\n"), w.state(), w.opening())
	if err != nil {
		t.Fatal(err)
	}
	change, err := event.NewChange(w.plan(strings.NewReplacer("rivera.pub", "rivera@2.pub").Replace(twoProducts)), w.state(), w.opening())
	if err != nil {
		t.Fatal(err)
	}
	refs, err := event.Refreshable(w.state(), "pump-9")
	if err != nil {
		t.Fatal(err)
	}
	refresh, err := event.NewRefresh(append(refs, event.RoleRef{Repository: metadata.Image, Role: metadata.Root}), w.state(), w.opening())
	if err != nil {
		t.Fatal(err)
	}
	judge := func(what string, e *event.Event, past event.Past, open func() (*event.State, error)) {
		s, err := open()
		if err != nil {
			t.Fatal(err)
		}
		j, err := event.Judge(e, s, event.Options{Now: now, Memory: w.server, Past: past})
		if err != nil {
			if !reason.Of(err).Known() {
				t.Errorf("%s: no reason: %v", what, err)
			}
			return
		}
		if _, err := json.Marshal(j.Review()); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	// As a server judges it and, slower, as a tool does.
	try := func(what string, e *event.Event, src event.Source, tool bool) {
		judge(what, e, p, func() (*event.State, error) { return event.StateOf(src, "acme") })
		if tool {
			judge(what, e, nil, func() (*event.State, error) { return event.StateFrom(src, "acme", event.Pins{}) })
		}
	}
	for _, e := range []*event.Event{w.stop("gw-100", "2.4.1", nil), w.stop("pump-9", "1.0", nil), w.withdraw("gw-100", "2.4.1"), w.withdraw("pump-9", "1.0"), pump, change, refresh} {
		name := e.Proposal.Kind + " " + e.Proposal.Subject
		for _, f := range slices.Sorted(maps.Keys(w.files)) {
			hidden := *w
			hidden.files = maps.Clone(w.files)
			delete(hidden.files, f)
			try(name+" without "+f, e, &hidden, true)
			if _, err := event.BaseOf(e, &hidden); err != nil && !reason.Of(err).Known() {
				t.Errorf("%s without %s: no reason: %v", name, f, err)
			}
		}
		for i, f := range e.Proposal.Files {
			text, err := metadata.FromCanonical(f.Signed)
			if err != nil {
				t.Fatal(err)
			}
			var signed any
			if err := json.Unmarshal(text, &signed); err != nil {
				t.Fatal(err)
			}
			for _, path := range paths(signed, nil) {
				for _, value := range []any{nil, -1, "x", []any{}, object{}} {
					again := clone(t, signed)
					set(again, value, path...)
					c := *e
					c.Proposal.Files = slices.Clone(e.Proposal.Files)
					if c.Proposal.Files[i].Signed, err = metadata.Canonical(again); err != nil {
						t.Fatal(err)
					}
					try(name+" "+f.Role, &c, w, false)
					_, _ = event.BaseOf(&c, w)
				}
			}
			c := *e
			drop(&c, f.Repository, f.Role)
			try(name+" dropped "+f.Role, &c, w, true)
			c = *e
			c.Proposal.Files = slices.Clone(e.Proposal.Files)
			c.Proposal.Files[i].Base = nil
			try(name+" baseless "+f.Role, &c, w, true)
		}
	}
}
