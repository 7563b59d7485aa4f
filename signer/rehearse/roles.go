package rehearse

import (
	"fmt"
	"slices"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// Role is one role as it will stand, and what its people can lose.
type Role struct {
	Repository metadata.Repository `json:"repository"`
	Role       string              `json:"role"`
	// New says that nothing delegates it yet.
	New bool `json:"new"`
	// Retired says that the role's product is, so it signs no release any more.
	Retired bool `json:"retired,omitempty"`
	// Classes are ordered.
	Classes []Class `json:"classes"`
	// Blockers are those who are left and without whom nothing can be signed, ordered.
	Blockers []string `json:"blockers"`
	// MayLose is how many of those who are left one may lose, whoever they are; negative where too few
	// are left already.
	MayLose int `json:"may_lose"`
}

// Class is one class of a role.
type Class struct {
	Class string `json:"class"`
	Need  int    `json:"need"`
	// People are all of the class, Left those who can still sign; both ordered.
	People []string `json:"people"`
	Left   []string `json:"left"`
	// MayLose is Left less Need.
	MayLose int `json:"may_lose"`
}

// classes returns the classes of a delegation, and those without whom it cannot be met.
func (r *rehearsal) classes(d *metadata.Delegation) (classes []Class, blockers []string, mayLose int) {
	for i, name := range d.Quorum.Classes() {
		c := Class{Class: name, Need: d.Quorum.Require[name], People: []string{}, Left: []string{}}
		for _, p := range d.Quorum.People {
			if p.Class != name {
				continue
			}
			c.People = append(c.People, p.ID)
			if !r.lost(p) {
				c.Left = append(c.Left, p.ID)
			}
		}
		slices.Sort(c.People)
		slices.Sort(c.Left)
		c.MayLose = len(c.Left) - c.Need
		if c.MayLose <= 0 {
			blockers = append(blockers, c.Left...)
		}
		if i == 0 || c.MayLose < mayLose {
			mayLose = c.MayLose
		}
		classes = append(classes, c)
	}
	slices.Sort(blockers)
	return classes, slices.Compact(blockers), mayLose
}

// roles looks at every role as it will stand.
func (r *rehearsal) roles() {
	for _, d := range r.after.delegations {
		role := Role{Repository: d.repository, Role: d.role, New: r.before.delegation(d.place) == nil, Retired: d.retired}
		role.Classes, role.Blockers, role.MayLose = r.classes(d.by)
		if role.Classes == nil {
			continue // the judgement refuses it
		}
		if role.Blockers == nil {
			role.Blockers = []string{}
		}
		r.report.Roles = append(r.report.Roles, role)
		for _, c := range role.Classes {
			r.class(d, c)
		}
		if d.retired {
			continue
		}
		if d.by.Quorum.Threshold() == 1 && d.kind != metadata.RoleStop {
			r.add(Finding{
				Severity: Warning, Code: OneSuffices, Roles: []string{d.String()},
				What: "one person alone can sign", Why: "one stolen key is enough: nobody else has to agree",
				Next: "require two people, or two classes",
			})
		}
	}
}

// class says what is wrong with one class of a role.
func (r *rehearsal) class(d delegated, c Class) {
	f := Finding{Severity: Stuck, Roles: []string{d.String()}}
	top := d.kind == metadata.RoleTop
	switch {
	case len(c.People) >= c.Need && r.rests(d, c):
		return
	case len(c.People) < c.Need:
		f.Code, f.Reason = ClassTooSmall, reason.QuorumMalformed
		f.What = fmt.Sprintf("class %s needs %s and has %d: %s", c.Class, plural(c.Need, "person"), len(c.People), names(c.People, "and"))
		f.Why = "its quorum could never be met"
		f.Next = fmt.Sprintf("name %s more, or require %d", plural(c.Need-len(c.People)+spare(top), "person"), max(1, len(c.People)-spare(top)))
	case top && len(c.People) == c.Need:
		f.Code, f.Reason = NoSpare, reason.QuorumMalformed
		f.What = fmt.Sprintf("class %s needs all of its %s: %s", c.Class, plural(len(c.People), "person"), names(c.People, "and"))
		f.Why = "the first lost key would be the end: nobody could replace it, and devices take no other root"
		f.Next = "name one person more than required"
		if c.Need > 1 {
			f.Next += fmt.Sprintf(", or require %d", c.Need-1)
		}
	case c.MayLose < 0:
		f.Code = r.unreachable(d)
		f.What = fmt.Sprintf("class %s needs %d, and %s", c.Class, c.Need, areLeft(c.Left))
		f.Why, f.Next = r.wayOut(d, c)
	case c.MayLose == 0:
		f.Severity, f.Code = Warning, OneLoss
		f.What = fmt.Sprintf("class %s has nobody to spare: %s", c.Class, names(c.Left, "and"))
		switch {
		case top:
			f.Why, f.Next = "one more lost key, and nobody can change the roots or the products any more", "add a holder in this or the next change"
		case d.kind == metadata.RoleStop:
			f.Why, f.Next = "without "+c.Left[0]+" nobody can stop a release that harms", "name a second person at stop"
		default:
			f.Why, f.Next = "without "+names(c.Left, "or")+" nothing is released until the holders changed the product", "name one person more in class "+c.Class
		}
	default:
		return
	}
	r.add(f)
}

// rests reports whether nobody is asked for a class any more: a retired product's, unless this change signs
// its file. Its stop list goes on.
func (r *rehearsal) rests(d delegated, c Class) bool {
	return d.retired && d.kind != metadata.RoleStop && (c.MayLose >= 0 || !r.after.files[d.place].proposed)
}

func spare(top bool) int {
	if top {
		return 1
	}
	return 0
}

func areLeft(who []string) string {
	switch len(who) {
	case 0:
		return "nobody is left"
	case 1:
		return "only " + who[0] + " is left"
	}
	return "only " + names(who, "and") + " are left"
}

func (r *rehearsal) unreachable(d delegated) string {
	switch {
	case d.role == metadata.Root:
		return RootUnreachable
	case d.kind == metadata.RoleTop:
		return TargetsUnreachable
	case d.kind == metadata.RoleStop:
		return StopUnreachable
	}
	return ProductUnreachable
}

// wayOut says what follows when too few are left for a class, and what can be done.
func (r *rehearsal) wayOut(d delegated, c Class) (why, next string) {
	gone := slices.DeleteFunc(slices.Clone(c.People), func(id string) bool { return slices.Contains(c.Left, id) })
	switch {
	case d.retired && d.kind == metadata.RoleProduct:
		why = "this change could not be signed"
		next = "name others for " + names(gone, "and") + " in class " + c.Class + " of the plan, or leave the retired product as it is"
	case d.kind == metadata.RoleTop && r.after.files[d.place].proposed:
		why = "this change could not be signed"
		next = "name other people for " + names(gone, "and") + " in the plan, or require " + fmt.Sprint(max(1, len(c.Left)-1))
	case d.kind == metadata.RoleTop:
		why = "no later change of people, keys or products can be signed, and devices take no other root"
		next = "find the keys of " + names(gone, "or") + " again: a copy, a second token; nothing else leads on"
	case d.kind == metadata.RoleStop:
		why = "nobody could stop a release that harms"
		next = "name others at stop for " + names(gone, "and") + " in the plan; the holders sign it"
	default:
		why = "nothing could be released, withdrawn or refreshed"
		next = "name others for " + names(gone, "and") + " in class " + c.Class + " of the plan; the holders sign it"
	}
	return why, next
}

// onePerson looks whether one person is all that is left. Stop lists are left aside: who can only stop does
// not lead on.
func (r *rehearsal) onePerson() {
	var left []string
	for _, role := range r.report.Roles {
		if _, kind, err := metadata.SplitRole(role.Role); err != nil || kind == metadata.RoleStop || role.Retired {
			continue
		}
		for _, c := range role.Classes {
			left = append(left, c.Left...)
		}
	}
	slices.Sort(left)
	if left = slices.Compact(left); len(left) != 1 {
		return
	}
	r.add(Finding{
		Severity: Stuck, Code: OnePerson,
		What: "everything depends on " + left[0] + ": nobody else can sign a root, targets or a product",
		Why:  "one lost key, and nothing can be signed any more; one stolen key, and the thief signs what " + left[0] + " does",
		Next: "name other people in the roots and in each class",
	})
}
