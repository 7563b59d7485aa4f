package metadata

import (
	"slices"

	"github.com/countersign-ota/countersign/proto/reason"
)

// CheckRoot carries out the rules of section 1 that one root file shows: scope (root-without-scope),
// consistent snapshots, exactly the four roles, the quorum of root and, in the image repository, of
// targets; one online key with threshold 1 for the rest; keys of people and the online key disjoint; a
// key means one person; TLS anchors only in the director's. It verifies no signature.
func CheckRoot(f *File[RootRole], deployment string, r Repository) error {
	s := &f.Signed
	if _, ok := s.UnrecognizedFields[ScopeField]; !ok {
		return reason.Errorf(reason.RootWithoutScope, "%s root %d: no %s, so it is not of the Countersign profile", r, s.Version, ScopeField)
	}
	if err := checkHead(s.UnrecognizedFields, s.Version, deployment, r, Root); err != nil {
		return err
	}
	if err := checkRootRoles(f, r); err != nil {
		return reason.Wrap(err, "%s root %d", r, s.Version)
	}
	return nil
}

func checkRootRoles(f *File[RootRole], r Repository) error {
	s := &f.Signed
	if !s.ConsistentSnapshot {
		return reason.Errorf(reason.Profile, "consistent_snapshot is false")
	}
	if len(s.Roles) != 4 {
		return reason.Errorf(reason.Profile, "roles %q, want exactly the four top-level ones", sortedKeys(s.Roles))
	}
	if err := checkRootExtensions(f, r); err != nil {
		return err
	}
	var offline []*Delegation
	var online []string
	for _, role := range []string{Root, Targets, Snapshot, Timestamp} {
		d, err := RootDelegation(f, role, Profile)
		if err != nil {
			return err
		}
		if err := d.Check(Profile); err != nil {
			return err
		}
		if d.Quorum != nil {
			offline = append(offline, d)
			continue
		}
		if online != nil && !slices.Equal(online, d.KeyIDs) {
			return reason.Errorf(reason.Profile, "role %q has another online key than the others", role)
		}
		online = d.KeyIDs
	}
	onlineKey, err := RawKey(s.Keys[online[0]])
	if err != nil {
		return err
	}
	p := people{}
	p.online(onlineKey, "the online key")
	for _, d := range offline {
		if err := p.add(d); err != nil {
			return err
		}
	}
	return nil
}

// checkRootExtensions looks at the members that only one of the repositories has.
func checkRootExtensions(f *File[RootRole], r Repository) error {
	fields := f.Signed.UnrecognizedFields
	if raw, ok := fields[TLSField]; ok {
		if r != Director {
			return reason.Errorf(reason.Profile, "%s has a place in the director root only", TLSField)
		}
		if _, err := ParseTLS(raw); err != nil {
			return err
		}
	}
	if q, ok := fields[QuorumField].(map[string]any); ok && r == Director {
		if _, ok := q[Targets]; ok {
			return reason.Errorf(reason.Profile, "a quorum for targets, which the director's online key signs")
		}
	}
	return nil
}

// CheckRootPair carries out what holds between the two roots of a deployment: no key, of people or
// online, stands in both (DESIGN 1.1).
func CheckRootPair(image, director *File[RootRole]) error {
	raws := map[string]string{}
	for _, id := range sortedKeys(image.Signed.Keys) {
		raw, err := RawKey(image.Signed.Keys[id])
		if err != nil {
			return reason.Wrap(err, "image root")
		}
		raws[raw] = id
	}
	for _, id := range sortedKeys(director.Signed.Keys) {
		raw, err := RawKey(director.Signed.Keys[id])
		if err != nil {
			return reason.Wrap(err, "director root")
		}
		if _, ok := raws[raw]; ok {
			return reason.Errorf(reason.KeyTwice, "key %s stands in the image root and in the director root", short(id))
		}
	}
	return nil
}

// CheckRootStep carries out a step of a root chain: version + 1, the same scope (the deployment never
// changes), signed as prev and as next itself demand (TUF 5.3.4, 5.3.5).
func CheckRootStep(prev, next *File[RootRole]) error {
	if next.Signed.Version != prev.Signed.Version+1 {
		return reason.Errorf(reason.Rollback, "root %d follows root %d, wanted %d", next.Signed.Version, prev.Signed.Version, prev.Signed.Version+1)
	}
	before, _ := prev.Signed.UnrecognizedFields[ScopeField].(string)
	after, _ := next.Signed.UnrecognizedFields[ScopeField].(string)
	if before == "" || after == "" {
		return reason.Errorf(reason.RootWithoutScope, "root %d or %d: no %s", prev.Signed.Version, next.Signed.Version, ScopeField)
	}
	if before != after {
		return reason.Errorf(reason.ScopeMismatch, "root %d: %s is %q, the root before it has %q", next.Signed.Version, ScopeField, after, before)
	}
	for _, by := range []*File[RootRole]{prev, next} {
		d, err := RootDelegation(by, Root, Profile)
		if err != nil {
			return err
		}
		if err := d.Check(Profile); err != nil {
			return reason.Wrap(err, "root %d", by.Signed.Version)
		}
		if err := d.Verify(next.Canonical(), next.Signatures); err != nil {
			return reason.Wrap(err, "root %d by the keys of root %d", next.Signed.Version, by.Signed.Version)
		}
	}
	return nil
}

// OnlineKeysChanged reports whether next gives other keys to timestamp or to snapshot than prev. A
// device then drops both files and versions, and with them those of every other role under online
// keys, since a thief of the old keys may have signed versions that nobody can reach (DESIGN 1.5, TUF 5.3.11).
func OnlineKeysChanged(prev, next *File[RootRole]) bool {
	return !sameKeys(prev, next, Timestamp) || !sameKeys(prev, next, Snapshot)
}

// sameKeys compares the raw public keys of a role.
func sameKeys(prev, next *File[RootRole], role string) bool {
	return slices.Equal(rawKeysOf(prev, role), rawKeysOf(next, role))
}

func rawKeysOf(f *File[RootRole], role string) []string {
	var raws []string
	if r, ok := f.Signed.Roles[role]; ok {
		for _, id := range r.KeyIDs {
			raw, err := RawKey(f.Signed.Keys[id])
			if err != nil {
				raw = "id:" + id
			}
			raws = append(raws, raw)
		}
	}
	slices.Sort(raws)
	return slices.Compact(raws)
}
