package event_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"strings"
	"testing"
	"time"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/signer/event"
)

// What a person's machine has seen cannot be taken back by a server or a file.
func TestMemoryRefusesOldBases(t *testing.T) {
	w := newWorld(t)
	w.found(twoProducts)
	old := w.release("2.4.0", basicSpec)
	chen := &event.History{}
	w.released("2.4.0")
	w.sign(w.release("2.4.1", basicSpec), "chen", chen) // sees gw-100 version 2

	_, err := w.trySign(old, "chen", chen)
	wantReason(t, err, reason.BaseTooOld)
	if err != nil && !strings.Contains(err.Error(), " builds on gw-100 version 1, this machine has seen 2") {
		t.Errorf("error %q", err)
	}
	t.Run("old root", func(t *testing.T) {
		root := &event.History{}
		plan := strings.NewReplacer("rivera.pub", "rivera@2.pub").Replace(twoProducts)
		e, err := event.NewChange(w.plan(plan), w.state(), w.opening())
		if err != nil {
			t.Fatal(err)
		}
		before := w.release("2.4.2", basicSpec)
		w.publish(w.sign(e, "rivera@2", nil), w.sign(e, "chen", nil), w.sign(e, "okafor", nil))
		after := w.carry(w.release("2.4.3", basicSpec))
		s, err := event.StateFromBase(after, event.Pins{})
		if err != nil {
			t.Fatal(err)
		}
		root.Saw(s)
		if got := root.Pins().Image.Version; got != 2 {
			t.Fatalf("pinned root %d, want 2", got)
		}
		_, err = w.trySign(before, "chen", root)
		wantReason(t, err, reason.BaseTooOld)
	})
}

func TestPins(t *testing.T) {
	w := newWorld(t)
	w.found(twoProducts)
	e := w.carry(w.release("2.4.0", basicSpec))
	pin, err := w.state().Pin(image)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		pins   event.Pins
		fault  func(e *event.Event)
		want   reason.Reason
		pinned bool
	}{
		{"none", event.Pins{}, func(*event.Event) {}, "", false},
		{"the same", event.Pins{Image: pin}, func(*event.Event) {}, "", true},
		{"another root 1", event.Pins{Image: event.Pin{Version: 1, Digest: [32]byte{1}}}, func(*event.Event) {}, reason.VersionUsed, false},
		{"a later root", event.Pins{Image: event.Pin{Version: 2, Digest: [32]byte{1}}}, func(*event.Event) {}, reason.BaseTooOld, false},
		{"no base", event.Pins{Image: pin}, func(e *event.Event) { e.Base = nil }, reason.Malformed, false},
		{"no root", event.Pins{Image: pin}, func(e *event.Event) { e.Base = e.Base[3:] }, reason.Malformed, false},
		{"a file twice", event.Pins{Image: pin}, func(e *event.Event) { e.Base = append(e.Base, e.Base[0]) }, reason.Malformed, false},
		{"a signature of the base taken away", event.Pins{Image: pin}, func(e *event.Event) {
			i := indexOf(e, "gw-100")
			f, err := metadata.ParseTargets(e.Base[i].File, metadata.Profile)
			if err != nil {
				panic(err)
			}
			e.Base[i].File, err = metadata.EncodeRaw("gw-100", f.Canonical(), f.Signatures[:1])
			if err != nil {
				panic(err)
			}
		}, reason.Threshold, false},
		{"a file of another deployment", event.Pins{Image: pin}, func(e *event.Event) {
			i := indexOf(e, "gw-100")
			e.Base[i].File = bytes.Replace(e.Base[i].File, []byte("acme/image/gw-100"), []byte("acmf/image/gw-100"), 1)
		}, reason.ScopeMismatch, false},
		{"one byte changed", event.Pins{Image: pin}, func(e *event.Event) {
			i := indexOf(e, "gw-100")
			e.Base[i].File = bytes.Replace(e.Base[i].File, []byte(`"counter":0`), []byte(`"counter":1`), 1)
		}, reason.Threshold, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := w.carry(e)
			c.fault(e)
			s, err := event.StateFromBase(e, c.pins)
			wantReason(t, err, c.want)
			if err == nil && s.Pinned(image) != c.pinned {
				t.Errorf("pinned %t, want %t", s.Pinned(image), c.pinned)
			}
		})
	}
}

func indexOf(e *event.Event, role string) int {
	for i, b := range e.Base {
		if b.Role == role {
			return i
		}
	}
	return -1
}

// No version has two contents: a machine that signed one does not sign another (DESIGN 1.5).
func TestVersionUsed(t *testing.T) {
	w := newWorld(t)
	w.found(twoProducts)
	chen := &event.History{}
	first := w.release("2.4.0", basicSpec)
	w.sign(first, "chen", chen)
	second := w.release("2.4.0-rc2", basicSpec)
	_, err := w.trySign(second, "chen", chen)
	wantReason(t, err, reason.VersionUsed)

	t.Run("server", func(t *testing.T) {
		j, err := w.opened(first)
		if err != nil {
			t.Fatal(err)
		}
		j.Add(w.sign(first, "rivera", nil).Signatures, w.sign(first, "rivera", nil).Approvals)
		w.server.Sign(j, j.Event.Signatures)
		_, err = w.opened(second)
		wantReason(t, err, reason.VersionUsed)
		next := w.release("2.4.0-rc3", basicSpec) // the server's memory gives the next version and counter
		if j, err = w.opened(next); err != nil {
			t.Fatal(err)
		}
		if j.Files[0].NewVersion != 3 || j.Review().Added[0].Counter != 2 {
			t.Errorf("version %d, counter %d, want 3 and 2", j.Files[0].NewVersion, j.Review().Added[0].Counter)
		}
		if len(j.Review().Warnings) != 2 {
			t.Errorf("warnings %q", j.Review().Warnings)
		}
	})
	t.Run("root asks for both to be shown", func(t *testing.T) {
		chen := &event.History{}
		w.sign(w.withHolder("adeyemi"), "chen", chen)
		other := w.withHolder("bello")
		j, err := event.Judge(other, w.state(), event.Options{Now: now, Memory: chen})
		if err != nil {
			t.Fatal(err)
		}
		may, err := j.MaySign(keysOf(t, "chen").Public.Keys(), chen)
		if err != nil || !may.ReplacesRoot || may.Person.ID != "chen" || len(may.Files) != 2 || len(may.KeyIDs()) != 2 {
			t.Errorf("%+v, %v", may, err)
		}
		signers, err := keysOf(t, "chen").Signers()
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = event.Sign(j, signers, event.SignOptions{Now: now, Memory: chen})
		wantReason(t, err, reason.VersionUsed)
		sigs, _, err := event.Sign(j, signers, event.SignOptions{Now: now, Memory: chen, ReplaceRoot: true})
		if err != nil || len(sigs) != 2 {
			t.Errorf("%d signatures, %v", len(sigs), err)
		}
	})
}

// withHolder proposes roots with one more holder.
func (w *world) withHolder(id string) *event.Event {
	w.t.Helper()
	plan := strings.Replace(twoProducts, "okafor: okafor.pub", "okafor: okafor.pub, "+id+": "+id+".pub", 1)
	plan = strings.Replace(plan, "[rivera, chen, okafor]}}", "[rivera, chen, okafor, "+id+"]}}", 1)
	plan = strings.ReplaceAll(plan, "quality: [chen, okafor]}", "quality: [chen, okafor]}, stop: [rivera, chen, okafor]")
	e, err := event.NewChange(w.plan(plan), w.state(), event.Opening{Now: now})
	if err != nil {
		w.t.Fatal(err)
	}
	return e
}

func TestHistoryRoundTrip(t *testing.T) {
	w := newWorld(t)
	h := &event.History{}
	e, err := event.NewInit(w.plan(twoProducts), w.opening())
	if err != nil {
		t.Fatal(err)
	}
	w.sign(e, "rivera", h)
	data, err := h.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	read, err := event.ParseHistory(data)
	if err != nil {
		t.Fatal(err)
	}
	again, err := read.Bytes()
	if err != nil || !bytes.Equal(data, again) {
		t.Errorf("written back differs: %v", err)
	}
	if read.Pins() != h.Pins() || read.Pins().Image.Version != 1 {
		t.Errorf("pins %+v", read.Pins())
	}
	// The copy that this machine signed, and one that others signed, can be judged again with it.
	for _, id := range []string{"rivera", "chen"} {
		s, err := event.StateFromBase(e, read.Pins())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := event.Judge(w.sign(e, id, nil), s, event.Options{Now: now, Memory: read}); err != nil {
			t.Errorf("copy of %s: %v", id, err)
		}
	}
	for _, bad := range []string{"", "{}", `{"countersign_history":2,"seen":[],"signed":[]}`, `{"countersign_history":1,"seen":[{"repository":"image","role":"root","version":0,"sha256":""}],"signed":[]}`} {
		if _, err := event.ParseHistory([]byte(bad)); !reason.Is(err, reason.StateDamaged) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// Cancelling opens a successor above what was signed: old content, next version.
func TestSuccessor(t *testing.T) {
	w := newWorld(t)
	w.found(twoProducts)
	e := w.release("2.4.0", basicSpec)
	if s, err := event.Successor(e, w.state(), w.opening()); s != nil || err != nil {
		t.Errorf("nobody signed, but there is a successor: %v", err)
	}
	signed := w.sign(e, "rivera", nil)
	j, err := w.opened(signed)
	if err != nil {
		t.Fatal(err)
	}
	w.server.Sign(j, j.Event.Signatures)
	next, err := event.Successor(signed, w.state(), event.Opening{Now: now.Add(time.Hour), Memory: w.server})
	if err != nil {
		t.Fatal(err)
	}
	if next.Proposal.Kind != event.Refresh || next.Proposal.Subject != "gw-100" {
		t.Errorf("%s of %q", next.Proposal.Kind, next.Proposal.Subject)
	}
	published := w.publish(w.sign(next, "rivera", nil), w.sign(next, "chen", nil))
	if f := published.Files[0]; f.OldVersion != 1 || f.NewVersion != 3 {
		t.Errorf("version %d → %d, want 1 → 3", f.OldVersion, f.NewVersion)
	}
	_, err = w.opened(signed)
	wantReason(t, err, reason.EventStale)

	t.Run("a refresh changes nothing", func(t *testing.T) {
		e := w.sign(w.release("2.4.1", basicSpec), "rivera", nil)
		j, err := w.opened(e)
		if err != nil {
			t.Fatal(err)
		}
		w.server.Sign(j, j.Event.Signatures)
		next, err := event.Successor(e, w.state(), event.Opening{Now: now.Add(time.Hour), Memory: w.server})
		if err != nil {
			t.Fatal(err)
		}
		edit(t, next, image, "gw-100", func(s object) { set(s, 9, "x-countersign-high", "counter") })
		_, err = w.opened(next)
		wantReason(t, err, reason.Profile)
	})
}

// Keys that everybody can sign with are refused, except by the tool, which warns (DESIGN 1.4).
func TestExampleKeys(t *testing.T) {
	w := newWorld(t)
	seed := sha256.Sum256([]byte("countersign example key: rivera image"))
	k, err := metadata.NewKey(ed25519.NewKeyFromSeed(seed[:]).Public())
	if err != nil {
		t.Fatal(err)
	}
	rivera := keysOf(t, "rivera").Public
	rivera.Image = k
	p, err := event.ParsePlan("plan.yaml", []byte(basicPlan), func(file string) ([]byte, error) {
		if file == "rivera.pub" {
			return rivera.Bytes()
		}
		return w.read(file)
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = event.NewInit(p, w.opening())
	wantReason(t, err, reason.KeyExample)
	allowed := w.opening()
	allowed.AllowExample = true
	e, err := event.NewInit(p, allowed)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.opened(e)
	wantReason(t, err, reason.KeyExample)
	j, err := event.Judge(e, w.state(), event.Options{Now: now, AllowExample: true})
	if err != nil {
		t.Fatal(err)
	}
	if r := j.Review(); !j.Example || len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "keys-example") {
		t.Errorf("warnings %q", r.Warnings)
	}
}
