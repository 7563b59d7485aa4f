package rehearse

import (
	"fmt"
	"slices"

	"github.com/countersign-ota/countersign/proto/metadata"
)

// Need is what one delegation demands of one file of the event.
type Need struct {
	Repository metadata.Repository `json:"repository"`
	Role       string              `json:"role"`
	Version    int64               `json:"version"`
	// By says whose people they are: "root 3", "this root", "targets 5", "gw-100 31".
	By      string      `json:"by"`
	Classes []NeedClass `json:"classes"`
	// Complete says that enough have signed, Reachable that enough have or still can.
	Complete  bool `json:"complete"`
	Reachable bool `json:"reachable"`
	// Blockers are those who have not signed and without whom it cannot be published, ordered.
	Blockers []string `json:"blockers"`
}

// NeedClass is one class of a Need. The lists are disjoint and ordered.
type NeedClass struct {
	Class  string   `json:"class"`
	Need   int      `json:"need"`
	Signed []string `json:"signed"`
	Can    []string `json:"can"`
	Lost   []string `json:"lost"`
}

// by is one delegation that a file of the event must satisfy.
type by struct {
	label string
	d     *metadata.Delegation
}

// signatures lists what the event needs, and says whether those who are left can give it.
func (r *rehearsal) signatures() {
	if r.event == nil {
		return
	}
	for i, f := range r.event.Proposal.Files {
		at := place{f.Repository, f.Role}
		for k, b := range r.signersOf(at) {
			n := Need{Repository: at.repository, Role: at.role, Version: r.after.files[at].version, By: b.label, Complete: true, Reachable: true, Blockers: []string{}}
			for _, name := range b.d.Quorum.Classes() {
				n.class(r, b.d, name, r.validOf(i, k))
			}
			slices.Sort(n.Blockers)
			r.report.Signatures = append(r.report.Signatures, n)
			if at.role == metadata.Root && k == 0 && b.label != "this root" {
				r.oldRoot(at, &n)
			}
		}
	}
	slices.SortStableFunc(r.report.Signatures, func(a, b Need) int {
		return r.order(place{a.Repository, a.Role}) - r.order(place{b.Repository, b.Role})
	})
}

// order is the place of a role in the report; bins come last.
func (r *rehearsal) order(at place) int {
	if i := slices.IndexFunc(r.after.delegations, func(d delegated) bool { return d.place == at }); i >= 0 {
		return i
	}
	return len(r.after.delegations)
}

// validOf returns the key ids that signed, as the judgement counts them; none where there is none.
func (r *rehearsal) validOf(file, k int) []string {
	if r.judgement == nil || file >= len(r.judgement.Files) || k >= len(r.judgement.Files[file].Signers) {
		return nil
	}
	return r.judgement.Files[file].Signers[k].Tally.Valid
}

// signersOf returns the delegations that a proposed file must satisfy, in the judgement's order.
func (r *rehearsal) signersOf(at place) []by {
	var list []by
	add := func(label string, d *metadata.Delegation) {
		if d != nil && d.Quorum != nil {
			list = append(list, by{label, d})
		}
	}
	_, kind, err := metadata.SplitRole(at.role)
	switch {
	case err != nil:
	case at.role == metadata.Root:
		if old := r.before.roots[at.repository]; old != nil {
			add(fmt.Sprintf("root %d", old.Signed.Version), r.before.delegation(at))
		}
		add("this root", r.after.delegation(at))
	case kind == metadata.RoleTop:
		if root := r.after.roots[metadata.Image]; root != nil {
			add(fmt.Sprintf("root %d", root.Signed.Version), r.after.delegation(at))
		}
	case kind == metadata.RoleBin:
		product, _, _ := metadata.SplitRole(at.role)
		f := r.after.files[place{metadata.Image, product}]
		if f.targets == nil {
			break
		}
		if d, err := metadata.TargetsDelegation(f.targets, at.role, metadata.Profile); err == nil {
			add(fmt.Sprintf("%s %d", product, f.version), d)
		}
	default:
		add(fmt.Sprintf("targets %d", r.after.files[place{metadata.Image, metadata.Targets}].version), r.after.delegation(at))
	}
	return list
}

func (n *Need) class(r *rehearsal, d *metadata.Delegation, name string, valid []string) {
	c := NeedClass{Class: name, Need: d.Quorum.Require[name], Signed: []string{}, Can: []string{}, Lost: []string{}}
	for _, p := range d.Quorum.People {
		switch {
		case p.Class != name:
		case slices.Contains(valid, p.KeyID):
			c.Signed = append(c.Signed, p.ID)
		case r.lost(p):
			c.Lost = append(c.Lost, p.ID)
		default:
			c.Can = append(c.Can, p.ID)
		}
	}
	for _, list := range [][]string{c.Signed, c.Can, c.Lost} {
		slices.Sort(list)
	}
	open := c.Need - len(c.Signed)
	n.Complete = n.Complete && open <= 0
	n.Reachable = n.Reachable && open <= len(c.Can)
	if open > 0 && open >= len(c.Can) {
		n.Blockers = append(n.Blockers, c.Can...)
	}
	n.Classes = append(n.Classes, c)
}

// oldRoot says whether the people of the root in force can sign the next one, and whether they can
// without those whom it removes.
func (r *rehearsal) oldRoot(at place, n *Need) {
	for _, c := range n.Classes {
		able := len(c.Signed) + len(c.Can)
		if able < c.Need {
			r.add(Finding{
				Severity: Stuck, Code: OldRootUnreachable, Roles: []string{at.String()},
				What: fmt.Sprintf("root %d needs %d of class %s of %s, and %s", n.Version, c.Need, c.Class, n.By,
					areLeft(slices.Concat(c.Signed, c.Can))),
				Why:  "devices take the next root only with the signatures that their own demands",
				Next: "find the keys of " + names(c.Lost, "or") + " again: a copy, a second token; without them no root can follow",
			})
			continue
		}
		var leave []string
		for _, id := range c.Can {
			if !r.stays(at, id) {
				leave = append(leave, id)
			}
		}
		if missing := c.Need - (able - len(leave)); missing > 0 {
			r.add(Finding{
				Severity: Warning, Code: RemovedMustSign, Roles: []string{at.String()},
				What: mustSign(missing, leave),
				Why:  "it needs the people of " + n.By + "; once these keys are gone, no root can follow",
				Next: "let them sign before they leave or destroy their keys",
			})
		}
	}
}

// mustSign says who must sign the root that takes them out.
func mustSign(n int, leave []string) string {
	if n == len(leave) {
		return fmt.Sprintf("%s must sign the root that takes %s out", names(leave, "and"), themOr(leave))
	}
	return fmt.Sprintf("%d of %s must sign the root that takes them out", n, names(leave, "and"))
}

func themOr(who []string) string {
	if len(who) == 1 {
		return who[0]
	}
	return "them"
}

// stays reports whether a person is of the next root too.
func (r *rehearsal) stays(at place, id string) bool {
	d := r.after.delegation(at)
	return d != nil && slices.ContainsFunc(d.Quorum.People, func(p metadata.Person) bool { return p.ID == id })
}
