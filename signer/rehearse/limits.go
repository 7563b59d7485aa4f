package rehearse

import (
	"fmt"
	"slices"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/signer/event"
)

// perSignature is what a signature adds to a file at most: key id, 72 bytes in hex, punctuation.
const perSignature = 256

// limits looks at the bounds of DESIGN 6 that a change of people or products can pass.
func (r *rehearsal) limits() {
	if r.event == nil {
		return
	}
	r.keyLimits()
	products, bins := 0, 0
	for _, role := range r.after.delegates() {
		if product, kind, err := metadata.SplitRole(role); err == nil && kind == metadata.RoleProduct {
			products++
			if t := r.after.files[place{metadata.Image, product}].targets; t != nil && t.Signed.Delegations != nil && t.Signed.Delegations.SuccinctRoles != nil {
				bins += 1 << t.Signed.Delegations.SuccinctRoles.BitLength
			}
		}
	}
	before := len(r.before.delegates())
	r.count("product", products, metadata.MaxProducts, len(r.after.delegates()) > before, "retire nothing for it: names are kept for ever; found a second deployment for further products")
	r.count("bin", bins, metadata.MaxBins, bins > 0 && len(r.after.delegates()) > before, "choose fewer bins, or none, for the new product")
	for i, f := range r.event.Proposal.Files {
		r.size(place{f.Repository, f.Role}, len(r.event.Proposal.Files[i].Signed))
	}
}

// count compares how many there are in the deployment with the limit; grows says that the change adds
// some.
func (r *rehearsal) count(what string, n, limit int, grows bool, next string) {
	switch {
	case n > limit:
		r.add(Finding{
			Severity: Stuck, Code: LimitPassed, Reason: reason.Limit, Roles: []string{metadata.Targets},
			What: fmt.Sprintf("%s in the deployment, at most %d are allowed", plural(n, what), limit),
			Why:  "no tool signs it and no device takes it", Next: next,
		})
	case n == limit && grows:
		r.add(Finding{
			Severity: Warning, Code: LimitReached, Roles: []string{metadata.Targets},
			What: fmt.Sprintf("%s in the deployment, which is all that it may ever have", plural(n, what)),
			Why:  "what is delegated once stays, also when a product is retired", Next: next,
		})
	}
}

// planLimits compares the people of each role of a plan with MaxKeys: a root or targets with more does not
// even read.
func (r *rehearsal) planLimits(p *event.Plan) {
	count := func(people map[string][]string, roles ...string) {
		n := 0
		for _, ids := range people {
			n += len(ids)
		}
		if n > metadata.MaxKeys {
			r.passed(n, "people in the role", "name fewer people", roles...)
		}
	}
	count(p.Roots.People, "image root", "director root", metadata.Targets)
	for _, product := range sortedKeys(p.Products) {
		count(p.Products[product].People, product)
		count(map[string][]string{metadata.StopClass: p.Products[product].Stop}, metadata.StopRole(product))
	}
}

func (r *rehearsal) passed(n int, what, next string, roles ...string) {
	r.add(Finding{
		Severity: Stuck, Code: LimitPassed, Reason: reason.Limit, Roles: roles,
		What: fmt.Sprintf("%d %s, at most %d are allowed", n, what, metadata.MaxKeys),
		Why:  "no tool signs it and no device takes it", Next: next,
	})
}

// keyLimits compares the keys that may sign a root, those of the one in force and the new ones together,
// with MaxSignatures.
func (r *rehearsal) keyLimits() {
	for _, repository := range []metadata.Repository{metadata.Image, metadata.Director} {
		at := place{repository, metadata.Root}
		old, next := r.before.delegation(at), r.after.delegation(at)
		if old == nil || next == nil || !r.after.files[at].proposed {
			continue
		}
		ids := slices.Concat(old.KeyIDs, next.KeyIDs)
		slices.Sort(ids)
		if n := len(slices.Compact(ids)); n > metadata.MaxSignatures {
			r.passed(n, "keys may sign, those of the root in force and the new ones", "replace the people in two changes, half of them in each", at.String())
		}
	}
}

// size compares a file, once everybody signed it, with its bound. length is that of the canonical signed
// part, to which JSON adds a little.
func (r *rehearsal) size(at place, length int) {
	ids := map[string]bool{}
	for _, b := range r.signersOf(at) {
		for _, id := range b.d.KeyIDs {
			ids[id] = true
		}
	}
	size, limit := int64(length+length/32+perSignature*len(ids)), metadata.MaxSize(metadata.Profile, at.role)
	f := Finding{
		Roles: []string{at.String()},
		What:  fmt.Sprintf("%d bytes with all signatures, at most %d are allowed", size, limit),
		Next:  "name fewer people in each role: whoever signs several products counts in each of them",
	}
	switch {
	case size > limit:
		f.Severity, f.Code, f.Reason, f.Why = Stuck, LimitPassed, reason.TooLarge, "no tool signs it and no device takes it"
	case size > limit/10*9:
		f.Severity, f.Code, f.Why = Warning, LimitReached, "soon no further person or product will find room"
	default:
		return
	}
	r.add(f)
}
