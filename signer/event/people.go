package event

import (
	"maps"
	"slices"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// holder is whose key it is, and where that stands.
type holder struct{ person, where string }

// register is every key of the deployment by its raw public key.
type register struct {
	people map[string]holder
	online map[string]string
}

// people carries out what holds across roles (DESIGN 1.1, 1.2): a key means the same person
// everywhere, and no key is both a person's and the server's. It runs when the event holds a file that
// names keys; without one nothing can have changed.
func (t *trial) people() error {
	names := func(p *proposed) bool { return p.role == metadata.Root || p.role == metadata.Targets }
	if !slices.ContainsFunc(t.files, names) {
		return nil
	}
	reg := register{map[string]holder{}, map[string]string{}}
	for _, r := range []metadata.Repository{metadata.Image, metadata.Director} {
		root, err := t.rootAfter(r)
		if err != nil {
			return err
		}
		if root == nil {
			continue
		}
		if err := reg.addRoot(r, root); err != nil {
			return reason.Wrap(err, "%s root", r)
		}
		if err := t.examples(root.Signed.Keys); err != nil {
			return reason.Wrap(err, "%s root", r)
		}
	}
	targets, err := t.roleAfter(metadata.Targets)
	if err != nil || targets == nil || targets.Signed.Delegations == nil {
		return err
	}
	for _, role := range targets.Signed.Delegations.Roles {
		d, err := metadata.TargetsDelegation(targets, role.Name, metadata.Profile)
		if err != nil {
			return err
		}
		if err := reg.addPeople(d, role.Name); err != nil {
			return err
		}
	}
	if err := t.examples(targets.Signed.Delegations.Keys); err != nil {
		return reason.Wrap(err, "image targets")
	}
	return reg.disjoint()
}

func (g *register) addRoot(r metadata.Repository, root *rootFile) error {
	for _, role := range []string{metadata.Root, metadata.Targets, metadata.Snapshot, metadata.Timestamp} {
		d, err := metadata.RootDelegation(root, role, metadata.Profile)
		if err != nil {
			return err
		}
		where := string(r) + " " + role
		if d.Quorum != nil {
			if err := g.addPeople(d, where); err != nil {
				return err
			}
			continue
		}
		for _, id := range d.KeyIDs {
			raw, err := metadata.RawKey(d.Keys[id])
			if err != nil {
				return reason.Wrap(err, "key %.12s", id)
			}
			g.online[raw] = where
		}
	}
	return nil
}

func (g *register) addPeople(d *metadata.Delegation, where string) error {
	for _, p := range d.Quorum.People {
		raw, err := metadata.RawKey(d.Keys[p.KeyID])
		if err != nil {
			return reason.Wrap(err, "key %.12s of %s in %s", p.KeyID, p.ID, where)
		}
		if h, ok := g.people[raw]; ok && h.person != p.ID {
			return reason.Errorf(reason.KeyTwice, "key %.12s is %s in %s and %s in %s", p.KeyID, h.person, h.where, p.ID, where)
		}
		g.people[raw] = holder{p.ID, where}
	}
	return nil
}

func (g *register) disjoint() error {
	var twice []string
	for raw, where := range g.online {
		if h, ok := g.people[raw]; ok {
			twice = append(twice, h.person+" in "+h.where+" and online in "+where)
		}
	}
	if len(twice) > 0 {
		return reason.Errorf(reason.KeyTwice, "one key is %s", slices.Min(twice))
	}
	return nil
}

// examples refuses keys that everybody can sign with (DESIGN 1.4), or notes them where the tool allows
// them.
func (t *trial) examples(keys map[string]*metadata.Key) error {
	for _, id := range slices.Sorted(maps.Keys(keys)) {
		if !metadata.ExampleKey(keys[id]) {
			continue
		}
		if !t.opts.AllowExample {
			return reason.Errorf(reason.KeyExample, "key %.12s is one of keys-example, which everybody can sign with", id)
		}
		t.example = true
	}
	return nil
}
