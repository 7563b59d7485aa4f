package event

import (
	"path/filepath"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// Codes of plan faults, stable for scripts.
const (
	// NoDirectorKey: a person of the roots has no key for the director root.
	NoDirectorKey = "no-director-key"
	// PersonUnknown: a role names somebody of whom the plan has no keys.
	PersonUnknown = "person-unknown"
	// StopNobody: nobody may stop a product.
	StopNobody = "stop-nobody"
	// ClassTooSmall: a class requires more people than it has, here even more than a role may have.
	ClassTooSmall = "class-too-small"
)

// PlanFault is why a plan that reads well would leave people unable to sign.
type PlanFault struct {
	// Code is one of the constants above.
	Code string
	// Err names file and line; its reason is plan.
	Err error
}

// LoadPlanToRehearse is LoadPlan, but goes on after the faults that rehearsing explains better than one
// line can. A plan with faults is refused by NewInit and NewChange; NewDraft takes it.
func LoadPlanToRehearse(path string) (*Plan, error) {
	data, err := readFile(path, maxYAML, reason.Plan)
	if err != nil {
		return nil, err
	}
	return ParsePlanToRehearse(filepath.Base(path), data, beside(path))
}

// ParsePlanToRehearse is to ParsePlan what LoadPlanToRehearse is to LoadPlan.
func ParsePlanToRehearse(name string, data []byte, read func(file string) ([]byte, error)) (*Plan, error) {
	return parsePlan(name, data, read, true)
}

// Faults returns why the plan may only be rehearsed; none for one of LoadPlan or PlanOf.
func (p *Plan) Faults() []PlanFault { return p.faults }

// sound refuses a plan with faults.
func (p *Plan) sound() error {
	if len(p.faults) > 0 {
		return p.faults[0].Err
	}
	return nil
}

// strands returns err, or notes it where the plan is read to be rehearsed.
func (r *planReader) strands(code string, err error) error {
	if !r.lenient {
		return err
	}
	r.plan.faults = append(r.plan.faults, PlanFault{code, err})
	return nil
}

// NewDraft returns the event that NewInit or, where s has a root, NewChange would return, although
// nobody may sign it: it is not judged, and Judge says what is wrong with it. It has no base. It is nil
// when nothing differs. An error means that the plan leads to no event at all.
func NewDraft(p *Plan, s *State, o Opening) (*Event, error) {
	root, err := s.root(metadata.Image)
	if err != nil {
		return nil, err
	}
	draftOf := draftChange
	if root == nil {
		draftOf = draftInit
	}
	d, err := draftOf(p, s, o)
	if d == nil || err != nil {
		return nil, err
	}
	// What is wrong is for Judge to say; without a subject it says so after everything else.
	_ = d.settle()
	return d.e, nil
}

// RootFile returns one version of a root as it lies at hand, unverified; nil when it is not there. It
// serves those who look at the whole chain, also below what this machine pins.
func (s *State) RootFile(r metadata.Repository, version int64) ([]byte, error) {
	return s.files.Root(r, version)
}
