package rehearse

import (
	"fmt"
	"slices"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/signer/event"
)

// Codes of findings. They never change their meaning.
const (
	// A class requires more people than it has.
	ClassTooSmall = event.ClassTooSmall
	// A class of a root or of top-level targets has nobody to spare (DESIGN 1.2).
	NoSpare = "no-spare"
	// Those who are left cannot sign the next root as the root in force demands.
	OldRootUnreachable = "old-root-unreachable"
	// They cannot sign it as it demands itself, or not a root that stays as it is.
	RootUnreachable = "root-unreachable"
	// They cannot sign top-level targets, a product, or a stop list.
	TargetsUnreachable = "targets-unreachable"
	ProductUnreachable = "product-unreachable"
	StopUnreachable    = "stop-unreachable"
	// Nothing can be signed without one person.
	OnePerson = "one-person"
	// One more loss, and a role is stuck.
	OneLoss = "one-loss"
	// One person alone can sign a role.
	OneSuffices = "one-suffices"
	// The next root needs the signatures of people whom it removes.
	RemovedMustSign = "removed-must-sign"
	// A person who must sign has no key for the director root.
	NoDirectorKey = event.NoDirectorKey
	// A role names somebody of whom the plan has no keys.
	PersonUnknown = event.PersonUnknown
	// Nobody may stop a product.
	StopNobody = event.StopNobody
	// A limit of DESIGN 6 is passed, or reached.
	LimitPassed  = "limit-passed"
	LimitReached = "limit-reached"
	// A file in force would no longer satisfy its delegation, and the event does not hold it anew.
	OrphanedFile = "orphaned-file"
	// A product would lose its delegation.
	ProductDropped = "product-dropped"
	// A root is missing from the chain, or was not signed as its predecessor demands.
	ChainGap      = "chain-gap"
	ChainUnsigned = "chain-unsigned"
	// Devices need more than one cycle to follow the roots.
	ManyCycles = "many-cycles"
	// A root gives its online roles different keys.
	OnlineHalf = "online-half"
	// One online key changes and the other repository's stays.
	OnlineKept = "online-kept"
	// A key that was an online key gets another role.
	OnlineReused = "online-reused"
	// A key stands in both repositories.
	SharedKey = "shared-key"
	// A person's key is replaced in one role and stays in another.
	KeyLeft = "key-left"
	// A person leaves the roots, and stays elsewhere.
	PersonLeft = "person-left"
	// A person's key for one repository is replaced, that for the other is not.
	OtherKeyKept = "other-key-kept"
	// A key of one person becomes another's.
	KeyMoves = "key-moves"
	// A role expires soon, and the event does not sign it anew; or it has expired.
	ExpiresSoon = "expires-soon"
	Expired     = "expired"
	// Nobody may sign the change, for the reason that stands beside it.
	Refused = "refused"
)

// add takes a finding. One that differs from another in its roles only is joined with it.
func (r *rehearsal) add(f Finding) {
	for i := range r.report.Findings {
		g := &r.report.Findings[i]
		if g.Severity == f.Severity && g.Code == f.Code && g.What == f.What && g.Why == f.Why && g.Next == f.Next {
			for _, role := range f.Roles {
				if !slices.Contains(g.Roles, role) {
					g.Roles = append(g.Roles, role)
				}
			}
			return
		}
	}
	r.report.Findings = append(r.report.Findings, f)
}

// explained reports whether a stuck finding says already why signing is refused with this reason.
func (r *rehearsal) explained(why reason.Reason) bool {
	return slices.ContainsFunc(r.report.Findings, func(f Finding) bool {
		return f.Severity == Stuck && (f.Reason == why || limit(f.Reason) && limit(why))
	})
}

// limit reports whether a reason says that something is too much; it depends on where it is noticed.
func limit(why reason.Reason) bool { return why == reason.Limit || why == reason.TooLarge }

// leadsNowhere explains why a plan leads to no event at all.
func (r *rehearsal) leadsNowhere(p *event.Plan, err error) {
	for _, role := range r.before.delegates() {
		if product, kind, errRole := metadata.SplitRole(role); errRole == nil && kind == metadata.RoleProduct {
			if _, ok := p.Products[product]; !ok {
				r.dropped(product)
			}
		}
	}
	if !r.explained(reason.Profile) {
		r.refused(err)
	}
}

// refused adds an error of signer/event, unless it is explained better. What faults of the plan leave out
// leads to errors that say nothing more.
func (r *rehearsal) refused(err error) {
	if r.faulty || r.explained(reason.Of(err)) {
		return
	}
	code, next := Refused, reason.HintOf(err)
	if limit(reason.Of(err)) {
		code = LimitPassed
	}
	if next == "" {
		next = "correct what the message names, and rehearse again"
	}
	r.add(Finding{
		Severity: Stuck, Code: code, Reason: reason.Of(err),
		What: err.Error(), Why: "no tool signs it and no server publishes it", Next: next,
	})
}

// faults adds those for which the plan may only be rehearsed.
func (r *rehearsal) faults(p *event.Plan) {
	for _, f := range p.Faults() {
		r.faulty = true
		why, next := "", ""
		switch f.Code {
		case NoDirectorKey:
			why = "holders sign both roots, each with a key of its own: without this one the director root lacks a signature"
			next = "the person runs: countersign key new --person ID --director, or the plan names somebody else"
		case PersonUnknown:
			why, next = "nobody can sign with keys that the plan does not have", "add the person's .pub file to people, or take the name out"
		case StopNobody:
			why, next = "a release that harms could not be stopped", "name at least two people at stop, or leave it out: then all of the product's people may"
		case ClassTooSmall:
			why, next = "a role takes at most 64 keys, so this many can never sign", "require fewer people"
		}
		r.add(Finding{Severity: Stuck, Code: f.Code, Reason: reason.Of(f.Err), What: f.Err.Error(), Why: why, Next: next})
	}
}

// names joins names as people write them.
func names(list []string, word string) string {
	switch len(list) {
	case 0:
		return "nobody"
	case 1:
		return list[0]
	}
	last := len(list) - 1
	text := list[0]
	for _, n := range list[1:last] {
		text += ", " + n
	}
	return text + " " + word + " " + list[last]
}

func plural(n int, word string) string {
	switch {
	case n == 1:
		return "1 " + word
	case word == "person":
		return fmt.Sprintf("%d people", n)
	}
	return fmt.Sprintf("%d %ss", n, word)
}
