package event_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/signer/event"
	"github.com/countersign-ota/countersign/signer/key"
)

// What a tool fetched from a server is verified, kept, and enough to open and sign without network.
func TestStateFromAnywhere(t *testing.T) {
	w := newWorld(t)
	w.found(twoProducts)
	w.released("2.4.0")
	s, err := event.StateFrom(w, "acme", event.Pins{})
	if err != nil {
		t.Fatal(err)
	}
	e, err := event.NewChange(w.plan(riveraStops), s, w.opening())
	if err != nil {
		t.Fatal(err)
	}
	if roles(e) != "image/targets" {
		t.Errorf("files %s", roles(e))
	}
	kept, err := s.Base()
	if err != nil {
		t.Fatal(err)
	}
	offline, err := event.StateFromBase(&event.Event{Proposal: event.Proposal{Deployment: "acme"}, Base: kept}, event.Pins{})
	if err != nil {
		t.Fatal(err)
	}
	again, err := event.NewChange(w.plan(riveraStops), offline, w.opening())
	if err != nil {
		t.Fatal(err)
	}
	if again.ID() != e.ID() {
		t.Error("opened offline it is another event")
	}
	products, err := s.Products()
	if err != nil || strings.Join(products, " ") != "gw-100 pump-9" {
		t.Errorf("products %v, %v", products, err)
	}
	d, err := s.Delegation(image, "gw-100.stop")
	if err != nil || d.Threshold != 1 || len(d.KeyIDs) != 3 {
		t.Errorf("delegation %+v, %v", d, err)
	}

	t.Run("a server that lies", func(t *testing.T) {
		w := newWorld(t)
		w.found(twoProducts)
		w.files["image/gw-100"] = bytes.Replace(w.files["image/gw-100"], []byte(`"counter":0`), []byte(`"counter":9`), 1)
		s, err := event.StateFrom(w, "acme", event.Pins{})
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = s.Role(image, "gw-100")
		wantReason(t, err, reason.Threshold)
	})
	t.Run("a chain with a gap", func(t *testing.T) {
		w := newWorld(t)
		w.found(twoProducts)
		w.publish(w.sign(w.withHolder("adeyemi"), "rivera", nil), w.sign(w.withHolder("adeyemi"), "chen", nil))
		delete(w.files, "image/1.root")
		s, err := event.StateFrom(w, "acme", event.Pins{})
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Pin(image)
		wantReason(t, err, reason.Malformed)
	})
	t.Run("nothing yet", func(t *testing.T) {
		s, err := event.StateFromBase(&event.Event{Proposal: event.Proposal{Deployment: "acme"}}, event.Pins{})
		if err != nil {
			t.Fatal(err)
		}
		if pin, err := s.Pin(image); pin.Version != 0 || err != nil {
			t.Errorf("pin %+v, %v", pin, err)
		}
	})
}

// A person who gave no name goes by the id: a signed quorum names everybody.
func TestPersonWithoutName(t *testing.T) {
	w := newWorld(t)
	k, err := key.Generate(key.Ed25519, key.Public{Person: "adeyemi"}, true)
	if err != nil {
		t.Fatal(err)
	}
	p, err := event.ParsePlan("plan.yaml", []byte(strings.ReplaceAll(basicPlan, "okafor", "adeyemi")), func(file string) ([]byte, error) {
		if file == "adeyemi.pub" {
			return k.Public.Bytes()
		}
		return w.read(file)
	})
	if err != nil {
		t.Fatal(err)
	}
	e, err := event.NewInit(p, w.opening())
	if err != nil {
		t.Fatal(err)
	}
	j, err := w.opened(e)
	if err != nil {
		t.Fatal(err)
	}
	keyid, err := metadata.KeyID(k.Public.Image)
	if err != nil {
		t.Fatal(err)
	}
	i := e.Proposal.Index(image, "root")
	if person, ok := j.Files[i].Signers[0].Delegation.PersonOf(keyid); !ok || person.Name != "adeyemi" {
		t.Errorf("person %+v", person)
	}
}

// A cache changes nothing but the time that a judgement takes.
func TestCache(t *testing.T) {
	w := newWorld(t)
	w.found(twoProducts)
	e := w.sign(w.release("2.4.1", basicSpec), "rivera", nil)
	var cache event.Cache
	for range 3 {
		s, err := cache.StateOf(w, "acme")
		if err != nil {
			t.Fatal(err)
		}
		j, err := event.Judge(e, s, event.Options{Now: now, Online: w.online})
		if err != nil || len(j.Event.Signatures) != 1 {
			t.Fatalf("%v", err)
		}
	}
	edit(t, e, image, "gw-100", func(s object) { firmware(s, gwPath)["counter"] = 7 })
	s, err := cache.StateOf(w, "acme")
	if err != nil {
		t.Fatal(err)
	}
	_, err = event.Judge(e, s, event.Options{Now: now})
	wantReason(t, err, reason.Profile)
}
