package event_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/signer/event"
	"github.com/countersign-ota/countersign/signer/key"
)

var now = time.Date(2026, 11, 25, 9, 20, 0, 0, time.UTC)

// keysOf makes each person's keys once for all tests; most tests only need somebody's.
var keysOf = func() func(t testing.TB, id string) *key.Private {
	var mu sync.Mutex
	made := map[string]*key.Private{}
	return func(t testing.TB, id string) *key.Private {
		t.Helper()
		mu.Lock()
		defer mu.Unlock()
		if made[id] == nil {
			kind := key.Ed25519
			if strings.HasPrefix(id, "okafor") {
				kind = key.P256
			}
			person, _, _ := strings.Cut(id, "@")
			k, err := key.Generate(kind, key.Public{Person: person, Name: strings.ToUpper(person[:1]) + person[1:]}, true)
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
people: {rivera: rivera.pub, chen: chen.pub, okafor: okafor.pub}
meaning: {holder: approved, engineering: authored, quality: approved, stop: stopped}
roots: {require: {holder: 2}, people: {holder: [rivera, chen, okafor]}}
`

const twoProducts = basicPlan + `products:
  gw-100: {require: {engineering: 1, quality: 1}, people: {engineering: [rivera], quality: [chen, okafor]}}
  pump-9: {require: {engineering: 1, quality: 1}, people: {engineering: [rivera], quality: [chen, okafor]}, sbom: none, bins: 16}
`

// world is a deployment: its people's keys, and a server's published files.
type world struct {
	t      testing.TB
	files  map[string][]byte
	online *event.OnlineKeys
	// server remembers what was used up, as a server does.
	server *event.History
	dir    string
}

func newWorld(t testing.TB) *world {
	online := keysOf(t, "server")
	return &world{
		t: t, files: map[string][]byte{}, server: &event.History{}, dir: t.TempDir(),
		online: &event.OnlineKeys{Image: online.Public.Image, Director: online.Public.Director, TLS: []string{strings.Repeat("ab", 32)}},
	}
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

// read returns the public key files that a plan names. NAME.pub may hold person@n for another key.
func (w *world) read(file string) ([]byte, error) {
	id := strings.TrimSuffix(file, ".pub")
	if id == "online" {
		o := event.Online{Deployment: "acme", URL: "https://updates.example", Image: w.online.Image, Director: w.online.Director, TLS: w.online.TLS}
		return o.Bytes()
	}
	return keysOf(w.t, id).Public.Bytes()
}

func (w *world) plan(text string) *event.Plan {
	w.t.Helper()
	p, err := event.ParsePlan("plan.yaml", []byte(text), w.read)
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

func (w *world) opening() event.Opening { return event.Opening{Now: now, Memory: w.server} }

// opened judges an event as the server does when it is opened.
func (w *world) opened(e *event.Event) (*event.Judgement, error) {
	w.t.Helper()
	return event.Judge(w.carry(e), w.state(), event.Options{Now: now, Memory: w.server, Online: w.online, Opening: true})
}

// carry sends an event through its file form.
func (w *world) carry(e *event.Event) *event.Event {
	w.t.Helper()
	data, err := e.Bytes()
	if err != nil {
		w.t.Fatal(err)
	}
	read, err := event.Parse(data)
	if err != nil {
		w.t.Fatal(err)
	}
	return read
}

// sign signs an event file on the machine of a person without network, and returns the signed copy.
func (w *world) sign(e *event.Event, id string, h *event.History) *event.Event {
	w.t.Helper()
	signed, err := w.trySign(e, id, h)
	if err != nil {
		w.t.Fatalf("%s signs: %v [%s]", id, err, reason.Of(err))
	}
	return signed
}

func (w *world) trySign(e *event.Event, id string, h *event.History) (*event.Event, error) {
	w.t.Helper()
	e = w.carry(e)
	if h == nil {
		h = &event.History{}
	}
	s, err := event.StateFromBase(e, h.Pins())
	if err != nil {
		return nil, err
	}
	j, err := event.Judge(e, s, event.Options{Now: now, Memory: h})
	if err != nil {
		return nil, err
	}
	h.Saw(s)
	signers, err := keysOf(w.t, id).Signers()
	if err != nil {
		return nil, err
	}
	sigs, approval, err := event.Sign(j, signers, event.SignOptions{Reason: "record 8812", Now: now, Memory: h})
	if err != nil {
		return nil, err
	}
	h.Sign(j, sigs)
	for _, out := range j.Add(sigs, []envelope{*approval}) {
		if out.Err != nil {
			return nil, out.Err
		}
	}
	return j.Event, nil
}

// publish merges copies of an event, judges them as a server does, and makes it public.
func (w *world) publish(copies ...*event.Event) *event.Judgement {
	w.t.Helper()
	j, err := w.tryPublish(copies...)
	if err != nil {
		w.t.Fatalf("publish: %v [%s]", err, reason.Of(err))
	}
	return j
}

func (w *world) tryPublish(copies ...*event.Event) (*event.Judgement, error) {
	w.t.Helper()
	var carried []*event.Event
	for _, c := range copies {
		carried = append(carried, w.carry(c))
	}
	e, err := event.Merge(carried...)
	if err != nil {
		return nil, err
	}
	j, err := event.Judge(e, w.state(), event.Options{Now: now, Memory: w.server, Online: w.online, Opening: true})
	if err != nil {
		return nil, err
	}
	if len(j.Refused) > 0 {
		return nil, j.Refused[0].Err
	}
	if err := j.Publishable(); err != nil {
		return nil, err
	}
	for i, f := range j.Files {
		data, err := j.PublishedFile(i)
		if err != nil {
			return nil, err
		}
		w.files[string(f.Repository)+"/"+f.Role] = data
		if f.Role == metadata.Root {
			w.files[fmt.Sprintf("%s/%d.root", f.Repository, f.NewVersion)] = data
		}
	}
	// What the server records of signatures.
	w.server.Sign(j, j.Event.Signatures)
	return j, nil
}

// founded keeps what found made, by plan: most tests begin with one of a few.
var founded sync.Map

type foundation struct {
	files   map[string][]byte
	history []byte
}

// found founds the deployment of a plan.
func (w *world) found(plan string) *event.Plan {
	w.t.Helper()
	p := w.plan(plan)
	if f, ok := founded.Load(plan); ok {
		w.files = maps.Clone(f.(foundation).files)
		h, err := event.ParseHistory(f.(foundation).history)
		if err != nil {
			w.t.Fatal(err)
		}
		w.server = h
		return p
	}
	defer func() {
		history, err := w.server.Bytes()
		if err != nil {
			w.t.Fatal(err)
		}
		founded.Store(plan, foundation{maps.Clone(w.files), history})
	}()
	e, err := event.NewInit(p, w.opening())
	if err != nil {
		w.t.Fatal(err)
	}
	w.publish(w.sign(e, "rivera", nil), w.sign(e, "chen", nil), w.sign(e, "okafor", nil))
	return p
}

// write makes a file in the world's folder.
func (w *world) write(name, content string) string {
	w.t.Helper()
	path := filepath.Join(w.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		w.t.Fatal(err)
	}
	return path
}

const basicSpec = `spread_hours: 24
class: security
fixes: [CVE-2026-0001]
conditions: {battery_percent_min: 40, idle: true, downtime_seconds: 180}
evidence: {sbom: gw.cdx.json}
targets:
- {file: build/gw.img, component: main, hardware: [gw-100-c, gw-100-d], installer: slot, installer_args: {}}
`

func (w *world) spec(text string) *event.Spec {
	w.t.Helper()
	path := w.write("release.yaml", text)
	s, err := event.LoadSpec(path)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// release opens a release of gw-100 whose firmware is the version's text.
func (w *world) release(version, spec string) *event.Event {
	w.t.Helper()
	w.write("build/gw.img", "firmware "+version)
	w.write("gw.cdx.json", "{}")
	e, err := event.NewRelease("gw-100", version, w.spec(spec), w.state(), w.opening())
	if err != nil {
		w.t.Fatal(err)
	}
	return e
}

// released publishes a release of gw-100.
func (w *world) released(version string) {
	w.t.Helper()
	e := w.release(version, basicSpec)
	w.publish(w.sign(e, "rivera", nil), w.sign(e, "chen", nil))
}

func wantReason(t *testing.T, err error, want reason.Reason) {
	t.Helper()
	if got := reason.Of(err); got != want {
		t.Errorf("reason %q, want %q: %v", got, want, err)
	}
}
