package rehearse_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/statement"
	"github.com/countersign-ota/countersign/signer/event"
	"github.com/countersign-ota/countersign/signer/key"
	"github.com/countersign-ota/countersign/signer/rehearse"
)

var now = time.Date(2026, 11, 25, 9, 20, 0, 0, time.UTC)

// keysOf makes each person's keys once; "rivera@2" is another key pair of rivera.
var keysOf = func() func(t testing.TB, id string) *key.Private {
	var mu sync.Mutex
	made := map[string]*key.Private{}
	return func(t testing.TB, id string) *key.Private {
		t.Helper()
		mu.Lock()
		defer mu.Unlock()
		if made[id] == nil {
			person, _, _ := strings.Cut(id, "@")
			k, err := key.Generate(key.Ed25519, key.Public{Person: person, Name: person}, true)
			if err != nil {
				t.Fatal(err)
			}
			made[id] = k
		}
		return made[id]
	}
}()

const basicPlan = `deployment: acme
online: online.pub
people: {rivera: rivera.pub, chen: chen.pub, okafor: okafor.pub, silva: silva.pub}
meaning: {holder: approved, engineering: authored, quality: approved, stop: stopped}
roots: {require: {holder: 2}, people: {holder: [rivera, chen, okafor]}}
products:
  gw-100: {require: {engineering: 1, quality: 1}, people: {engineering: [rivera, silva], quality: [chen, okafor]}}
  pump-9: {require: {engineering: 1, quality: 1}, people: {engineering: [rivera, silva], quality: [chen, okafor]}, sbom: none, bins: 16}
`

// world is a deployment: published files, and what stands in the files that plans name.
type world struct {
	t     testing.TB
	now   time.Time
	files map[string][]byte
	// online are the owners of the online keys: their image key for image, their director key for director.
	onlineImage, onlineDirector *metadata.Key
}

func newWorld(t testing.TB) *world {
	server := keysOf(t, "server").Public
	return &world{t: t, now: now, files: map[string][]byte{}, onlineImage: server.Image, onlineDirector: server.Director}
}

func (w *world) Current(r metadata.Repository, role string) ([]byte, error) {
	return w.files[string(r)+"/"+role], nil
}

func (w *world) Root(r metadata.Repository, v int64) ([]byte, error) {
	return w.files[fmt.Sprintf("%s/%d.root", r, v)], nil
}

func (w *world) state() *event.State {
	w.t.Helper()
	s, err := event.StateOf(w, "acme")
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// read returns what a plan names: PERSON.pub, PERSON@N.pub; with ".image" a file without a key for the
// director root, with "+OTHER" one whose director key is OTHER's.
func (w *world) read(file string) ([]byte, error) {
	id := strings.TrimSuffix(file, ".pub")
	if id == "online" {
		o := event.Online{Deployment: "acme", Image: w.onlineImage, Director: w.onlineDirector}
		return o.Bytes()
	}
	id, other, mixed := strings.Cut(id, "+")
	id, imageOnly := strings.CutSuffix(id, ".image")
	pub := keysOf(w.t, id).Public
	if mixed {
		pub.Director = keysOf(w.t, other).Public.Director
	}
	if imageOnly {
		pub.Director = nil
	}
	return pub.Bytes()
}

func (w *world) plan(text string) *event.Plan {
	w.t.Helper()
	p, err := event.ParsePlanToRehearse("plan.yaml", []byte(text), w.read)
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

func (w *world) opening() event.Opening { return event.Opening{Now: w.now} }

// change returns the event to a plan.
func (w *world) change(text string) *event.Event {
	w.t.Helper()
	e, err := event.NewChange(w.plan(text), w.state(), w.opening())
	if err != nil || e == nil {
		w.t.Fatalf("change: %v, %v", e, err)
	}
	return e
}

// sign adds the signatures of people to an event.
func (w *world) sign(e *event.Event, ids ...string) *event.Event {
	w.t.Helper()
	j, err := event.Judge(e, w.state(), event.Options{Now: w.now})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, id := range ids {
		signers, err := keysOf(w.t, id).Signers()
		if err != nil {
			w.t.Fatal(err)
		}
		sigs, approval, err := event.Sign(j, signers, event.SignOptions{Reason: "rehearsed", Now: w.now})
		if err != nil {
			w.t.Fatalf("%s: %v", id, err)
		}
		for _, out := range j.Add(sigs, []statement.Envelope{*approval}) {
			if out.Err != nil {
				w.t.Fatal(out.Err)
			}
		}
	}
	return j.Event
}

// publish signs an event and makes it public.
func (w *world) publish(e *event.Event, ids ...string) {
	w.t.Helper()
	j, err := event.Judge(w.sign(e, ids...), w.state(), event.Options{Now: w.now})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := j.Publishable(); err != nil {
		w.t.Fatal(err)
	}
	for i, f := range j.Files {
		data, err := j.PublishedFile(i)
		if err != nil {
			w.t.Fatal(err)
		}
		w.files[string(f.Repository)+"/"+f.Role] = data
		if f.Role == metadata.Root {
			w.files[fmt.Sprintf("%s/%d.root", f.Repository, f.NewVersion)] = data
		}
	}
}

// founded keeps the files of deployments by plan.
var founded sync.Map

func (w *world) found(text string) {
	w.t.Helper()
	if files, ok := founded.Load(text); ok {
		w.files = maps.Clone(files.(map[string][]byte))
		return
	}
	e, err := event.NewInit(w.plan(text), w.opening())
	if err != nil {
		w.t.Fatal(err)
	}
	w.publish(e, "rivera", "chen", "okafor")
	founded.Store(text, maps.Clone(w.files))
}

// replaced returns text with pairs of old and new replaced, each of which must occur.
func replaced(t testing.TB, text string, pairs ...string) string {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			t.Fatalf("the plan has no %q", pairs[i])
		}
		text = strings.ReplaceAll(text, pairs[i], pairs[i+1])
	}
	return text
}

// edit changes the signed part of a proposed file as JSON.
func edit(t testing.TB, e *event.Event, r metadata.Repository, role string, change func(signed map[string]any)) {
	t.Helper()
	i := e.Proposal.Index(r, role)
	if i < 0 {
		t.Fatalf("the event has no %s %s", r, role)
	}
	data, err := metadata.FromCanonical(e.Proposal.Files[i].Signed)
	if err != nil {
		t.Fatal(err)
	}
	var signed map[string]any
	if err := json.Unmarshal(data, &signed); err != nil {
		t.Fatal(err)
	}
	change(signed)
	if e.Proposal.Files[i].Signed, err = metadata.Canonical(signed); err != nil {
		t.Fatal(err)
	}
}

// drop takes a file out of an event.
func drop(e *event.Event, r metadata.Repository, role string) {
	e.Proposal.Files = slices.DeleteFunc(e.Proposal.Files, func(f event.ProposedFile) bool { return f.Repository == r && f.Role == role })
}

// code returns the finding of a code, nil if there is none.
func code(r *rehearse.Report, code string) *rehearse.Finding {
	i := slices.IndexFunc(r.Findings, func(f rehearse.Finding) bool { return f.Code == code })
	if i < 0 {
		return nil
	}
	return &r.Findings[i]
}

// codes lists "severity code" of all findings.
func codes(r *rehearse.Report) []string {
	var list []string
	for _, f := range r.Findings {
		list = append(list, f.Severity+" "+f.Code)
	}
	return list
}

// complete makes sure that whoever reads the report is told what, why and what next.
func complete(t testing.TB, r *rehearse.Report) {
	t.Helper()
	for _, f := range r.Findings {
		if f.What == "" || f.Why == "" || f.Next == "" || (f.Severity != rehearse.Stuck && f.Severity != rehearse.Warning) {
			t.Errorf("finding %+v lacks something", f)
		}
	}
}
