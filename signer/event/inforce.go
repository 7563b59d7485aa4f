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

// Base returns the verified role files that were read so far, roots from 1 on, in the order of an
// event: a tool that keeps them can open events without network.
func (s *State) Base() ([]BaseFile, error) {
	var base []BaseFile
	for _, v := range s.Seen() {
		if v.Role == metadata.Root {
			roots, err := rootsOf(s.files, v.Repository)
			if err != nil {
				return nil, err
			}
			base = append(base, roots...)
			continue
		}
		base = append(base, BaseFile{v.Repository, v.Role, s.targets[v.Role].Bytes()})
	}
	return base, nil
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
