package event

import (
	"cmp"
	"slices"
	"time"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// AlongWith is how soon a role must expire to be refreshed along with others of its group.
const AlongWith = 60 * 24 * time.Hour

// RoleRef names a role.
type RoleRef struct {
	Repository metadata.Repository
	Role       string
}

// NewRefresh returns the event that signs these roles anew with the same content and a later expiry.
// With a bin comes the product's own file (DESIGN 1.3). Reasons: usage (no roles), not-found, retired,
// and those of the judgement.
func NewRefresh(roles []RoleRef, s *State, o Opening) (*Event, error) {
	if len(roles) == 0 {
		return nil, reason.Errorf(reason.UsageError, "there is nothing to refresh")
	}
	all := slices.Clone(roles)
	for _, r := range roles {
		product, kind, err := metadata.SplitRole(r.Role)
		if err != nil {
			return nil, err
		}
		if kind == metadata.RoleBin {
			all = append(all, RoleRef{metadata.Image, product})
		}
	}
	slices.SortFunc(all, compareRefs)
	d := newDraft(Refresh, s, o)
	for _, r := range slices.Compact(all) {
		if err := d.refresh(r); err != nil {
			return nil, err
		}
	}
	return d.finish()
}

func compareRefs(a, b RoleRef) int {
	return cmp.Or(cmp.Compare(a.Repository, b.Repository), cmp.Compare(a.Role, b.Role))
}

// refresh adds one role with the content that it has.
func (d *draft) refresh(r RoleRef) error {
	if r.Role == metadata.Root {
		old, err := d.s.root(r.Repository)
		if err == nil && old == nil {
			err = reason.Errorf(reason.NotFound, "deployment %q has no %s root here", d.s.deployment, r.Repository)
		}
		if err != nil {
			return err
		}
		return d.addRoot(r.Repository, old.Signed, old)
	}
	if err := checkRole(r.Repository, r.Role); err != nil {
		return err
	}
	old, err := d.s.role(r.Role)
	if err == nil && old == nil {
		err = reason.Errorf(reason.NotFound, "deployment %q has no role %q here", d.s.deployment, r.Role)
	}
	if err != nil {
		return err
	}
	if gone, err := d.s.Retired(r.Role); err != nil || gone {
		if gone {
			err = reason.Errorf(reason.Retired, "%s belongs to a retired product, whose files are not refreshed", r.Role)
		}
		return err
	}
	return d.addTargets(r.Role, old.Signed, old)
}

// Retired reports whether a role belongs to a retired product.
func (s *State) Retired(role string) (bool, error) {
	product, kind, err := metadata.SplitRole(role)
	if err != nil || kind == metadata.RoleTop {
		return false, err
	}
	targets, err := s.parent(metadata.Targets)
	if err != nil {
		return false, err
	}
	policy, err := policyIn(targets, product)
	if err != nil {
		return false, err
	}
	return policy.Retired, nil
}

// Refreshable returns the roles that are refreshed together under a word that people use: image-root,
// director-root, targets, a product (with its bins) or its stop list. Reasons: usage, not-found.
func Refreshable(s *State, word string) ([]RoleRef, error) {
	switch word {
	case "image-root":
		return []RoleRef{{metadata.Image, metadata.Root}}, nil
	case "director-root":
		return []RoleRef{{metadata.Director, metadata.Root}}, nil
	case metadata.Targets:
		return []RoleRef{{metadata.Image, metadata.Targets}}, nil
	}
	_, kind, err := metadata.SplitRole(word)
	if err != nil || (kind != metadata.RoleProduct && kind != metadata.RoleStop) {
		return nil, reason.Errorf(reason.UsageError, "%q is none of image-root, director-root, targets, PRODUCT and PRODUCT.stop", word)
	}
	return s.withBins(word)
}

// withBins returns a product's or stop role and, of a product, the bins that exist.
func (s *State) withBins(role string) ([]RoleRef, error) {
	file, err := s.role(role)
	if err != nil {
		return nil, err
	}
	if file == nil {
		return nil, reason.Errorf(reason.NotFound, "deployment %q has no role %q here", s.deployment, role)
	}
	refs := []RoleRef{{metadata.Image, role}}
	if succinct := succinctOf(file); succinct != nil {
		for _, bin := range metadata.Bins(succinct) {
			t, err := s.role(bin)
			if err != nil {
				return nil, err
			}
			if t != nil {
				refs = append(refs, RoleRef{metadata.Image, bin})
			}
		}
	}
	return refs, nil
}

// Due returns the roles that people sign and that expire within the given time from now, in groups as
// DueOf does. Retired products are left out. It reads every file in force.
func Due(s *State, now time.Time, within time.Duration) ([][]RoleRef, error) {
	refs := []RoleRef{{metadata.Director, metadata.Root}, {metadata.Image, metadata.Root}, {metadata.Image, metadata.Targets}}
	products, err := s.Products()
	if err != nil {
		return nil, err
	}
	for _, product := range products {
		if gone, err := s.Retired(product); err != nil || gone {
			if err != nil {
				return nil, err
			}
			continue
		}
		for _, role := range []string{product, metadata.StopRole(product)} {
			group, err := s.withBins(role)
			if err != nil {
				return nil, err
			}
			refs = append(refs, group...)
		}
	}
	var roles []RoleVersion
	for _, ref := range refs {
		v, ok, err := s.Role(ref.Repository, ref.Role)
		if err != nil {
			return nil, err
		}
		if ok {
			roles = append(roles, v)
		}
	}
	return DueOf(roles, now, within)
}
