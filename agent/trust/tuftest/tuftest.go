// Package tuftest builds and serves repositories of plain TUF, made with go-tuf's types, for tests of
// clients that are no part of Countersign's profile. (metadatatest builds those of the profile.)
//
// Start with New, change the exported roles, Publish them, and let a client talk to Handler, which
// writes down what was asked. Wrong use ends the test through testing.TB.
package tuftest

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"fmt"
	"testing"
	"time"

	"github.com/sigstore/sigstore/pkg/signature"
	tuf "github.com/theupdateframework/go-tuf/v2/metadata"
)

// Key is a private key with its public half as TUF has it.
type Key struct {
	Signer signature.Signer
	Public *tuf.Key
	ID     string
}

// Repo is a repository. Its zero options are: consistent snapshots, no lengths and hashes in snapshot
// and timestamp, which TUF permits. It is not safe for concurrent changes while it serves.
type Repo struct {
	Root      *tuf.Metadata[tuf.RootType]
	Timestamp *tuf.Metadata[tuf.TimestampType]
	Snapshot  *tuf.Metadata[tuf.SnapshotType]
	// Roles are targets and the delegated roles.
	Roles map[string]*tuf.Metadata[tuf.TargetsType]
	// Keys sign a role; they need not be those that its delegator names.
	Keys map[string][]*Key
	// Hashes makes Publish state length and SHA-256 in snapshot and timestamp.
	Hashes bool

	t testing.TB
	// versions are the published files of a role, by version.
	versions map[string]map[int64][]byte
	targets  map[string][]byte
	newest   map[string]int64
	log      []string
}

// New makes and publishes version 1 of the four roles, with one Ed25519 key each, valid for 30 days.
func New(t testing.TB, now time.Time) *Repo {
	expires := now.Add(30 * 24 * time.Hour).UTC().Truncate(time.Second)
	r := &Repo{
		Root: tuf.Root(expires), Timestamp: tuf.Timestamp(expires), Snapshot: tuf.Snapshot(expires),
		Roles: map[string]*tuf.Metadata[tuf.TargetsType]{"targets": tuf.Targets(expires)},
		Keys:  map[string][]*Key{}, t: t,
		versions: map[string]map[int64][]byte{}, targets: map[string][]byte{}, newest: map[string]int64{},
	}
	for _, role := range []string{"root", "timestamp", "snapshot", "targets"} {
		r.Rotate(role)
	}
	r.Publish("targets", "snapshot", "timestamp", "root")
	return r
}

// Ed25519, ECDSA and RSA are kinds of keys for NewKey.
const (
	Ed25519 = "ed25519"
	ECDSA   = "ecdsa"
	RSA     = "rsa"
)

// NewKey makes a key.
func (r *Repo) NewKey(kind string) *Key {
	r.t.Helper()
	var private crypto.Signer
	var signer signature.Signer
	var err error
	switch kind {
	case Ed25519:
		var k ed25519.PrivateKey
		_, k, err = ed25519.GenerateKey(rand.Reader)
		r.check(err)
		private = k
		signer, err = signature.LoadSigner(k, crypto.SHA256)
	case ECDSA:
		var k *ecdsa.PrivateKey
		k, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		r.check(err)
		private = k
		signer, err = signature.LoadSigner(k, crypto.SHA256)
	default:
		var k *rsa.PrivateKey
		k, err = rsa.GenerateKey(rand.Reader, 2048)
		r.check(err)
		private = k
		signer, err = signature.LoadRSAPSSSigner(k, crypto.SHA256, &rsa.PSSOptions{Hash: crypto.SHA256})
	}
	r.check(err)
	public, err := tuf.KeyFromPublicKey(private.Public())
	r.check(err)
	id, err := public.ID()
	r.check(err)
	return &Key{Signer: signer, Public: public, ID: id}
}

// Trust puts keys into root for a top-level role and makes them sign it.
func (r *Repo) Trust(role string, threshold int, keys ...*Key) {
	entry := r.Root.Signed.Roles[role]
	entry.KeyIDs, entry.Threshold = nil, threshold
	r.Keys[role] = keys
	for _, k := range keys {
		r.Root.Signed.Keys[k.ID] = k.Public
		entry.KeyIDs = append(entry.KeyIDs, k.ID)
	}
}

// Rotate gives a top-level role one new key and threshold 1.
func (r *Repo) Rotate(role string) { r.Trust(role, 1, r.NewKey(Ed25519)) }

// Delegate adds a delegation to a role, which is made if it is new, with a key of its own.
func (r *Repo) Delegate(delegator string, d tuf.DelegatedRole) {
	signed := &r.Roles[delegator].Signed
	if signed.Delegations == nil {
		signed.Delegations = &tuf.Delegations{Keys: map[string]*tuf.Key{}}
	}
	if len(r.Keys[d.Name]) == 0 {
		r.Keys[d.Name] = []*Key{r.NewKey(Ed25519)}
	}
	for _, k := range r.Keys[d.Name] {
		signed.Delegations.Keys[k.ID] = k.Public
		d.KeyIDs = append(d.KeyIDs, k.ID)
	}
	if d.Threshold == 0 {
		d.Threshold = 1
	}
	signed.Delegations.Roles = append(signed.Delegations.Roles, d)
	r.make(d.Name)
}

// Bins delegates all targets of a role to succinct hash bins, and makes the bins.
func (r *Repo) Bins(delegator string, bits int, prefix string) {
	k := r.NewKey(Ed25519)
	s := &tuf.SuccinctRoles{KeyIDs: []string{k.ID}, Threshold: 1, BitLength: bits, NamePrefix: prefix}
	r.Roles[delegator].Signed.Delegations = &tuf.Delegations{Keys: map[string]*tuf.Key{k.ID: k.Public}, SuccinctRoles: s}
	digits := (bits + 3) / 4
	for n := range 1 << bits {
		name := fmt.Sprintf("%s-%0*x", prefix, digits, n)
		r.Keys[name] = []*Key{k}
		r.make(name)
	}
}

func (r *Repo) make(role string) {
	if r.Roles[role] == nil {
		r.Roles[role] = tuf.Targets(r.Root.Signed.Expires)
	}
}

// AddTarget lists a target in a role and serves its bytes.
func (r *Repo) AddTarget(role, path string, data []byte) {
	sum := sha256.Sum256(data)
	r.Roles[role].Signed.Targets[path] = &tuf.TargetFiles{Length: int64(len(data)), Hashes: tuf.Hashes{"sha256": sum[:]}}
	r.Serve(path, data)
}

// Serve serves bytes under a target path without listing them.
func (r *Repo) Serve(path string, data []byte) { r.targets[path] = data }

// Publish signs and serves the roles in this order, each with the next version, and writes it into
// snapshot or timestamp, which are to be published after it.
func (r *Repo) Publish(roles ...string) {
	r.t.Helper()
	for _, role := range roles {
		r.Put(role, r.newest[role]+1)
	}
}

// Put is Publish of one role with a version that may be any.
func (r *Repo) Put(role string, version int64) {
	r.t.Helper()
	var data []byte
	switch role {
	case "root":
		r.Root.Signed.Version = version
		data = encode(r, r.Root, role)
	case "timestamp":
		r.Timestamp.Signed.Version = version
		data = encode(r, r.Timestamp, role)
	case "snapshot":
		r.Snapshot.Signed.Version = version
		data = encode(r, r.Snapshot, role)
		r.Timestamp.Signed.Meta["snapshot.json"] = r.metaOf(data, version)
	default:
		r.Roles[role].Signed.Version = version
		data = encode(r, r.Roles[role], role)
		r.Snapshot.Signed.Meta[role+".json"] = r.metaOf(data, version)
	}
	r.PutFile(role, version, data)
}

// PutFile serves any bytes as a version of a role.
func (r *Repo) PutFile(role string, version int64, data []byte) {
	if r.versions[role] == nil {
		r.versions[role] = map[int64][]byte{}
	}
	r.versions[role][version] = data
	r.newest[role] = version
}

// File returns a published version of a role; version 0 is the newest.
func (r *Repo) File(role string, version int64) []byte {
	if version == 0 {
		version = r.newest[role]
	}
	return r.versions[role][version]
}

func (r *Repo) metaOf(data []byte, version int64) *tuf.MetaFiles {
	m := &tuf.MetaFiles{Version: version}
	if r.Hashes {
		sum := sha256.Sum256(data)
		m.Length, m.Hashes = int64(len(data)), tuf.Hashes{"sha256": sum[:]}
	}
	return m
}

// encode signs a role with its keys and writes it indented, as not every server compacts.
func encode[T tuf.Roles](r *Repo, m *tuf.Metadata[T], role string) []byte {
	r.t.Helper()
	m.Signatures = []tuf.Signature{}
	for _, k := range r.Keys[role] {
		_, err := m.Sign(k.Signer)
		r.check(err)
	}
	data, err := m.ToBytes(true)
	r.check(err)
	return bytes.TrimSpace(data)
}

func (r *Repo) check(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatalf("tuftest: %v", err)
	}
}
