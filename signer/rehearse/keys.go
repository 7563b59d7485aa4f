package rehearse

import (
	"fmt"
	"slices"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// member is one person in one role, with the raw public key.
type member struct {
	place
	person, keyid, raw string
}

func (w *signed) members() []member {
	var list []member
	for _, d := range w.delegations {
		for _, p := range d.by.Quorum.People {
			list = append(list, member{d.place, p.ID, p.KeyID, rawOf(d.by.Keys[p.KeyID], p.KeyID)})
		}
	}
	return list
}

// rawOf returns the raw public key; one that cannot be read, which the judgement refuses, stands for
// itself.
func rawOf(k *metadata.Key, id string) string {
	if k == nil {
		return "id:" + id
	}
	raw, err := metadata.RawKey(k)
	if err != nil {
		return "id:" + id
	}
	return raw
}

// keys says whether an answer to a lost or stolen key changes all that it must.
func (r *rehearsal) keys() {
	if r.event == nil {
		return
	}
	r.shared()
	if len(r.before.delegations) == 0 {
		return
	}
	r.replaced()
	r.left()
	r.moved()
}

// replacement is one person's old key in one repository, and the roles in which another took its place.
type replacement struct {
	member
	roles []string
}

func (r *rehearsal) replacements() []replacement {
	after := r.after.members()
	var list []replacement
	for _, m := range r.before.members() {
		i := slices.IndexFunc(after, func(n member) bool { return n.place == m.place && n.person == m.person })
		if i < 0 || after[i].raw == m.raw {
			continue
		}
		k := slices.IndexFunc(list, func(p replacement) bool {
			return p.person == m.person && p.raw == m.raw && p.repository == m.repository
		})
		if k < 0 {
			k = len(list)
			list = append(list, replacement{member: m})
		}
		list[k].roles = append(list[k].roles, m.String())
	}
	return list
}

// replaced: a key that is replaced in one role is replaced in all, and with it mostly the person's key
// for the other repository, which lay in the same file or token.
func (r *rehearsal) replaced() {
	after := r.after.members()
	list := r.replacements()
	for _, p := range list {
		var still []string
		for _, m := range after {
			if m.raw == p.raw {
				still = append(still, m.String())
			}
		}
		if len(still) > 0 {
			r.add(Finding{
				Severity: Warning, Code: KeyLeft, Roles: still,
				What: fmt.Sprintf("the key %.12s of %s is replaced in %s, and still signs %s", p.keyid, p.person, names(p.roles, "and"), names(still, "and")),
				Why:  "whoever has the old key signs there as before",
				Next: "name the new key of " + p.person + " there too",
			})
		}
		other := slices.IndexFunc(after, func(m member) bool { return m.person == p.person && m.repository != p.repository })
		if other < 0 || slices.ContainsFunc(list, func(q replacement) bool { return q.person == p.person && q.repository != p.repository }) {
			continue
		}
		if r.before.holds(p.person, after[other].keyid) {
			r.add(Finding{
				Severity: Warning, Code: OtherKeyKept, Roles: []string{after[other].String()},
				What: fmt.Sprintf("the %s key of %s is replaced, the %s key %.12s stays", p.repository, p.person, after[other].repository, after[other].keyid),
				Why:  "both mostly lie in one file or token: who lost one has lost the other",
				Next: "if so: countersign key new --person " + p.person + " --director makes both anew",
			})
		}
	}
}

// left: somebody who is taken out of the roots mostly leaves everywhere.
func (r *rehearsal) left() {
	for _, id := range r.before.people() {
		root := place{metadata.Image, metadata.Root}
		if !isIn(r.before.delegation(root), id) || isIn(r.after.delegation(root), id) {
			continue
		}
		var still []string
		for _, m := range r.after.members() {
			if m.person == id {
				still = append(still, m.String())
			}
		}
		if len(still) > 0 {
			r.add(Finding{
				Severity: Warning, Code: PersonLeft, Roles: still,
				What: fmt.Sprintf("%s is taken out of the roots, and still signs %s", id, names(still, "and")),
				Why:  "if the key was lost or stolen, whoever has it signs there as before",
				Next: "if so, take " + id + " out there too, or name a new key",
			})
		}
	}
}

func isIn(d *metadata.Delegation, id string) bool {
	return d != nil && slices.ContainsFunc(d.Quorum.People, func(p metadata.Person) bool { return p.ID == id })
}

// moved: one person's key does not become another's.
func (r *rehearsal) moved() {
	before := r.before.members()
	for _, m := range r.after.members() {
		i := slices.IndexFunc(before, func(b member) bool { return b.raw == m.raw })
		if i >= 0 && before[i].person != m.person && !r.before.holdsRaw(m.person, m.raw) {
			r.add(Finding{
				Severity: Warning, Code: KeyMoves, Roles: []string{m.String()},
				What: fmt.Sprintf("the key %.12s of %s becomes that of %s", m.keyid, before[i].person, m.person),
				Why:  "earlier signatures of the one then read as the other's, and both may hold it",
				Next: "let " + m.person + " make a key: countersign key new --person " + m.person,
			})
		}
	}
}

func (w *signed) holdsRaw(person, raw string) bool {
	return slices.ContainsFunc(w.members(), func(m member) bool { return m.person == person && m.raw == raw })
}

// shared: the two repositories have no key in common (DESIGN 1.1).
func (r *rehearsal) shared() {
	director := r.after.roots[metadata.Director]
	if director == nil {
		return
	}
	raws := map[string]string{} // key id by raw key
	for id, k := range director.Signed.Keys {
		raws[rawOf(k, id)] = id
	}
	report := func(where, id string) {
		r.add(Finding{
			Severity: Stuck, Code: SharedKey, Reason: reason.KeyTwice, Roles: []string{where, "director root"},
			What: fmt.Sprintf("the key %.12s stands in both repositories", id),
			Why:  "who has it speaks for both, and devices count on two that agree; no tool signs it",
			Next: "give the director root a key of its own",
		})
	}
	if image := r.after.roots[metadata.Image]; image != nil {
		for _, id := range sortedKeys(image.Signed.Keys) {
			if _, ok := raws[rawOf(image.Signed.Keys[id], id)]; ok {
				report("image root", id)
			}
		}
	}
	for _, m := range r.after.members() {
		if _, ok := raws[m.raw]; ok && m.repository == metadata.Image {
			report(m.String(), m.keyid)
		}
	}
}
