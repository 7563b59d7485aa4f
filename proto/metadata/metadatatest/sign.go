package metadatatest

import (
	"bytes"
	"encoding/json"
	"slices"
	"testing"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/countersign-ota/countersign/proto/metadata"
)

// store signs a part that we built and makes it the newest file of the role.
func store[T tuf.Roles](d *Deployment, r metadata.Repository, role string, signed T, signers []*Key) {
	d.t.Helper()
	m := toMap(d.t, signed)
	d.put(r, role, sign(d.t, role, m, signers), d.claimed(m))
}

// sign returns the file of a signed part, which may be as wrong as a test wants it.
func sign(t testing.TB, role string, signed map[string]any, signers []*Key) []byte {
	t.Helper()
	canonical, err := metadata.Canonical(signed)
	check(t, err)
	var sigs []metadata.Signature
	for _, k := range signers {
		sig, err := metadata.Sign(canonical, k.Signer, k.Public)
		check(t, err)
		if !slices.ContainsFunc(sigs, func(s metadata.Signature) bool { return s.KeyID == sig.KeyID }) {
			sigs = append(sigs, sig)
		}
	}
	slices.SortFunc(sigs, func(a, b metadata.Signature) int { return bytes.Compare([]byte(a.KeyID), []byte(b.KeyID)) })
	if sigs == nil {
		sigs = []metadata.Signature{}
	}
	part, err := metadata.FromCanonical(canonical)
	check(t, err)
	data, err := json.Marshal(map[string]any{"signatures": sigs, "signed": json.RawMessage(part)})
	check(t, err)
	return data
}

// toMap turns a signed part into JSON that can be edited; numbers are json.Number.
func toMap(t testing.TB, signed any) map[string]any {
	t.Helper()
	data, err := json.Marshal(signed)
	check(t, err)
	return decode(t, data)
}

func decode(t testing.TB, data []byte) map[string]any {
	t.Helper()
	var m map[string]any
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	check(t, dec.Decode(&m))
	return m
}

// parse reads the newest file of a role; it must be valid.
func parse[T tuf.Roles](d *Deployment, r metadata.Repository, role string) *metadata.File[T] {
	d.t.Helper()
	data := d.current[name{r, role}]
	if data == nil {
		d.t.Fatalf("metadatatest: no role %s/%s", r, role)
	}
	f, err := metadata.Parse[T](data, metadata.Profile)
	check(d.t, err)
	return f
}

// claimed returns the version in a signed part, 0 if there is no integer.
func (d *Deployment) claimed(signed map[string]any) int64 {
	switch v := signed["version"].(type) {
	case json.Number:
		n, _ := v.Int64()
		return n
	case int:
		return int64(v)
	case int64:
		return v
	case float64:
		return int64(v)
	}
	return 0
}

func (d *Deployment) claimedVersion(file []byte) int64 {
	d.t.Helper()
	var f struct{ Signed struct{ Version int64 } }
	if json.Unmarshal(file, &f) != nil {
		return 1 // a file that a test damaged
	}
	return f.Signed.Version
}

// signers returns the keys of all people of a role, or the online key.
func (d *Deployment) signers(r metadata.Repository, role string) []*Key {
	d.t.Helper()
	product, kind, err := metadata.SplitRole(role)
	check(d.t, err)
	var del *metadata.Delegation
	switch kind {
	case metadata.RoleTop:
		del, err = metadata.RootDelegation(parse[metadata.RootRole](d, r, metadata.Root), role, metadata.Profile)
	case metadata.RoleBin:
		del, err = metadata.TargetsDelegation(parse[metadata.TargetsRole](d, r, product), role, metadata.Profile)
	default:
		del, err = metadata.TargetsDelegation(parse[metadata.TargetsRole](d, r, metadata.Targets), role, metadata.Profile)
	}
	check(d.t, err)
	return d.keysOf(del.KeyIDs)
}

func (d *Deployment) keysOf(ids []string) []*Key {
	d.t.Helper()
	var keys []*Key
	for _, id := range ids {
		k := d.keys[id]
		if k == nil {
			d.t.Fatalf("metadatatest: no private key %s", id)
		}
		keys = append(keys, k)
	}
	return keys
}

func (d *Deployment) signersOfRoot(root *metadata.RootRole) []*Key {
	return d.keysOf(root.Roles[metadata.Root].KeyIDs)
}
