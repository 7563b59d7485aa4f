package trust_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"testing"
	"time"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/countersign-ota/countersign/agent/trust"
	"github.com/countersign-ota/countersign/agent/trust/tuftest"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// plainFetcher serves a plain repository without a network.
type plainFetcher struct {
	repo *tuftest.Repo
	log  []string
}

func (p *plainFetcher) Fetch(_ context.Context, role string, version, max int64) ([]byte, error) {
	p.log = append(p.log, role)
	data := p.repo.File(role, version)
	if data == nil {
		return nil, trust.ErrNotFound
	}
	if int64(len(data)) > max {
		return nil, reason.Errorf(reason.TooLarge, "more than %d bytes", max)
	}
	return data, nil
}

// plainClient is a client of plain TUF that is refreshed.
func plainClient(t *testing.T, repo *tuftest.Repo, now time.Time) (*trust.Client, *plainFetcher, memory) {
	t.Helper()
	store := memory{}
	c, err := trust.New(trust.Config{Mode: metadata.Plain, Root: repo.File("root", 1), Store: store, Now: func() time.Time { return now }})
	must(t, err)
	p := &plainFetcher{repo: repo}
	must(t, c.Refresh(context.Background(), p))
	p.log = nil
	return c, p, store
}

var plainNow = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

func TestPathPatterns(t *testing.T) {
	for _, tt := range []struct {
		pattern, path string
		want          bool
	}{
		{"*", "x", true},
		{"*", "a/x", false},
		{"a/*", "a/x", true},
		{"a/*", "a/b/x", false},
		{"a/*/x", "a/b/x", true},
		{"targets/*.tgz", "targets/foo.tgz", true},
		{"targets/*.tgz", "targets/foo.txt", false},
		{"foo-version-?.tgz", "foo-version-2.tgz", true},
		{"foo-version-?.tgz", "foo-version-alpha.tgz", false},
		{"?", "/", false},
		{"a/b", "a/b", true},
		{"/a", "a", false},
		{"[!a]x", "bx", true},
		{"[!a]x", "ax", false},
		{"[a-c]x", "bx", true},
		{`a\*`, `a\bc`, true},
		{"[", "[", false},
		{"", "x", false},
	} {
		t.Run(fmt.Sprintf("%q for %q", tt.pattern, tt.path), func(t *testing.T) {
			repo := tuftest.New(t, plainNow)
			repo.Delegate("targets", tuf.DelegatedRole{Name: "role", Paths: []string{tt.pattern}})
			repo.AddTarget("role", tt.path, []byte("x"))
			repo.Publish("role", "targets", "snapshot", "timestamp")
			c, p, _ := plainClient(t, repo, plainNow)
			_, err := c.Target(context.Background(), p, tt.path)
			if got := err == nil; got != tt.want || (!got && !reason.Is(err, reason.NotFound)) {
				t.Errorf("found %t, want %t: %v", got, tt.want, err)
			}
		})
	}
}

// go-tuf compares these prefixes with base64; the specification says hex.
func TestPathHashPrefixes(t *testing.T) {
	repo := tuftest.New(t, plainNow)
	digits := fmt.Sprintf("%x", sha256.Sum256([]byte("a/b/x")))
	other := "0"
	if digits[0] == '0' {
		other = "1"
	}
	repo.Delegate("targets", tuf.DelegatedRole{Name: "other", PathHashPrefixes: []string{other, digits[:4] + "zz"}})
	repo.Delegate("targets", tuf.DelegatedRole{Name: "bin", PathHashPrefixes: []string{"zz", digits[:3]}})
	repo.AddTarget("bin", "a/b/x", []byte("x"))
	repo.Publish("other", "bin", "targets", "snapshot", "timestamp")
	c, p, _ := plainClient(t, repo, plainNow)
	got, err := c.Target(context.Background(), p, "a/b/x")
	must(t, err)
	if got.Role != "bin" || !slices.Equal(p.log, []string{"bin"}) {
		t.Errorf("found in %q after requests %q", got.Role, p.log)
	}
}

func TestSuccinctBins(t *testing.T) {
	for _, bits := range []int{1, 3, 8} {
		repo := tuftest.New(t, plainNow)
		repo.Bins("targets", bits, "bin")
		want := metadata.BinOf(repo.Roles["targets"].Signed.Delegations.SuccinctRoles, "a/x")
		repo.AddTarget(want, "a/x", []byte("x"))
		repo.Publish(want, "targets", "snapshot", "timestamp")
		c, p, _ := plainClient(t, repo, plainNow)
		got, err := c.Target(context.Background(), p, "a/x")
		must(t, err)
		if got.Role != want || !slices.Equal(p.log, []string{want}) {
			t.Errorf("%d bits: found in %q after requests %q, want %q", bits, got.Role, p.log, want)
		}
	}
}

// trustedmetadata keeps roles by name: what verified for one delegator says nothing for another.
func TestRoleIsVerifiedAgainForAnotherDelegator(t *testing.T) {
	repo := tuftest.New(t, plainNow)
	repo.Delegate("targets", tuf.DelegatedRole{Name: "a", Paths: []string{"a/*"}})
	repo.Delegate("targets", tuf.DelegatedRole{Name: "b", Paths: []string{"b/*"}})
	repo.Delegate("targets", tuf.DelegatedRole{Name: "d", Paths: []string{"d/*"}})
	mine := repo.NewKey(tuftest.Ed25519)
	repo.Keys["shared"] = []*tuftest.Key{mine}
	repo.Delegate("a", tuf.DelegatedRole{Name: "shared", Paths: []string{"a/*"}})
	repo.Delegate("d", tuf.DelegatedRole{Name: "shared", Paths: []string{"d/*"}})
	repo.Keys["shared"] = []*tuftest.Key{repo.NewKey(tuftest.Ed25519)}
	repo.Delegate("b", tuf.DelegatedRole{Name: "shared", Paths: []string{"b/*"}})
	repo.Keys["shared"] = []*tuftest.Key{mine}
	for _, path := range []string{"a/x", "b/x", "d/x"} {
		repo.AddTarget("shared", path, []byte("x"))
	}
	repo.Publish("shared", "a", "b", "d", "targets", "snapshot", "timestamp")

	c, p, _ := plainClient(t, repo, plainNow)
	for _, path := range []string{"a/x", "d/x"} {
		_, err := c.Target(context.Background(), p, path)
		must(t, err)
	}
	if want := []string{"a", "shared", "d"}; !slices.Equal(p.log, want) {
		t.Errorf("requests %q, want %q", p.log, want)
	}
	if _, err := c.Target(context.Background(), p, "b/x"); !reason.Is(err, reason.Threshold) {
		t.Errorf("through the other delegator: %v [%s], want %s", err, reason.Of(err), reason.Threshold)
	}
}

func TestSearchVisitsABoundedNumberOfRoles(t *testing.T) {
	repo := tuftest.New(t, plainNow)
	var roles []string
	for i := range 40 {
		name := fmt.Sprintf("role-%02d", i)
		repo.Delegate("targets", tuf.DelegatedRole{Name: name, Paths: []string{"*"}})
		roles = append(roles, name)
	}
	repo.AddTarget("role-31", "near", []byte("x"))
	repo.AddTarget("role-32", "far", []byte("x"))
	repo.Publish(append(roles, "targets", "snapshot", "timestamp")...)
	c, p, _ := plainClient(t, repo, plainNow)
	_, err := c.Target(context.Background(), p, "near")
	must(t, err)
	if _, err := c.Target(context.Background(), p, "far"); !reason.Is(err, reason.NotFound) || len(p.log) != 32 {
		t.Errorf("after %d requests: %v, want %s after 32", len(p.log), err, reason.NotFound)
	}
}

// Plain TUF discards an expired file (TUF 5.4.4, 5.5.6, 5.6.5); the profile keeps it as a bound.
func TestPlainDiscardsExpiredFiles(t *testing.T) {
	for _, role := range []string{"timestamp", "snapshot", "targets", "delegated"} {
		t.Run(role, func(t *testing.T) {
			repo := tuftest.New(t, plainNow)
			repo.Delegate("targets", tuf.DelegatedRole{Name: "delegated", Paths: []string{"*"}})
			past := plainNow.Add(-time.Hour)
			switch role {
			case "timestamp":
				repo.Timestamp.Signed.Expires = past
			case "snapshot":
				repo.Snapshot.Signed.Expires = past
			default:
				repo.Roles[role] = tuf.Targets(past)
			}
			repo.Publish("delegated", "targets", "snapshot", "timestamp")
			store := memory{}
			c, err := trust.New(trust.Config{Mode: metadata.Plain, Root: repo.File("root", 1), Store: store, Now: func() time.Time { return plainNow }})
			must(t, err)
			p := &plainFetcher{repo: repo}
			if err = c.Refresh(context.Background(), p); err == nil {
				_, err = c.Target(context.Background(), p, "x")
			}
			if !reason.Is(err, reason.Expired) || store[role] != nil {
				t.Errorf("error %v [%s], stored %t", err, reason.Of(err), store[role] != nil)
			}
		})
	}
}

// go-tuf refuses a role of which one key is of a kind that it does not know, even where the others are
// enough; its word counts beside ours.
func TestUnknownKeyTypeIsRefusedByGoTUF(t *testing.T) {
	repo := tuftest.New(t, plainNow)
	k := repo.NewKey(tuftest.Ed25519)
	strange := &tuf.Key{Type: "ml-dsa-65", Scheme: "ml-dsa-65", Value: tuf.KeyVal{PublicKey: "00"}}
	id, err := strange.ID()
	must(t, err)
	repo.Trust("snapshot", 1, k, &tuftest.Key{Public: strange, ID: id})
	repo.Keys["snapshot"] = []*tuftest.Key{k}
	repo.Publish("root", "snapshot", "timestamp")
	c, err := trust.New(trust.Config{Mode: metadata.Plain, Root: repo.File("root", 1), Store: memory{}, Now: func() time.Time { return plainNow }})
	must(t, err)
	if err := c.Refresh(context.Background(), &plainFetcher{repo: repo}); !reason.Is(err, reason.Malformed) {
		t.Errorf("error %v [%s], want %s", err, reason.Of(err), reason.Malformed)
	}
}
