package event

import (
	"cmp"
	"slices"
	"time"

	"github.com/countersign-ota/countersign/proto/metadata"
)

// DueOf returns those of the roles that expire within the given time from now, in groups that are
// refreshed by one event each: the roots and top-level targets; a product with its bins; a stop list.
// Where one of a group is due, those of it that expire within AlongWith come along. The groups are
// ordered by their first expiry; of those that expire together the roots come first.
func DueOf(roles []RoleVersion, now time.Time, within time.Duration) ([][]RoleRef, error) {
	type group struct {
		name  string
		first time.Time
		roles []RoleRef
	}
	groups := map[string]*group{}
	until := now.Add(max(within, AlongWith))
	for _, v := range roles {
		if v.Expires.After(until) {
			continue
		}
		name, err := GroupOf(v.Role)
		if err != nil {
			return nil, err
		}
		g := groups[name]
		if g == nil {
			g = &group{name: name, first: v.Expires}
			groups[name] = g
		}
		if v.Expires.Before(g.first) {
			g.first = v.Expires
		}
		g.roles = append(g.roles, RoleRef{v.Repository, v.Role})
	}
	var list []*group
	for _, g := range groups {
		if !g.first.After(now.Add(within)) {
			slices.SortFunc(g.roles, compareRefs)
			list = append(list, g)
		}
	}
	key := func(g *group) string {
		if g.name == metadata.Targets {
			return ""
		}
		return g.name
	}
	slices.SortFunc(list, func(a, b *group) int { return cmp.Or(a.first.Compare(b.first), cmp.Compare(key(a), key(b))) })
	var due [][]RoleRef
	for _, g := range list {
		due = append(due, g.roles)
	}
	return due, nil
}

// GroupOf names the group in which a role is refreshed: targets for the roots and top-level targets, the
// product for its bins, else the role itself. Reason malformed.
func GroupOf(role string) (string, error) {
	product, kind, err := metadata.SplitRole(role)
	switch {
	case err != nil:
		return "", err
	case kind == metadata.RoleTop:
		return metadata.Targets, nil
	case kind == metadata.RoleBin:
		return product, nil
	}
	return role, nil
}
