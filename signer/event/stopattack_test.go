package event_test

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/signer/event"
)

// seenByTool returns the state as a person's tool sees it: nothing is believed that is not signed.
func (w *world) seenByTool() *event.State {
	w.t.Helper()
	s, err := event.StateFrom(w, "acme", event.Pins{})
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// timeless is a past as a tool sees it: a server's words, without times. lies replace what it says.
type timeless struct {
	*past
	lies map[string][]byte
}

func (p timeless) Version(role string, version int64) ([]byte, time.Time, error) {
	if lie, ok := p.lies[fmt.Sprint(role, " ", version)]; ok {
		return lie, time.Time{}, nil
	}
	data, _, err := p.past.Version(role, version)
	return data, time.Time{}, err
}

// forged returns a file whose content was changed, with the signatures that it had.
func forged(t *testing.T, file []byte, change func(*metadata.TargetsRole)) []byte {
	t.Helper()
	f, err := metadata.ParseTargets(file, metadata.Profile)
	if err != nil {
		t.Fatal(err)
	}
	change(&f.Signed)
	signed, err := metadata.Signed(f.Signed)
	if err != nil {
		t.Fatal(err)
	}
	data, err := metadata.EncodeRaw(metadata.Targets, signed, f.Signatures)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// A stop names a release by its path, and devices apply it by counter and hash: neither a stranger's file
// nor a server that lies about what was may aim it at another image.
func TestStopAimedAtAnotherImage(t *testing.T) {
	w := newWorld(t)
	w.found(twoProducts)
	p := newPast(w)
	w.released("2.3.0")
	p.keep(now)
	w.released("2.4.0")
	p.keep(now)
	gone := w.withdraw("gw-100", "2.3.0")
	w.publish(w.sign(gone, "rivera", nil), w.sign(gone, "chen", nil))
	p.keep(now)
	good := targetsOf(t, w, "gw-100")["gw-100/2.4.0/gw.img"]
	sum := hex.EncodeToString(good.Hashes["sha256"])
	aim := func(l []metadata.StopEntry) []metadata.StopEntry {
		l[0].Path, l[0].Counter, l[0].SHA256 = "gw-100/2.3.0/gw.img", 2, sum
		return l
	}
	e := w.stopList(w.stop("gw-100", "2.4.0", nil), aim)
	e.Proposal.Subject = "gw-100/2.3.0"
	t.Run("a stranger's file", func(t *testing.T) {
		_, err := w.trySign(e, "okafor", nil)
		wantReason(t, err, reason.NeverListed)
	})
	// The file of version 2, where 2.3.0 stands, lists the bytes of 2.4.0 under its path.
	lie := forged(t, p.all["gw-100 2"], func(r *metadata.TargetsRole) {
		fw, err := metadata.ParseFirmware("gw-100/2.3.0/gw.img", r.Targets["gw-100/2.3.0/gw.img"], true)
		if err != nil {
			t.Fatal(err)
		}
		fw.Counter = 2
		custom, err := fw.Custom()
		if err != nil {
			t.Fatal(err)
		}
		c := *good
		c.Path, c.Custom = "gw-100/2.3.0/gw.img", custom
		r.Targets = map[string]*metadata.TargetFile{c.Path: &c}
		r.UnrecognizedFields[metadata.HighField] = (&metadata.High{Counter: 2, Floors: map[string]int64{"main": 0}}).Field()
	})
	told := timeless{p, map[string][]byte{"gw-100 3": nil, "gw-100 2": lie}}
	t.Run("a server that lies", func(t *testing.T) {
		_, err := event.NewStop("gw-100", "2.3.0", "x", w.seenByTool(), told, w.opening())
		wantReason(t, err, reason.NeverListed)
	})
	t.Run("a server that lies, to who signs", func(t *testing.T) {
		_, err := event.Judge(e, w.seenByTool(), event.Options{Now: now, Past: told})
		wantReason(t, err, reason.NeverListed)
	})
	// Bytes that nobody lists: the tool does not repeat the server's word for what was.
	e = w.stopList(e, func(l []metadata.StopEntry) []metadata.StopEntry {
		l[0].SHA256 = strings.Repeat("ab", 32)
		return l
	})
	told.lies["gw-100 2"] = forged(t, lie, func(r *metadata.TargetsRole) {
		r.Targets["gw-100/2.3.0/gw.img"].Hashes["sha256"] = slices.Repeat([]byte{0xab}, 32)
	})
	t.Run("bytes of which only the server knows", func(t *testing.T) {
		j, err := event.Judge(e, w.seenByTool(), event.Options{Now: now, Past: told})
		if err != nil {
			t.Fatal(err)
		}
		if r := j.Review(); r.Stops[0].Target != event.StopUnseen || len(r.Warnings) == 0 {
			t.Errorf("shown as %q, warnings %q", r.Stops[0].Target, r.Warnings)
		}
	})
	// What was signed by today's people needs no server to be believed.
	t.Run("the truth", func(t *testing.T) {
		e, err := event.NewStop("gw-100", "2.3.0", "x", w.seenByTool(), timeless{p, nil}, w.opening())
		if err != nil {
			t.Fatal(err)
		}
		j, err := event.Judge(e, w.seenByTool(), event.Options{Now: now, Past: timeless{p, nil}})
		if err != nil {
			t.Fatal(err)
		}
		if r := j.Review(); r.Stops[0].Target != event.StopWithdrawn {
			t.Errorf("shown as %q", r.Stops[0].Target)
		}
	})
}

// What is known of an entry that leaves is what the review says, not what is hoped.
func TestReviewOfWhatLeaves(t *testing.T) {
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
	e := w.stopList(w.stop("gw-100", "2.4.1", p), func(l []metadata.StopEntry) []metadata.StopEntry { return l[1:] })
	for name, tt := range map[string]struct {
		past event.Past
		sure bool
	}{"no past": {nil, false}, "a server's words": {timeless{p, nil}, false}, "the server": {p, true}} {
		t.Run(name, func(t *testing.T) {
			j, err := event.Judge(e, w.state(), event.Options{Now: now.Add(event.StopKeeps), Past: tt.past})
			if err != nil {
				t.Fatal(err)
			}
			r := j.Review()
			sure := slices.ContainsFunc(r.Consequences, func(s string) bool { return strings.Contains(s, "for more than 90 days") })
			warned := slices.ContainsFunc(r.Warnings, func(s string) bool { return strings.Contains(s, "gw-100/2.4.0/gw.img") })
			if sure != tt.sure || warned == tt.sure {
				t.Errorf("consequences %q, warnings %q", r.Consequences, r.Warnings)
			}
		})
	}
}

// A full list makes room by what left first, although the tool that opens the stop does not know when that
// was: a stop that the server would refuse is none.
func TestFullListMakesRoom(t *testing.T) {
	w := newWorld(t)
	w.found(twoProducts)
	p := newPast(w)
	for version, n := range map[string]int{"1.0": 1, "1.1": 1} {
		w.both(w.many(version, n, w.opening()))
	}
	w.both(w.many("2.0", 200, w.opening()))
	w.both(w.many("2.1", 54, w.opening()))
	w.both(w.many("3.0", 1, w.opening()))
	p.keep(now)
	for _, v := range []string{"1.0", "1.1", "2.0", "2.1"} {
		w.publish(w.sign(w.stop("gw-100", v, nil), "chen", nil))
	}
	for i, v := range []string{"1.1", "1.0"} {
		at := now.Add(time.Duration(i) * 60 * 24 * time.Hour)
		o := w.opening()
		o.Now = at
		w.both(event.NewWithdraw("gw-100", v, "x", w.state(), o))
		p.keep(at)
	}
	if n := len(w.stops("gw-100")); n != metadata.MaxStops {
		t.Fatalf("%d entries", n)
	}
	o := w.opening()
	o.Now = now.Add(100 * 24 * time.Hour)
	for name, known := range map[string]event.Past{"times unknown": timeless{p, nil}, "times known": p} {
		t.Run(name, func(t *testing.T) {
			e, err := event.NewStop("gw-100", "3.0", "x", w.seenByTool(), known, o)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.judgeAt(e, p, o.Now); err != nil {
				t.Errorf("the server refuses it: %v", err)
			}
		})
	}
}

// Who stops a part of a release hears of the rest.
func TestStopOfAPart(t *testing.T) {
	w := newWorld(t)
	w.found(twoProducts)
	w.both(w.many("1.0", 2, w.opening()))
	e := w.stopList(w.stop("gw-100", "1.0", nil), func(l []metadata.StopEntry) []metadata.StopEntry { return l[:1] })
	rest := func(s string) bool {
		return strings.Contains(s, "gw-100/1.0/m-1") && strings.Contains(s, "not stopped")
	}
	if r := w.reviewOf(e); !slices.ContainsFunc(r.Warnings, rest) {
		t.Errorf("warnings %q", r.Warnings)
	}
	w.publish(w.sign(e, "chen", nil))
	if r := w.reviewOf(w.stop("gw-100", "1.0", nil)); slices.ContainsFunc(r.Warnings, func(s string) bool { return strings.Contains(s, "not stopped") }) {
		t.Errorf("warnings of the rest %q", r.Warnings)
	}
}

// Whatever the reasons say, a full list fits.
func TestReasonsThatGrow(t *testing.T) {
	w := newWorld(t)
	w.found(twoProducts)
	w.released("2.4.0")
	for why, want := range map[string]reason.Reason{
		strings.Repeat("<", metadata.MaxStopReason):        reason.UsageError,
		strings.Repeat("\u2028", metadata.MaxStopReason/3): "",
		strings.Repeat("\"", metadata.MaxStopReason):       "",
		"battery < 20 % & no load":                         "",
	} {
		_, err := event.NewStop("gw-100", "2.4.0", why, w.state(), nil, w.opening())
		wantReason(t, err, want)
	}
	e := w.stopList(w.stop("gw-100", "2.4.0", nil), func(l []metadata.StopEntry) []metadata.StopEntry {
		l[0].Reason = strings.Repeat("<", metadata.MaxStopReason)
		return l
	})
	_, err := w.opened(e)
	wantReason(t, err, reason.Malformed)
	long := strings.Repeat("x", 128)
	for _, c := range []string{"\"", "\u2028", "€"} {
		var list []metadata.StopEntry
		for i := range metadata.MaxStops {
			list = append(list, metadata.StopEntry{
				Path: fmt.Sprintf("%s/%s/%s%03d", strings.Repeat("p", 63), long, long[:125], i), Counter: metadata.MaxVersion,
				SHA256: strings.Repeat("ab", 32), At: now, Reason: strings.Repeat(c, metadata.MaxStopReason/len(c)),
			})
		}
		signed, err := metadata.Signed(metadata.TargetsRole{
			Type: metadata.Targets, SpecVersion: "1.0.34", Version: metadata.MaxVersion, Expires: now, Targets: map[string]*metadata.TargetFile{},
			UnrecognizedFields: map[string]any{metadata.StopField: metadata.StopsField(list), metadata.ScopeField: strings.Repeat("s", 200)},
		})
		if err != nil {
			t.Fatal(err)
		}
		if n := int64(len(mustRaw(t, signed)) + 64*256); n > metadata.MaxSize(metadata.Profile, "gw-100.stop") {
			t.Errorf("%q: %d bytes", c, n)
		}
	}
}

// Where the server's past has a gap, as after a recovery, an entry stays for 90 days after it came.
func TestStopLeavesByAGap(t *testing.T) {
	w := newWorld(t)
	w.found(twoProducts)
	p := newPast(w)
	for _, v := range []string{"2.4.0", "2.4.1"} {
		w.released(v)
	}
	w.publish(w.sign(w.stop("gw-100", "2.4.0", nil), "chen", nil))
	gone := w.withdraw("gw-100", "2.4.0")
	w.both(gone, nil)
	p.keep(now) // only what is in force now
	e := w.stopList(w.stop("gw-100", "2.4.1", p), func(l []metadata.StopEntry) []metadata.StopEntry { return l[1:] })
	for after, want := range map[time.Duration]reason.Reason{event.StopKeeps - time.Second: reason.StopKept, event.StopKeeps: ""} {
		_, err := w.judgeAt(e, p, now.Add(after))
		wantReason(t, err, want)
	}
}
