// Package metadatatest builds signed repositories in memory for tests: a deployment with named people
// and keys made from their names, image root chain, director root, top-level targets, products (flat
// or binned), stop lists, releases, snapshot and timestamp.
//
// Start with New, then AddProduct and Release; Files is what an HTTPS server in the TUF layout would
// serve. Every method that changes a role publishes at once: it writes the next version of the role,
// of the snapshot and of the timestamp. The methods of attack.go tamper, sign again, roll back, expire
// and rotate. Wrong use ends the test through testing.TB.
//
// The keys are deterministic and worthless; they are not those of keys-example, which server and agent
// refuse.
package metadatatest

import (
	"crypto/ed25519"
	"crypto/sha256"
	"slices"
	"testing"
	"time"

	"github.com/sigstore/sigstore/pkg/signature"
	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/countersign-ota/countersign/proto/metadata"
)

// Lifetimes of new files, as DESIGN 1.5 has them.
const (
	day          = 24 * time.Hour
	offlineLife  = 365 * day
	snapshotLife = 30 * day
	timeLife     = 7 * day
)

// Key is a private key and its public half.
type Key struct {
	// Who is whose it is: a person's id, or "online".
	Who     string
	Private ed25519.PrivateKey
	Public  *metadata.Key
	ID      string
	Signer  metadata.Signer
}

// NewKey makes the key of a name in a repository; the same one on every call.
func NewKey(t testing.TB, who string, r metadata.Repository) *Key {
	t.Helper()
	seed := sha256.Sum256([]byte("countersign test key: " + who + " " + string(r)))
	private := ed25519.NewKeyFromSeed(seed[:])
	public, err := metadata.NewKey(private.Public())
	check(t, err)
	id, err := metadata.KeyID(public)
	check(t, err)
	signer, err := signature.LoadED25519Signer(private)
	check(t, err)
	return &Key{Who: who, Private: private, Public: public, ID: id, Signer: signer}
}

// Options are what New makes. The zero value stands for the deployment of the documents: "acme", with
// holders rivera, chen and okafor, of whom two sign roots and targets.
type Options struct {
	Deployment string
	// Now is when the files are made; the zero value is 2026-11-25 12:00 UTC.
	Now time.Time
	// Holders are the people of class holder, HoldersNeeded how many must sign.
	Holders       []string
	HoldersNeeded int
	// TLS are the anchors of the director root; nil for none.
	TLS []string
}

// Deployment is the published state of both repositories. It is not safe for concurrent use.
type Deployment struct {
	Name string
	// Now is the time from which expiries of new files are counted; tests may move it.
	Now time.Time

	t       testing.TB
	keys    map[string]*Key // every key that was used, by key id
	holders []string
	need    int
	online  map[metadata.Repository]string
	// current is the newest file of each role of the image repository and of the director's root.
	current map[name][]byte
	files   map[metadata.Repository]map[string][]byte
	frozen  bool
}

type name struct {
	repository metadata.Repository
	role       string
}

// New makes a deployment with both roots, empty top-level targets, snapshot and timestamp.
func New(t testing.TB, o Options) *Deployment {
	t.Helper()
	if o.Deployment == "" {
		o.Deployment = "acme"
	}
	if o.Now.IsZero() {
		o.Now = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	}
	if o.Holders == nil {
		o.Holders = []string{"rivera", "chen", "okafor"}
	}
	if o.HoldersNeeded == 0 {
		o.HoldersNeeded = 2
	}
	d := &Deployment{
		Name: o.Deployment, Now: o.Now, t: t, keys: map[string]*Key{}, holders: o.Holders, need: o.HoldersNeeded,
		online:  map[metadata.Repository]string{metadata.Image: "online", metadata.Director: "online"},
		current: map[name][]byte{},
		files:   map[metadata.Repository]map[string][]byte{metadata.Image: {}, metadata.Director: {}},
	}
	for _, r := range []metadata.Repository{metadata.Image, metadata.Director} {
		root := d.newRoot(r)
		if r == metadata.Director && o.TLS != nil {
			root.UnrecognizedFields[metadata.TLSField] = metadata.TLSValue(o.TLS)
		}
		store(d, r, metadata.Root, *root, d.signersOfRoot(root))
	}
	targets := tuf.Targets(d.Now.Add(offlineLife)).Signed
	targets.UnrecognizedFields = d.scope(metadata.Image, metadata.Targets)
	targets.Delegations = &tuf.Delegations{Keys: map[string]*metadata.Key{}, Roles: []tuf.DelegatedRole{}}
	store(d, metadata.Image, metadata.Targets, targets, d.signers(metadata.Image, metadata.Targets))
	d.Publish()
	return d
}

// Key returns the key of a person, or of "online", in a repository.
func (d *Deployment) Key(who string, r metadata.Repository) *Key {
	d.t.Helper()
	k := NewKey(d.t, who, r)
	d.keys[k.ID] = k
	return k
}

// Online returns the online key in force.
func (d *Deployment) Online(r metadata.Repository) *Key {
	d.t.Helper()
	return d.Key(d.online[r], r)
}

func (d *Deployment) scope(r metadata.Repository, role string) map[string]any {
	return map[string]any{metadata.ScopeField: metadata.Scope(d.Name, r, role)}
}

// quorum makes the quorum of people by class, and puts their keys into keys.
func (d *Deployment) quorum(r metadata.Repository, keys map[string]*metadata.Key, require map[string]int, people map[string][]string) *metadata.Quorum {
	d.t.Helper()
	meanings := map[string]string{"holder": "approved", "engineering": "authored", "quality": "approved", "stop": "stopped"}
	q := &metadata.Quorum{Require: require, Meaning: map[string]string{}}
	for _, class := range sortedKeys(require) {
		q.Meaning[class] = meanings[class]
		if q.Meaning[class] == "" {
			q.Meaning[class] = "approved"
		}
		for _, who := range people[class] {
			k := d.Key(who, r)
			keys[k.ID] = k.Public
			q.People = append(q.People, metadata.Person{ID: who, Class: class, KeyID: k.ID, Name: "Dr. " + who})
		}
	}
	return q
}

func keyIDs(q *metadata.Quorum) []string {
	var ids []string
	for _, p := range q.People {
		ids = append(ids, p.KeyID)
	}
	slices.Sort(ids)
	return ids
}

func (d *Deployment) newRoot(r metadata.Repository) *metadata.RootRole {
	d.t.Helper()
	root := tuf.Root(d.Now.Add(offlineLife)).Signed
	root.UnrecognizedFields = d.scope(r, metadata.Root)
	q := d.quorum(r, root.Keys, map[string]int{"holder": d.need}, map[string][]string{"holder": d.holders})
	online := d.Online(r)
	root.Keys[online.ID] = online.Public
	quorums := map[string]any{metadata.Root: q.Field()}
	for role, entry := range root.Roles {
		entry.KeyIDs, entry.Threshold = []string{online.ID}, 1
		if role == metadata.Root || (role == metadata.Targets && r == metadata.Image) {
			entry.KeyIDs, entry.Threshold = keyIDs(q), q.Threshold()
			quorums[role] = q.Field()
		}
	}
	root.UnrecognizedFields[metadata.QuorumField] = quorums
	return &root
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("metadatatest: %v", err)
	}
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
