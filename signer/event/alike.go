package event

import (
	"maps"
	"slices"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/signer/lookalike"
)

// alike warns of what the event brings and what people may take for something else: the id or name of
// a person for another's, a product for another, a version of a release for another.
func (v *reviewer) alike() {
	v.alikePeople()
	v.alikeProducts()
	v.alikeVersions()
}

// alikePeople compares people who come or change in some role with all people of the deployment.
func (v *reviewer) alikePeople() {
	fresh := map[string]bool{}
	for _, r := range v.r.Roles {
		for _, p := range r.People {
			if c := p.Change(); c == "added" || c == "changed" {
				fresh[p.ID] = true
			}
		}
	}
	if len(fresh) == 0 {
		return
	}
	names := v.everybody()
	ids := slices.Sorted(maps.Keys(names))
	for i, a := range ids {
		for _, b := range ids[i+1:] {
			if !fresh[a] && !fresh[b] {
				continue
			}
			if x, y, ok := mistaken(a, names[a], b, names[b]); ok {
				v.warn("%s may be taken for %s: %+q looks like %+q", a, b, x, y)
			}
		}
	}
}

// mistaken returns an id or name of each of two people that look alike, or are the same.
func mistaken(a string, as []string, b string, bs []string) (x, y string, ok bool) {
	for _, x := range append([]string{a}, as...) {
		for _, y := range append([]string{b}, bs...) {
			if x == y || lookalike.Same(x, y) {
				return x, y, true
			}
		}
	}
	return "", "", false
}

// everybody returns all people of the deployment, as it will be, with their names.
func (v *reviewer) everybody() map[string][]string {
	names := map[string][]string{}
	add := func(d *metadata.Delegation, err error) {
		if err != nil || d.Quorum == nil {
			return
		}
		for _, p := range d.Quorum.People {
			if known, ok := names[p.ID]; !ok || !slices.Contains(known, p.Name) && p.Name != "" {
				names[p.ID] = append(known, p.Name)
			}
		}
	}
	for _, r := range []metadata.Repository{metadata.Image, metadata.Director} {
		root, err := v.t.state.root(r)
		if p := v.t.find(r, metadata.Root); p != nil {
			root, err = p.root, nil
		}
		if err != nil || root == nil {
			continue
		}
		add(metadata.RootDelegation(root, metadata.Root, metadata.Profile))
		if r == metadata.Image {
			add(metadata.RootDelegation(root, metadata.Targets, metadata.Profile))
		}
	}
	for _, role := range v.delegations() {
		add(metadata.TargetsDelegation(v.topTargets(), role, metadata.Profile))
	}
	return names
}

// topTargets is top-level targets as it will be; nil when there is none.
func (v *reviewer) topTargets() *targetsFile {
	if p := v.t.find(metadata.Image, metadata.Targets); p != nil {
		return p.targets
	}
	t, err := v.t.state.role(metadata.Targets)
	if err != nil {
		return nil
	}
	return t
}

// delegations returns the roles that top-level targets delegates, in its order.
func (v *reviewer) delegations() []string {
	t := v.topTargets()
	if t == nil || t.Signed.Delegations == nil {
		return nil
	}
	var roles []string
	for _, r := range t.Signed.Delegations.Roles {
		roles = append(roles, r.Name)
	}
	return roles
}

func (v *reviewer) alikeProducts() {
	for _, r := range v.r.Roles {
		if _, kind, err := metadata.SplitRole(r.Role); err != nil || kind != metadata.RoleProduct || !r.New {
			continue
		}
		for _, other := range v.delegations() {
			if _, kind, err := metadata.SplitRole(other); err == nil && kind == metadata.RoleProduct && lookalike.Same(r.Role, other) {
				v.warn("product %s may be taken for product %s", r.Role, other)
			}
		}
	}
}

// alikeVersions compares the version of a release with those that the files of the event list.
func (v *reviewer) alikeVersions() {
	if len(v.r.Added) == 0 {
		return
	}
	fresh := v.r.Added[0].Version
	skeleton := lookalike.Skeleton(fresh)
	others := map[string]bool{}
	for _, p := range v.t.files {
		if p.targets == nil {
			continue
		}
		for path := range p.targets.Signed.Targets {
			if at, err := metadata.ParseTargetPath(path); err == nil {
				others[at.Version] = true
			}
		}
	}
	for _, other := range slices.Sorted(maps.Keys(others)) {
		if other != fresh && lookalike.Skeleton(other) == skeleton {
			v.warn("version %s may be taken for version %s", fresh, other)
		}
	}
}
