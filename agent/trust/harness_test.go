package trust_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/countersign-ota/countersign/agent/trust"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/metadata/metadatatest"
	"github.com/countersign-ota/countersign/proto/reason"
)

// What published makes: one image to install, one that was stopped, one in a bin.
const (
	firmware = "gw-100/2.4.1/gw.img"
	stopped  = "gw-100/2.4.0/gw.img"
	binned   = "pump-9/1.0.0/gw.img"
)

// theBin is the role that lists binned.
var theBin = metadata.BinOf(&tuf.SuccinctRoles{BitLength: 4, NamePrefix: "pump-9.bin"}, binned)

// server serves what a deployment publishes at the moment of each request, and writes requests down.
type server struct {
	d   *metadatatest.Deployment
	log []string
	// swap answers a path otherwise; nil bytes are a missing file.
	swap map[string][]byte
	// broken ends every request for a path with a network error.
	broken map[string]bool
}

func serve(d *metadatatest.Deployment) *server {
	return &server{d: d, swap: map[string][]byte{}, broken: map[string]bool{}}
}

func (s *server) Fetch(_ context.Context, role string, version, max int64) ([]byte, error) {
	path := fetchPath(role, version)
	s.log = append(s.log, path)
	if s.broken[path] {
		return nil, reason.Errorf(reason.Unreachable, "connection reset")
	}
	data, ok := s.swap[path]
	if !ok {
		data = s.d.Files()[path]
	}
	if data == nil {
		return nil, fmt.Errorf("%s: %w", path, trust.ErrNotFound)
	}
	if int64(len(data)) > max {
		return nil, reason.Errorf(reason.TooLarge, "%s: more than %d bytes", path, max)
	}
	return data, nil
}

// fetchPath is where the TUF layout has a role file.
func fetchPath(role string, version int64) string {
	if version == 0 {
		return role + ".json"
	}
	return fmt.Sprintf("%d.%s.json", version, role)
}

// device is an agent as far as trust is concerned: a folder of role files and a record.
type device struct {
	t      testing.TB
	dir    string
	root   []byte
	now    time.Time
	record map[string]trust.InForce
	store  trust.Store
	last   *trust.Client
}

func newDevice(t testing.TB, d *metadatatest.Deployment) *device {
	dir := t.TempDir()
	return &device{t: t, dir: dir, root: d.Root(metadata.Image, 1), now: d.Now, store: &trust.FileStore{Dir: dir}}
}

func (v *device) config() trust.Config {
	return trust.Config{
		Deployment: "acme", Repository: metadata.Image, Root: v.root, Store: v.store,
		Now: func() time.Time { return v.now }, Versions: v.record,
	}
}

// cycle is one poll of an agent that is instructed to install paths: a new client, and the record
// after every call.
func (v *device) cycle(f trust.Fetcher, paths ...string) error {
	v.t.Helper()
	c, err := trust.New(v.config())
	if err != nil {
		return err
	}
	v.last = c
	defer func() { v.record = c.InForce() }()
	if err := c.Refresh(context.Background(), f); err != nil {
		return err
	}
	for _, path := range paths {
		if _, err := c.Target(context.Background(), f, path); err != nil {
			return err
		}
	}
	return nil
}

func (v *device) mustCycle(f trust.Fetcher, paths ...string) {
	v.t.Helper()
	if err := v.cycle(f, paths...); err != nil {
		v.t.Fatalf("good cycle: %v [%s]", err, reason.Of(err))
	}
}

// files returns the role files on disk by role.
func (v *device) files() map[string][]byte {
	v.t.Helper()
	found, err := filepath.Glob(filepath.Join(v.dir, "*"))
	if err != nil {
		v.t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, path := range found {
		data, err := os.ReadFile(path)
		if err != nil {
			v.t.Fatal(err)
		}
		role, ok := strings.CutSuffix(filepath.Base(path), ".json")
		if !ok {
			v.t.Errorf("left behind: %s", path)
		}
		files[role] = data
	}
	return files
}

// changed returns the roles whose file on disk is not what it was, sorted.
func changed(before, after map[string][]byte) []string {
	roles := maps.Clone(before)
	maps.Copy(roles, after)
	var names []string
	for role := range roles {
		if !bytes.Equal(before[role], after[role]) {
			names = append(names, role)
		}
	}
	slices.Sort(names)
	return names
}

// checkRecord makes sure that the record never goes back and names what is on disk.
func (v *device) checkRecord(before map[string]trust.InForce) {
	v.t.Helper()
	files := v.files()
	for role, old := range before {
		if now, ok := v.record[role]; !ok || now.Version < old.Version {
			v.t.Errorf("record of %s went from version %d to %d", role, old.Version, now.Version)
		}
	}
	for role, now := range v.record {
		if data, ok := files[role]; !ok || sha256.Sum256(data) != now.SHA256 {
			v.t.Errorf("record of %s, version %d, is not the file on disk", role, now.Version)
		}
	}
}

// published makes a deployment with two products, the first with releases. Two of them are equal to
// the last byte, so that one can stay honest while the other is attacked.
func published(t testing.TB) *metadatatest.Deployment {
	d := metadatatest.New(t, metadatatest.Options{})
	d.AddProduct("gw-100", metadatatest.Product{})
	d.AddProduct("pump-9", metadatatest.Product{Bins: 16})
	d.Release("gw-100", "2.4.0", 16, metadatatest.Target{Data: []byte("old firmware")})
	d.Release("gw-100", "2.4.1", 17, metadatatest.Target{Data: []byte("firmware")})
	d.Stop(stopped, "leaks")
	d.Release("pump-9", "1.0.0", 1, metadatatest.Target{Data: []byte("pump firmware")})
	return d
}

// goOn publishes newer versions of everything that a device may meet, above what an attack may have
// made it take.
func goOn(d *metadatatest.Deployment) {
	for range 4 {
		for _, role := range []string{metadata.Targets, "gw-100", "gw-100.stop", "pump-9", theBin} {
			d.Change(role, func(*metadata.TargetsRole) {})
		}
	}
}

// countingStore counts what is written.
type countingStore struct {
	trust.Store
	writes int
}

func (s *countingStore) Save(role string, data []byte) error {
	s.writes++
	return s.Store.Save(role, data)
}

func (s *countingStore) Drop(role string) error {
	s.writes++
	return s.Store.Drop(role)
}

// resign returns the newest file of a role signed by another key alone.
func resign[T tuf.Roles](t testing.TB, d *metadatatest.Deployment, role, who string) []byte {
	t.Helper()
	f, err := metadata.Parse[T](d.File(metadata.Image, role), metadata.Profile)
	if err != nil {
		t.Fatal(err)
	}
	k := d.Key(who, metadata.Image)
	sig, err := metadata.Sign(f.Canonical(), k.Signer, k.Public)
	if err != nil {
		t.Fatal(err)
	}
	data, err := metadata.Encode[T](f.Canonical(), []metadata.Signature{sig})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// exampleKey returns one of the keys of keys-example, whose seeds everybody knows.
func exampleKey(t testing.TB) (string, *metadata.Key) {
	t.Helper()
	seed := sha256.Sum256([]byte("countersign example key: rivera image"))
	k, err := metadata.NewKey(ed25519.NewKeyFromSeed(seed[:]).Public())
	if err != nil {
		t.Fatal(err)
	}
	id, err := metadata.KeyID(k)
	if err != nil {
		t.Fatal(err)
	}
	return id, k
}
