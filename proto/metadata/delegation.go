package metadata

import (
	"crypto"
	"slices"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/countersign-ota/countersign/proto/reason"
)

// MaxKeys is how many keys a role may name (DESIGN 6).
const MaxKeys = 64

// Delegation is what a delegator says of a role: which keys may sign it, and how many people of which
// classes must. It is as trustworthy as the file it was taken from.
type Delegation struct {
	Role string
	// Keys are the delegator's keys by id; it may hold more than KeyIDs names.
	Keys      map[string]*Key
	KeyIDs    []string
	Threshold int
	// Quorum is nil only for online roles, and in plain mode.
	Quorum *Quorum

	mode Mode
	// spare demands one person more than required in each class (root and top-level roles).
	spare bool
}

// RootDelegation returns what root says of a top-level role. In the profile it reads the quorum of
// `root`, and in the image root of `targets`, and refuses a role that lacks it (quorum-missing).
// Check is still to be called.
func RootDelegation(root *File[RootRole], role string, m Mode) (*Delegation, error) {
	r, ok := root.Signed.Roles[role]
	if !ok || !isTopLevel(role) {
		return nil, reason.Errorf(reason.Malformed, "root: no role %q", role)
	}
	d := &Delegation{Role: role, Keys: root.Signed.Keys, KeyIDs: r.KeyIDs, Threshold: r.Threshold, mode: m, spare: true}
	if m == Plain || !offlineRole(root, role) {
		return d, nil
	}
	quorums, ok := root.Signed.UnrecognizedFields[QuorumField]
	if !ok {
		return nil, reason.Errorf(reason.QuorumMissing, "root: no %s for role %q", QuorumField, role)
	}
	o, err := asObject(quorums, Root, Targets)
	if err != nil {
		return nil, reason.Wrap(quorumError(err), "root")
	}
	raw, ok := o.members[role]
	if !ok {
		return nil, reason.Errorf(reason.QuorumMissing, "root: no %s for role %q", QuorumField, role)
	}
	if d.Quorum, err = ParseQuorum(raw); err != nil {
		return nil, reason.Wrap(err, "root: role %q", role)
	}
	return d, nil
}

// offlineRole reports whether people sign a top-level role of this root: root itself, and targets
// unless the root says that it is the director's.
func offlineRole(root *File[RootRole], role string) bool {
	if role == Targets {
		_, r, _, ok := ScopeOf(root.Signed.UnrecognizedFields)
		return !ok || r != Director
	}
	return role == Root
}

// TargetsDelegation returns what a targets file says of a role that it delegates: one of its roles, or
// a bin of its succinct_roles. In the profile the quorum is required. Check is still to be called.
func TargetsDelegation(t *File[TargetsRole], role string, m Mode) (*Delegation, error) {
	ds := t.Signed.Delegations
	if ds == nil {
		return nil, reason.Errorf(reason.Malformed, "no delegation to role %q: the file delegates nothing", role)
	}
	var d *Delegation
	var members map[string]any
	if i := slices.IndexFunc(ds.Roles, func(r metadata.DelegatedRole) bool { return r.Name == role }); i >= 0 {
		r := &ds.Roles[i]
		d = &Delegation{Role: role, Keys: ds.Keys, KeyIDs: r.KeyIDs, Threshold: r.Threshold, mode: m}
		members = r.UnrecognizedFields
	} else if s := ds.SuccinctRoles; s != nil && IsBin(s, role) {
		d = &Delegation{Role: role, Keys: ds.Keys, KeyIDs: s.KeyIDs, Threshold: s.Threshold, mode: m}
		members = s.UnrecognizedFields
	} else {
		return nil, reason.Errorf(reason.Malformed, "no delegation to role %q", role)
	}
	if m == Plain {
		return d, nil
	}
	raw, ok := members[QuorumField]
	if !ok {
		return nil, reason.Errorf(reason.QuorumMissing, "delegation to %q: no %s", role, QuorumField)
	}
	var err error
	if d.Quorum, err = ParseQuorum(raw); err != nil {
		return nil, reason.Wrap(err, "delegation to %q", role)
	}
	return d, nil
}

// Check carries out the rules of DESIGN 1.2 between keys, threshold, people and classes. Without a
// quorum it demands the form of an online role: one key, threshold 1 (DESIGN 1.1). In plain mode only
// that there are keys, at most MaxKeys, and a threshold of at least 1.
func (d *Delegation) Check(m Mode) error {
	if len(d.KeyIDs) > MaxKeys {
		return reason.Errorf(reason.Limit, "role %q: %d keys, at most %d are allowed", d.Role, len(d.KeyIDs), MaxKeys)
	}
	if d.Threshold < 1 {
		return reason.Errorf(reason.IntegerRange, "role %q: threshold %d, wanted at least 1", d.Role, d.Threshold)
	}
	if m == Plain {
		return nil
	}
	raws := map[string]string{}
	for _, id := range d.KeyIDs {
		pub, err := CheckKey(id, d.Keys[id], m)
		if err != nil {
			return reason.Wrap(err, "role %q", d.Role)
		}
		raw, err := rawOf(pub)
		if err != nil {
			return reason.Wrap(err, "role %q", d.Role)
		}
		if other, ok := raws[raw]; ok {
			return reason.Errorf(reason.KeyTwice, "role %q: %s and %s are the same key", d.Role, short(other), short(id))
		}
		raws[raw] = id
	}
	if d.Quorum == nil {
		if len(d.KeyIDs) != 1 || d.Threshold != 1 {
			return reason.Errorf(reason.QuorumMissing, "role %q: %d keys and threshold %d without a quorum", d.Role, len(d.KeyIDs), d.Threshold)
		}
		return nil
	}
	if err := d.Quorum.check(d.spare); err != nil {
		return reason.Wrap(err, "role %q", d.Role)
	}
	if sum := d.Quorum.Threshold(); d.Threshold != sum {
		return reason.Errorf(reason.QuorumMalformed, "role %q: threshold %d, but its classes require %d", d.Role, d.Threshold, sum)
	}
	if len(d.Quorum.People) != len(d.KeyIDs) {
		return reason.Errorf(reason.QuorumMalformed, "role %q: %d people and %d keys", d.Role, len(d.Quorum.People), len(d.KeyIDs))
	}
	for _, p := range d.Quorum.People {
		if !slices.Contains(d.KeyIDs, p.KeyID) {
			return reason.Errorf(reason.QuorumMalformed, "role %q: key %s of person %q is not among its keyids", d.Role, short(p.KeyID), p.ID)
		}
	}
	return nil
}

// Verify reports whether sigs over canonical satisfy the delegation. It is the one verify function of
// signer, server and device. Signatures that do not verify, are by keys outside the role, or whose
// key's id is not its recomputed one do not count; keys are counted by raw public key, people by id.
// It returns threshold when fewer distinct keys than demanded signed (TUF 5.3.4, 5.4.2, 5.5.3,
// 5.6.3), quorum-not-met when a class lacks people.
func (d *Delegation) Verify(canonical []byte, sigs []Signature) error {
	return d.satisfied(d.valid(canonical, sigs))
}

// satisfied is the rule of Verify over the ids of keys whose signatures are valid.
func (d *Delegation) satisfied(valid []string) error {
	if d.Threshold < 1 || len(valid) < d.Threshold {
		return reason.Errorf(reason.Threshold, "role %q: %d valid signatures by its keys, wanted %d", d.Role, len(valid), d.Threshold)
	}
	if d.Quorum == nil {
		return nil
	}
	for _, c := range d.tally(valid) {
		if len(c.Signed) < c.Need {
			return reason.Errorf(reason.QuorumNotMet, "role %q: %d of class %q signed, wanted %d", d.Role, len(c.Signed), c.Class, c.Need)
		}
	}
	return nil
}

// Tally is who signed and who still can, for events that are open.
type Tally struct {
	// Classes are the required classes in order; one nameless class where there is no quorum.
	Classes []ClassTally
	// Valid are the key ids whose signatures count, sorted.
	Valid []string
	// Complete is true when Verify would return nil.
	Complete bool
}

// ClassTally is one class of a Tally. Signed and Can are disjoint and ordered by id.
type ClassTally struct {
	Class       string
	Need        int
	Signed, Can []Person
	Meaning     string
}

// Tally counts sigs over canonical as Verify does.
func (d *Delegation) Tally(canonical []byte, sigs []Signature) Tally {
	return d.TallyOf(d.valid(canonical, sigs))
}

// TallyOf counts key ids that an earlier Tally of the same delegation and the same signed part gave as
// Valid, or whose signatures the caller verified with the delegation's keys. It verifies nothing.
func (d *Delegation) TallyOf(valid []string) Tally {
	t := Tally{Valid: valid, Complete: d.satisfied(valid) == nil}
	if d.Quorum != nil {
		t.Classes = d.tally(valid)
		return t
	}
	c := ClassTally{Need: d.Threshold}
	for _, id := range slices.Sorted(slices.Values(d.KeyIDs)) {
		if slices.Contains(valid, id) {
			c.Signed = append(c.Signed, Person{KeyID: id})
		} else {
			c.Can = append(c.Can, Person{KeyID: id})
		}
	}
	t.Classes = []ClassTally{c}
	return t
}

// tally sorts the people of the quorum into those whose key is in valid and the others.
func (d *Delegation) tally(valid []string) []ClassTally {
	var classes []ClassTally
	q := d.Quorum.sorted()
	for _, class := range q.Classes() {
		c := ClassTally{Class: class, Need: q.Require[class], Meaning: q.Meaning[class]}
		seen := map[string]bool{}
		for _, p := range q.People {
			if p.Class != class || seen[p.ID] {
				continue
			}
			if slices.Contains(valid, p.KeyID) {
				c.Signed = append(c.Signed, p)
				seen[p.ID] = true
			} else {
				c.Can = append(c.Can, p)
			}
		}
		classes = append(classes, c)
	}
	return classes
}

// valid returns the ids of distinct keys of the role with a valid signature, sorted.
func (d *Delegation) valid(canonical []byte, sigs []Signature) []string {
	var valid []string
	raws := map[string]bool{}
	keys := map[string]crypto.PublicKey{}
	for _, id := range d.KeyIDs {
		if pub, err := CheckKey(id, d.Keys[id], d.mode); err == nil {
			keys[id] = pub
		}
	}
	for _, s := range sigs {
		pub, ok := keys[s.KeyID]
		if !ok {
			continue
		}
		raw, err := rawOf(pub)
		if err != nil || raws[raw] || !verify(pub, canonical, s.Signature) {
			continue
		}
		raws[raw] = true
		valid = append(valid, s.KeyID)
	}
	slices.Sort(valid)
	return valid
}

// PersonOf returns the person who signs the role with the key of that id.
func (d *Delegation) PersonOf(keyid string) (Person, bool) {
	if d.Quorum == nil {
		return Person{}, false
	}
	for _, p := range d.Quorum.People {
		if p.KeyID == keyid {
			return p, true
		}
	}
	return Person{}, false
}
