package metadata

import (
	"github.com/countersign-ota/countersign/proto/reason"
)

// people remembers for each raw public key whose it is, over the roles of a deployment.
type people map[string]owner

// owner is a person, or an online key when person is empty.
type owner struct {
	person string
	where  string
}

func (p people) online(raw, where string) { p[raw] = owner{where: where} }

// add refuses a key that is an online key or means another person elsewhere.
func (p people) add(d *Delegation) error {
	if d.Quorum == nil {
		return nil
	}
	for _, person := range d.Quorum.People {
		raw, err := RawKey(d.Keys[person.KeyID])
		if err != nil {
			return reason.Wrap(err, "role %q: key of %q", d.Role, person.ID)
		}
		before, ok := p[raw]
		if !ok {
			p[raw] = owner{person.ID, "role " + d.Role}
			continue
		}
		if before.person == "" {
			return reason.Errorf(reason.KeyTwice, "role %q: the key of %q is %s", d.Role, person.ID, before.where)
		}
		if before.person != person.ID {
			return reason.Errorf(reason.KeyTwice, "role %q: the key of %q is that of %q in %s", d.Role, person.ID, before.person, before.where)
		}
	}
	return nil
}

// CheckKeys carries out what holds for the keys of a whole deployment (DESIGN 1.1, 1.2): no key stands
// in both roots; no key of a person is an online key; people's image keys and director keys are
// disjoint; a key means the same person in every role. director and targets may be nil.
func CheckKeys(image, director *File[RootRole], targets *File[TargetsRole]) error {
	all := people{}
	if director != nil {
		if err := CheckRootPair(image, director); err != nil {
			return err
		}
		for _, id := range sortedKeys(director.Signed.Keys) {
			raw, err := RawKey(director.Signed.Keys[id])
			if err != nil {
				return reason.Wrap(err, "director root")
			}
			all.online(raw, "a key of the director root")
		}
	}
	for _, role := range []string{Timestamp, Snapshot} {
		for _, raw := range rawKeysOf(image, role) {
			all.online(raw, "the online key")
		}
	}
	for _, role := range []string{Root, Targets} {
		d, err := RootDelegation(image, role, Profile)
		if err == nil {
			err = all.add(d)
		}
		if err != nil {
			return reason.Wrap(err, "image root")
		}
	}
	if targets == nil || targets.Signed.Delegations == nil {
		return nil
	}
	for i := range targets.Signed.Delegations.Roles {
		d, err := TargetsDelegation(targets, targets.Signed.Delegations.Roles[i].Name, Profile)
		if err == nil {
			err = all.add(d)
		}
		if err != nil {
			return reason.Wrap(err, "image targets")
		}
	}
	return nil
}
