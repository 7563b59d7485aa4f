package event

import (
	"slices"

	"github.com/countersign-ota/countersign/proto/metadata"
)

// Delegation returns who must sign a role that is in force, as its verified delegator says; nil for a
// role that does not exist. It serves those who show roles; judging is Judge's.
func (s *State) Delegation(r metadata.Repository, role string) (*metadata.Delegation, error) {
	if role == metadata.Root {
		root, err := s.root(r)
		if root == nil || err != nil {
			return nil, err
		}
		return metadata.RootDelegation(root, role, metadata.Profile)
	}
	if t, err := s.role(role); r != metadata.Image || t == nil || err != nil {
		return nil, err
	}
	d, _, err := s.delegationOf(role)
	return d, err
}

// Products returns the products that top-level targets delegate to, ordered.
func (s *State) Products() ([]string, error) {
	targets, err := s.role(metadata.Targets)
	if targets == nil || err != nil || targets.Signed.Delegations == nil {
		return nil, err
	}
	var products []string
	for _, role := range targets.Signed.Delegations.Roles {
		product, kind, err := metadata.SplitRole(role.Name)
		if err != nil {
			return nil, err
		}
		if kind == metadata.RoleProduct {
			products = append(products, product)
		}
	}
	slices.Sort(products)
	return products, nil
}
