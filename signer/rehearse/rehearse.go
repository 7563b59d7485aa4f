// Package rehearse says what would become of devices and people if a proposed change were signed and
// published, before anybody signs it: which roots still lead to it, whose signatures it needs and
// whether those who are left can give them, who can block what, how many holders may be lost, what
// expires first, and whether an answer to a stolen key changes all that it must (DESIGN 1.1, 1.2, 1.5).
//
// Start with Plan, for a plan that nobody made an event of yet, or Event. Both give a Report; its
// findings of severity Stuck are ways to end where nobody can sign or no device can follow.
//
// Like signer/event it reads no clock and no network. What it says is computed from the state that the
// caller verified; only the chain of roots is looked at once more, since devices start at every one.
package rehearse

import (
	"slices"
	"strings"
	"time"

	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/signer/event"
)

// Options of a rehearsal.
type Options struct {
	// Now is the time by which expiry is judged. Required.
	Now time.Time
	// Memory may be nil; see event.Options.
	Memory event.Memory
	// Lost are ids of people whose keys in force can no longer sign. A key that the change gives to one
	// of them counts again.
	Lost []string
	// NoBins leaves the bins of products unread, so nothing is said of their expiry. There may be a thousand,
	// and a server may be far away.
	NoBins bool
	// AllowExample lets keys of keys-example be rehearsed; see event.Options.
	AllowExample bool
}

// Severities of findings.
const (
	// Stuck: devices or people would be left with no way on, or nobody may sign the change at all.
	Stuck = "stuck"
	// Warning: it goes on, but a person should know before signing.
	Warning = "warning"
)

// Finding is one thing to know about a change.
type Finding struct {
	// Severity is Stuck or Warning.
	Severity string `json:"severity"`
	// Code is one of the constants in codes.go, stable for scripts.
	Code string `json:"code"`
	// Reason is the one with which signing is refused; empty when it is not.
	Reason reason.Reason `json:"reason,omitempty"`
	// Already says that it is so before the change, whatever the change does.
	Already bool `json:"already,omitempty"`
	// Roles are the roles concerned, such as "image root" or "gw-100.stop", in the report's order.
	Roles []string `json:"roles,omitempty"`
	// What says what is wrong, Why what it leads to, Next the way out.
	What string `json:"what"`
	Why  string `json:"why"`
	Next string `json:"next"`
}

// Report is the result. Slices are never nil; text in it may come from outside and is not made safe.
type Report struct {
	Deployment string `json:"deployment"`
	// Event is empty for a plan: its id is known when it is opened. Kind and Subject are empty when
	// nothing would change, and the report is of what is in force.
	Event   string `json:"event,omitempty"`
	Kind    string `json:"kind,omitempty"`
	Subject string `json:"subject,omitempty"`
	// Lost are those of the options, sorted.
	Lost []string `json:"lost"`
	// Result is "stuck", "warnings" or "fine".
	Result string `json:"result"`
	// Findings have the stuck ones first.
	Findings []Finding `json:"findings"`
	// Chains say which roots reach the newest, by repository.
	Chains []Chain `json:"chains"`
	// Signatures are those that the event needs, by file and delegation.
	Signatures []Need `json:"signatures"`
	// Roles are all that people sign once the change is in force, bins as their product.
	Roles []Role `json:"roles"`
	// Expiry is what expires after the change, the first to end first.
	Expiry []Expiry `json:"expiry"`
}

// Stuck returns the findings that are stuck, also those that the change does not bring.
func (r *Report) Stuck() []Finding {
	var found []Finding
	for _, f := range r.Findings {
		if f.Severity == Stuck {
			found = append(found, f)
		}
	}
	return found
}

// Blocking returns the stuck findings that the change itself brings, and for which it should not be
// opened.
func (r *Report) Blocking() []Finding {
	return slices.DeleteFunc(r.Stuck(), func(f Finding) bool { return f.Already })
}

// Plan rehearses the event that leads from s to the plan; where nothing differs, what is in force. An
// error is one of the state, not of the plan: usage-error for a lost person whom nobody knows.
func Plan(p *event.Plan, s *event.State, o Options) (*Report, error) {
	before, err := inForce(s, !o.NoBins)
	if err != nil {
		return nil, err
	}
	e, refused := event.NewDraft(p, s, event.Opening{Now: o.Now, Memory: o.Memory, AllowExample: o.AllowExample})
	if refused != nil && !ofPlan(refused) {
		return nil, refused
	}
	r := newRehearsal(e, before, s, o)
	r.report.Event = ""
	r.faults(p)
	r.planLimits(p)
	if refused != nil {
		// It leads to no event; what is in force is still of interest.
		r.leadsNowhere(p, refused)
	}
	return r.run(ofPlan)
}

// ofPlan reports whether an error of a draft says something about its plan: all that concerns its files
// does, but not what they build on.
func ofPlan(err error) bool {
	switch reason.Of(err).Class() {
	case reason.NotAllowed, reason.Usage:
		return true
	case reason.NotAuthentic:
		return !reason.Is(err, reason.BaseTooOld) && !reason.Is(err, reason.VersionUsed)
	}
	return false
}

// Event rehearses an event, with the signatures that it has. What is not authentic about it is an
// error, and no finding: a person must look at that first.
func Event(e *event.Event, s *event.State, o Options) (*Report, error) {
	before, err := inForce(s, !o.NoBins)
	if err != nil {
		return nil, err
	}
	return newRehearsal(e, before, s, o).run(func(err error) bool { return reason.Of(err).Class() == reason.NotAllowed })
}

// rehearsal is one report in the making.
type rehearsal struct {
	event  *event.Event // nil when nothing would change
	state  *event.State
	opts   Options
	report *Report

	before, after *signed
	// judgement is nil where the event may not be signed.
	judgement *event.Judgement
	// faulty says that the plan has faults.
	faulty bool
}

func newRehearsal(e *event.Event, before *signed, s *event.State, o Options) *rehearsal {
	r := &rehearsal{event: e, state: s, opts: o, before: before, after: before.with(e), report: &Report{
		Deployment: s.Deployment(), Lost: slices.Compact(slices.Sorted(slices.Values(o.Lost))), Findings: []Finding{},
		Chains: []Chain{}, Signatures: []Need{}, Roles: []Role{}, Expiry: []Expiry{},
	}}
	if r.report.Lost == nil {
		r.report.Lost = []string{}
	}
	if e != nil {
		r.report.Event, r.report.Kind, r.report.Subject = e.ID(), e.Proposal.Kind, e.Proposal.Subject
	}
	return r
}

// run fills the report. finding says which errors of the judgement are findings.
func (r *rehearsal) run(finding func(error) bool) (*Report, error) {
	if err := r.knowsLost(); err != nil {
		return nil, err
	}
	r.limits()
	r.roles()
	r.orphans()
	r.keys()
	if err := r.online(); err != nil {
		return nil, err
	}
	if r.event != nil {
		j, err := event.Judge(r.event, r.state, event.Options{Now: r.opts.Now, Memory: r.opts.Memory, AllowExample: r.opts.AllowExample})
		switch {
		case err == nil:
			r.judgement = j
		case !r.explained(reason.Of(err)) && !finding(err):
			return nil, err
		default:
			r.refused(err)
		}
	}
	if err := r.chains(); err != nil {
		return nil, err
	}
	r.signatures()
	r.onePerson()
	if err := r.expiry(); err != nil {
		return nil, err
	}
	r.sort()
	r.report.Result = "fine"
	switch {
	case len(r.report.Stuck()) > 0:
		r.report.Result = "stuck"
	case len(r.report.Findings) > 0:
		r.report.Result = "warnings"
	}
	return r.report, nil
}

// sort puts the roles of findings into the order of a report, and findings into that of their first role,
// the stuck ones first. Those about a plan as a whole come before, those about all roles after them.
func (r *rehearsal) sort() {
	order := map[string]int{}
	for _, w := range []*signed{r.after, r.before} {
		for _, d := range w.delegations {
			if _, ok := order[d.String()]; !ok {
				order[d.String()] = len(order) + 1
			}
		}
	}
	rank := func(f Finding) int {
		switch {
		case len(f.Roles) > 0:
			return order[f.Roles[0]]
		case f.Reason != "":
			return 0
		}
		return len(order) + 1
	}
	for _, f := range r.report.Findings {
		slices.SortStableFunc(f.Roles, func(a, b string) int { return order[a] - order[b] })
	}
	slices.SortStableFunc(r.report.Findings, func(a, b Finding) int {
		if a.Severity != b.Severity {
			return strings.Compare(a.Severity, b.Severity) // stuck, warning
		}
		return rank(a) - rank(b)
	})
}

// knowsLost refuses a lost person whom no role knows: a slip of the pen would make the report rosy.
func (r *rehearsal) knowsLost() error {
	known := slices.Concat(r.before.people(), r.after.people())
	slices.Sort(known)
	known = slices.Compact(known)
	for _, id := range r.report.Lost {
		if !slices.Contains(known, id) {
			return reason.Errorf(reason.UsageError, "nobody is lost: %q signs nothing in %s; %s do", id, r.report.Deployment, names(known, "and"))
		}
	}
	return nil
}
