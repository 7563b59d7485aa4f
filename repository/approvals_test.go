package repository_test

import (
	"bytes"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/proto/statement"
	"github.com/countersign-ota/countersign/repository/internal/store"
	"github.com/countersign-ota/countersign/repository/internal/store/bolt"
	"github.com/countersign-ota/countersign/signer/event"
)

// Anybody may read who approved a published version: the envelopes as they are kept, under each file
// of their event, for ever the same.
func TestApprovalsOverHTTPS(t *testing.T) {
	b := newBed(t)
	b.found(basicPlan)
	v := b.released("2.4.1")
	anybody := b.browser(nil)
	approved := map[string][]string{
		"1.root": {"chen", "okafor", "rivera"}, "1.targets": {"chen", "okafor", "rivera"},
		"1.gw-100": {"chen", "okafor", "rivera"}, "1.gw-100.stop": {"chen", "okafor", "rivera"}, "2.gw-100": {"chen", "rivera"},
	}
	served := map[string][]byte{}
	for name, want := range approved {
		path := "/approvals/" + name + ".jsonl"
		a := b.ask(anybody, http.MethodGet, path, nil)
		if a.code != 200 || a.header.Get("Content-Type") != "application/jsonl" || !strings.Contains(a.header.Get("Cache-Control"), "public, max-age=31536000, immutable") {
			t.Fatalf("%s: %d %v", path, a.code, a.header)
		}
		if got := approvers(t, a.body); !slices.Equal(got, want) {
			t.Errorf("%s: approved by %v, want %v", path, got, want)
		}
		if again := b.ask(anybody, http.MethodGet, path, nil, "If-None-Match", a.header.Get("ETag")); again.code != 304 || len(again.body) != 0 {
			t.Errorf("%s: %d with its ETag", path, again.code)
		}
		if head := b.ask(anybody, http.MethodHead, path, nil); head.code != 200 || len(head.body) != 0 {
			t.Errorf("%s: HEAD %d, %d bytes", path, head.code, len(head.body))
		}
		served[name] = a.body
	}
	if bytes.Equal(served["1.gw-100"], served["2.gw-100"]) {
		t.Error("two events have the same approvals")
	}

	for _, path := range []string{
		fmt.Sprintf("%d.snapshot.jsonl", v["image/snapshot"]), fmt.Sprintf("%d.timestamp.jsonl", v["image/timestamp"]), // no event made them
		"3.gw-100.jsonl", "2.root.jsonl", "1.pump-9.jsonl", "0.gw-100.jsonl", "02.gw-100.jsonl", "gw-100.jsonl", "2.gw-100.json",
		"2.gw-100", "2.gw-100.jsonl/", "2.GW-100.jsonl", "", "../2.gw-100.json", "%2e%2e/countersign.db", "timestamp.jsonl",
	} {
		a := b.ask(anybody, http.MethodGet, "/approvals/"+path, nil)
		if a.code != 404 || a.reason(t) != reason.NotFound || a.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %v", path, a.code, a.header)
		}
	}
	for method, want := range map[string]int{http.MethodPost: 404, http.MethodPut: 405, http.MethodDelete: 405} {
		if a := b.ask(anybody, method, "/approvals/2.gw-100.jsonl", nil); a.code != want {
			t.Errorf("%s: %d", method, a.code)
		}
	}

	// An event that is open or cancelled published nothing, whoever approved it.
	e, s := b.release("2.4.2", basicSpec)
	b.upload(e, s)
	id := b.open("rivera", e)
	b.sign(id, "rivera")
	if a := b.ask(anybody, http.MethodGet, "/approvals/3.gw-100.jsonl", nil); a.code != 404 {
		t.Errorf("approvals of an open event: %d", a.code)
	}

	// As kept: the very bytes that the store has, and the same after a restart.
	b.stop()
	stored := storedEvent(t, b, "gw-100", 2)
	for line := range bytes.Lines(served["2.gw-100"]) {
		if !bytes.Contains(stored, bytes.TrimSuffix(line, []byte("\n"))) {
			t.Errorf("not as it is kept: %s", line)
		}
	}
	b.start()
	for name, want := range served {
		if code, got := b.get("/approvals/" + name + ".jsonl"); code != 200 || !bytes.Equal(got, want) {
			t.Errorf("%s after a restart: %d %s", name, code, got)
		}
	}
	b.checked()
}

// approvers returns the people of approvals, sorted.
func approvers(t *testing.T, lines []byte) []string {
	t.Helper()
	var people []string
	for line := range bytes.Lines(lines) {
		e, err := statement.ParseEnvelope(line)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		a, err := statement.ParseApproval(e.Payload)
		if err != nil {
			t.Fatalf("%s: %v", e.Payload, err)
		}
		people = append(people, a.Person)
	}
	slices.Sort(people)
	return people
}

// storedEvent returns the stored bytes of the event that published a role file. The server is stopped.
func storedEvent(t *testing.T, b *bed, role string, version int64) (data []byte) {
	t.Helper()
	db, err := bolt.Open(filepath.Join(b.dir, "countersign.db"), bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.View(ctx, func(v store.View) error {
		rec, err := v.Role(metadata.Image, role, version)
		if err != nil {
			return err
		}
		e, err := v.Event(store.EventID(rec.GetEvent()))
		data = e.GetEvent()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// A published event is given with the base of its time, also where everything was published within
// one second and the people have left since: every signature still counts.
func TestOldEventsKeepTheBaseOfTheirTime(t *testing.T) {
	b := newBed(t)
	b.found(basicPlan)
	b.released("2.4.0")
	e, s := b.release("2.4.1", basicSpec)
	b.upload(e, s)
	released := b.open("rivera", e)
	b.sign(released, "rivera", "chen")
	b.publish(released)

	changed := func(plan string, people ...string) string {
		e, err := event.NewChange(b.plan(plan), b.state(), b.opening())
		if err != nil {
			t.Fatal(err)
		}
		id := b.open("rivera", e)
		b.sign(id, people...)
		b.publish(id)
		return id
	}
	added := changed(basicPlan+"  pump-9: {require: {engineering: 1}, people: {engineering: [rivera]}, sbom: none}\n", "rivera", "chen")
	// chen leaves: roots, targets and gw-100 are signed anew.
	leave := strings.NewReplacer("chen: chen.pub", "dumont: dumont.pub", "chen", "dumont").Replace(basicPlan) +
		"  pump-9: {require: {engineering: 1}, people: {engineering: [rivera]}, sbom: none}\n"
	left := changed(leave, "rivera", "okafor", "dumont")
	again := b.open("rivera", refreshOf(t, b, "gw-100"))
	b.sign(again, "rivera", "dumont")
	b.publish(again)

	for _, tt := range []struct {
		id   string
		root int64
	}{{released, 1}, {added, 1}, {left, 1}, {again, 2}} {
		e, summary, err := b.operators["rivera"].Event(ctx, tt.id)
		if err != nil {
			t.Fatal(err)
		}
		name := summary.GetKind() + " " + summary.GetSubject()
		state, err := event.StateFromBase(e, event.Pins{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if pin, err := state.Pin(metadata.Image); err != nil || pin.Version != tt.root {
			t.Errorf("%s: root %d, want %d (%v)", name, pin.Version, tt.root, err)
		}
		j, err := event.Judge(e, state, event.Options{Now: b.clock.now()})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(j.Refused) > 0 || !j.Complete {
			t.Errorf("%s: complete %v, refused %v", name, j.Complete, j.Refused)
		}
	}
	b.checked()
}
