package event_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/signer/event"
)

// An event either fails with a reason or writes back to bytes that mean the same, and judging it never
// panics.
func FuzzParseEvent(f *testing.F) {
	w := newWorld(f)
	w.found(twoProducts)
	e := w.sign(w.release("2.4.1", basicSpec), "rivera", nil)
	data, err := e.Bytes()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	w.released("2.4.2")
	for _, e := range []*event.Event{w.stop("gw-100", "2.4.2", nil), w.withdraw("gw-100", "2.4.2")} {
		if data, err = w.sign(e, "chen", nil).Bytes(); err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add(bytes.Replace(data, []byte(`"reason":"link drops"`), []byte(`"reason":""`), 1))
	e.Base = nil
	if data, err = e.Bytes(); err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"countersign_event":1,"proposal":{"deployment":"acme","kind":"init","subject":"acme","files":[{"repository":"image","role":"root","signed":{"_type":"root"}}],"blobs":[]},"base":[],"signatures":[],"approvals":[]}`))
	f.Add(bytes.Replace(data, []byte(`"proposal"`), []byte(`"Proposal"`), 1))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := event.Parse(data)
		if err != nil {
			if !reason.Of(err).Known() {
				t.Errorf("no reason: %v", err)
			}
			return
		}
		again, err := e.Bytes()
		if err != nil {
			t.Fatalf("parsed, but cannot be written: %v", err)
		}
		second, err := event.Parse(again)
		if err != nil {
			t.Fatalf("written, but cannot be read: %v\n%s", err, again)
		}
		if second.ID() != e.ID() {
			t.Error("another id after a round trip")
		}
		if third, err := second.Bytes(); err != nil || !bytes.Equal(third, again) {
			t.Errorf("written twice it differs: %v", err)
		}
		if s, err := event.StateFromBase(e, event.Pins{}); err == nil {
			if j, err := event.Judge(e, s, event.Options{Now: now}); err == nil {
				j.Review()
			} else if !reason.Of(err).Known() {
				t.Errorf("judged without reason: %v", err)
			}
		} else if !reason.Of(err).Known() {
			t.Errorf("base refused without reason: %v", err)
		}
	})
}

func FuzzParsePlan(f *testing.F) {
	f.Add(twoProducts)
	f.Add(basicPlan)
	f.Add(strings.Replace(twoProducts, "bins: 16", "bins: 16, retired: true", 1))
	f.Add("deployment: acme\nonline: {deployment: acme, url: x, image: {}, director: {}, tls: []}\n")
	w := newWorld(f)
	files := map[string][]byte{}
	for _, name := range []string{"online.pub", "rivera.pub", "chen.pub", "okafor.pub"} {
		data, err := w.read(name)
		if err != nil {
			f.Fatal(err)
		}
		files[name] = data
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := event.ParsePlan("plan.yaml", []byte(text), func(file string) ([]byte, error) {
			if files[file] == nil {
				return nil, reason.Errorf(reason.Plan, "no file %q", file)
			}
			return files[file], nil
		})
		if err != nil {
			if reason.Of(err) != reason.Plan {
				t.Errorf("reason %q: %v", reason.Of(err), err)
			}
			return
		}
		if _, err := event.NewInit(p, event.Opening{Now: now}); err != nil && !reason.Of(err).Known() {
			t.Errorf("no reason: %v", err)
		}
		text2, err := p.YAML()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := event.ParsePlan("plan.yaml", text2, nil); err != nil {
			t.Errorf("printed plan is not read: %v\n%s", err, text2)
		}
	})
}

func FuzzParseSpec(f *testing.F) {
	f.Add(basicSpec)
	f.Add("class: feature\ntargets: [{file: a, component: main, hardware: [x], installer: file, installer_args: {a: [1, true, {b: c}]}}]\n")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := event.ParseSpec("release.yaml", []byte(text))
		if err != nil {
			if reason.Of(err) != reason.Spec {
				t.Errorf("reason %q: %v", reason.Of(err), err)
			}
			return
		}
		if len(s.Targets) == 0 {
			t.Error("no targets")
		}
	})
}

func FuzzParseOnline(f *testing.F) {
	w := newWorld(f)
	data, err := w.read("online.pub")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		o, err := event.ParseOnline(data)
		if err != nil {
			if !reason.Of(err).Known() {
				t.Errorf("no reason: %v", err)
			}
			return
		}
		if _, err := o.Bytes(); err != nil {
			t.Errorf("parsed, but cannot be written: %v", err)
		}
	})
}

func FuzzParseHistory(f *testing.F) {
	f.Add([]byte(`{"countersign_history":1,"seen":[{"repository":"image","role":"root","version":1,"sha256":"` + strings.Repeat("0a", 32) + `"}],"signed":[]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := event.ParseHistory(data)
		if err != nil {
			if reason.Of(err) != reason.StateDamaged {
				t.Errorf("reason %q: %v", reason.Of(err), err)
			}
			return
		}
		again, err := h.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := event.ParseHistory(again); err != nil {
			t.Errorf("written, but cannot be read: %v", err)
		}
	})
}
