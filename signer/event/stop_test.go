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

// past keeps every published version of a world, as a server does.
type past struct {
	w    *world
	all  map[string][]byte
	when map[string]time.Time
}

func newPast(w *world) *past { return &past{w, map[string][]byte{}, map[string]time.Time{}} }

// keep keeps what is in force now.
func (p *past) keep(at time.Time) {
	for name, data := range p.w.files {
		role, ok := strings.CutPrefix(name, "image/")
		if !ok || strings.HasSuffix(role, "root") {
			continue
		}
		f, err := metadata.ParseTargets(data, metadata.Profile)
		if err != nil {
			p.w.t.Fatal(err)
		}
		key := fmt.Sprint(role, " ", f.Signed.Version)
		if _, ok := p.all[key]; !ok {
			p.all[key], p.when[key] = data, at
		}
	}
}

func (p *past) Version(role string, version int64) ([]byte, time.Time, error) {
	key := fmt.Sprint(role, " ", version)
	return p.all[key], p.when[key], nil
}

// judgeAt judges an event as a server does that opens it at a moment.
func (w *world) judgeAt(e *event.Event, p event.Past, at time.Time) (*event.Judgement, error) {
	return event.Judge(w.carry(e), w.state(), event.Options{Now: at, Memory: w.server, Online: w.online, Opening: true, Past: p})
}

func (w *world) stop(product, version string, p event.Past) *event.Event {
	w.t.Helper()
	e, err := event.NewStop(product, version, "link drops", w.state(), p, w.opening())
	if err != nil {
		w.t.Fatalf("%v [%s]", err, reason.Of(err))
	}
	return e
}

func (w *world) withdraw(product, version string) *event.Event {
	w.t.Helper()
	e, err := event.NewWithdraw(product, version, "link drops", w.state(), w.opening())
	if err != nil {
		w.t.Fatalf("%v [%s]", err, reason.Of(err))
	}
	return e
}

// stops returns the entries of a product's stop list in force.
func (w *world) stops(product string) []metadata.StopEntry {
	w.t.Helper()
	f, err := metadata.ParseTargets(w.files["image/"+metadata.StopRole(product)], metadata.Profile)
	if err != nil {
		w.t.Fatal(err)
	}
	list, err := metadata.ParseStops(f.Signed.UnrecognizedFields[metadata.StopField])
	if err != nil {
		w.t.Fatal(err)
	}
	return list
}

// pump publishes a release of the product with bins.
func (w *world) pump(version string, n int) {
	w.t.Helper()
	spec := "class: feature\nspread_hours: 24\ncomponent: main\ninstaller: slot\ntargets:\n"
	for i := range n {
		w.write(fmt.Sprintf("build/p-%d.img", i), fmt.Sprint(version, i))
		spec += fmt.Sprintf("- {file: build/p-%d.img, hardware: [x%d]}\n", i, i)
	}
	e, err := event.NewRelease("pump-9", version, w.spec(spec), w.state(), w.opening())
	if err != nil {
		w.t.Fatal(err)
	}
	w.publish(w.sign(e, "rivera", nil), w.sign(e, "chen", nil))
}

// One person stops what two released: without a network, of a flat product and of one with bins.
func TestStop(t *testing.T) {
	w := newWorld(t)
	w.found(twoProducts)
	w.released("2.4.0")
	w.released("2.4.1")
	w.pump("1.0", 3)
	for _, tt := range []struct {
		release string
		entries int
	}{{"gw-100/2.4.1", 1}, {"pump-9/1.0", 3}} {
		product, version, _ := strings.Cut(tt.release, "/")
		e := w.stop(product, version, nil)
		if e.Proposal.Subject != tt.release || len(e.Proposal.Files) != 1 {
			t.Errorf("%s: subject %q, %d files", tt.release, e.Proposal.Subject, len(e.Proposal.Files))
		}
		signed := w.sign(e, "okafor", nil) // from its base alone: it holds the bins
		r := w.publish(signed).Review()
		if len(r.Stops) != tt.entries || slices.ContainsFunc(r.Stops, func(s event.StopReview) bool { return s.Target != event.StopListed }) {
			t.Errorf("%s: review %+v", tt.release, r.Stops)
		}
		list := w.stops(product)
		if len(list) != tt.entries || list[0].Reason != "link drops" || !list[0].At.Equal(now) {
			t.Errorf("%s: %+v", tt.release, list)
		}
		_, err := event.NewStop(product, version, "again", w.state(), nil, w.opening())
		wantReason(t, err, reason.Stopped)
	}
	last := w.reviewOf(w.stop("gw-100", "2.4.0", nil))
	if !slices.ContainsFunc(last.Warnings, func(s string) bool { return strings.HasPrefix(s, "gw-100-c, component main: nothing is left") }) {
		t.Errorf("nothing said of what is left: %+v", last)
	}
}

func (w *world) reviewOf(e *event.Event) *event.Review {
	w.t.Helper()
	j, err := event.Judge(e, w.state(), event.Options{Now: now, Memory: w.server})
	if err != nil {
		w.t.Fatal(err)
	}
	return j.Review()
}

// What was withdrawn can still be stopped by those who know that it was there.
func TestStopOfWhatWasWithdrawn(t *testing.T) {
	w := newWorld(t)
	w.found(twoProducts)
	p := newPast(w)
	for _, v := range []string{"2.4.0", "2.4.1"} {
		w.released(v)
		p.keep(now)
	}
	w.pump("1.0", 2)
	p.keep(now)
	for _, e := range []*event.Event{w.withdraw("gw-100", "2.4.1"), w.withdraw("pump-9", "1.0")} {
		w.publish(w.sign(e, "rivera", nil), w.sign(e, "chen", nil))
		p.keep(now)
	}
	for _, tt := range []struct{ product, version string }{{"gw-100", "2.4.1"}, {"pump-9", "1.0"}} {
		_, err := event.NewStop(tt.product, tt.version, "link drops", w.state(), nil, w.opening())
		wantReason(t, err, reason.NotFound)
		e := w.stop(tt.product, tt.version, p)
		j, err := w.judgeAt(e, p, now)
		if err != nil {
			t.Fatal(err)
		}
		if s := j.Review().Stops[0]; s.Target != event.StopWithdrawn {
			t.Errorf("%s: %+v", tt.product, s)
		}
		// A machine that knows no past warns; the server decides.
		if r := w.reviewOf(e); r.Stops[0].Target != event.StopUnseen || len(r.Warnings) == 0 {
			t.Errorf("%s: %+v", tt.product, r)
		}
		w.publish(w.sign(e, "chen", nil))
	}
}

// stopList changes the stop list of a proposed event.
func (w *world) stopList(e *event.Event, change func([]metadata.StopEntry) []metadata.StopEntry) *event.Event {
	w.t.Helper()
	f, err := metadata.ParseTargets(mustRaw(w.t, e.Proposal.Files[0].Signed), metadata.Profile)
	if err != nil {
		w.t.Fatal(err)
	}
	list, err := metadata.ParseStops(f.Signed.UnrecognizedFields[metadata.StopField])
	if err != nil {
		w.t.Fatal(err)
	}
	f.Signed.UnrecognizedFields[metadata.StopField] = metadata.StopsField(change(list))
	signed, err := metadata.Signed(f.Signed)
	if err != nil {
		w.t.Fatal(err)
	}
	c := *e
	c.Proposal.Files = slices.Clone(e.Proposal.Files)
	c.Proposal.Files[0].Signed = signed
	return &c
}

func mustRaw(t testing.TB, signed []byte) []byte {
	t.Helper()
	data, err := metadata.EncodeRaw(metadata.Targets, signed, nil)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestStopRefused(t *testing.T) {
	w := newWorld(t)
	w.found(twoProducts)
	p := newPast(w)
	w.released("2.4.0")
	p.keep(now)
	w.released("2.4.1")
	p.keep(now)
	w.publish(w.sign(w.stop("gw-100", "2.4.0", nil), "chen", nil))
	p.keep(now)
	e := w.stop("gw-100", "2.4.1", nil)
	type entries = []metadata.StopEntry
	for name, tt := range map[string]struct {
		change func(entries) entries
		past   event.Past
		want   reason.Reason
	}{
		"a target that never was": {func(l entries) entries { l[1].SHA256 = strings.Repeat("ab", 32); return l }, p, reason.NeverListed},
		"another counter":         {func(l entries) entries { l[1].Counter = 7; return l }, p, reason.NeverListed},
		"another product":         {func(l entries) entries { l[1].Path = "pump-9/1.0/x"; return l }, p, reason.ProductMismatch},
		"two releases": {func(l entries) entries {
			return append(l, metadata.StopEntry{Path: "gw-100/9.9/x", Counter: 1, SHA256: l[0].SHA256, At: now, Reason: "x"})
		}, nil, reason.Profile},
		"an old entry says something else": {func(l entries) entries { l[0].Reason = "x"; return l }, p, reason.Profile},
		"an old entry at another time":     {func(l entries) entries { l[0].At = now.Add(-time.Hour); return l }, p, reason.Profile},
		"an entry leaves while listed":     {func(l entries) entries { return l[1:] }, p, reason.StopKept},
		"nothing new":                      {func(l entries) entries { return l[:1] }, p, reason.Profile},
		"a reason of two lines":            {func(l entries) entries { l[1].Reason = "a\nb"; return l }, p, reason.Malformed},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := w.judgeAt(w.stopList(e, tt.change), tt.past, now)
			wantReason(t, err, tt.want)
		})
	}
	if _, err := w.judgeAt(e, p, now); err != nil {
		t.Errorf("the unchanged one: %v", err)
	}
}

// An entry leaves 90 days after its target left the product, and not a moment earlier.
func TestStopLeaves(t *testing.T) {
	w := newWorld(t)
	w.found(twoProducts)
	p := newPast(w)
	for _, v := range []string{"2.4.0", "2.4.1"} {
		w.released(v)
		p.keep(now)
	}
	w.publish(w.sign(w.stop("gw-100", "2.4.0", nil), "chen", nil))
	gone := w.withdraw("gw-100", "2.4.0")
	w.publish(w.sign(gone, "rivera", nil), w.sign(gone, "chen", nil))
	p.keep(now)
	for _, tt := range []struct {
		after time.Duration
		want  reason.Reason
	}{{event.StopKeeps - time.Second, reason.StopKept}, {event.StopKeeps, ""}} {
		e := w.stopList(w.stop("gw-100", "2.4.1", p), func(l []metadata.StopEntry) []metadata.StopEntry { return l[1:] })
		j, err := w.judgeAt(e, p, now.Add(tt.after))
		wantReason(t, err, tt.want)
		if err == nil && (len(j.Review().Stops) != 2 || !j.Review().Stops[1].Leaves) {
			t.Errorf("%+v", j.Review().Stops)
		}
	}
}

// 256 entries with the longest reasons are still signable.
func TestFullStopList(t *testing.T) {
	long := strings.Repeat("x", 128)
	var list []metadata.StopEntry
	for i := range metadata.MaxStops {
		list = append(list, metadata.StopEntry{
			Path: fmt.Sprintf("%s/%s/%s%03d", strings.Repeat("p", 63), long, long[:125], i), Counter: metadata.MaxVersion,
			SHA256: strings.Repeat("ab", 32), At: now, Reason: strings.Repeat("€", metadata.MaxStopReason/3),
		})
	}
	signed, err := metadata.Signed(metadata.TargetsRole{
		Type: metadata.Targets, SpecVersion: "1.0.34", Version: 1, Expires: now, Targets: map[string]*metadata.TargetFile{},
		UnrecognizedFields: map[string]any{metadata.StopField: metadata.StopsField(list)},
	})
	if err != nil {
		t.Fatal(err)
	}
	const signatures = 64 * 256
	if n := int64(len(signed) + signatures); n > metadata.MaxSize(metadata.Profile, "gw-100.stop") {
		t.Errorf("%d bytes", n)
	}
	if _, err := metadata.ParseTargets(mustRaw(t, signed), metadata.Profile); err != nil {
		t.Error(err)
	}
}
