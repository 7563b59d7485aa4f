package event

import (
	"time"
)

// Opening is what the opener of an event brings besides the plan or spec.
type Opening struct {
	// Now is the time from which expiry counts. Required.
	Now time.Time
	// Memory gives used versions and counters; may be nil.
	Memory Memory
}

// NewInit returns the event that founds the deployment of the plan.
func NewInit(p *Plan, o Opening) (*Event, error) { panic("event: being written") }

// NewChange returns the event that leads from s to the plan: of kind Root if a root changes, else
// Product. It holds every file that would no longer satisfy its delegation, and its base.
func NewChange(p *Plan, s *State, o Opening) (*Event, error) { panic("event: being written") }

// NewRelease returns the event that adds the targets of spec as release version of product.
func NewRelease(product, version string, spec *Spec, s *State, o Opening) (*Event, error) {
	panic("event: being written")
}

// Successor returns the event that follows a cancelled one of which somebody signed a file: the old
// content under versions above all used ones (DESIGN 1.5). It is nil when nothing is used up: no
// signatures, or only roots and new roles.
func Successor(e *Event, s *State, o Opening) (*Event, error) { panic("event: being written") }

// Plan is a plan.yaml: who may sign what in a deployment.
type Plan struct{}

// ParsePlan reads a plan strictly. name is the plan's file name for errors, which give the line; read
// returns the public key files that it names. Reason: plan.
func ParsePlan(name string, data []byte, read func(file string) ([]byte, error)) (*Plan, error) {
	panic("event: being written")
}

// LoadPlan reads a plan and the public key files beside it.
func LoadPlan(path string) (*Plan, error) { panic("event: being written") }

// PlanOf returns the plan that the signed files of s carry out.
func PlanOf(s *State) (*Plan, error) { panic("event: being written") }

// YAML returns the plan as a file, with keys inline; ParsePlan reads it again.
func (p *Plan) YAML() ([]byte, error) { panic("event: being written") }

// Spec is a release.yaml: the targets of one release.
type Spec struct{}

// ParseSpec reads a spec strictly. name is the spec's file name for errors, which give the line;
// files are sought beside it. Reason: spec.
func ParseSpec(name string, data []byte) (*Spec, error) { panic("event: being written") }

// LoadSpec reads a spec.
func LoadSpec(path string) (*Spec, error) { panic("event: being written") }

// Artifact is a file at hand for a blob of an event.
type Artifact struct {
	Blob Blob
	// File is its path on this machine.
	File string
	// SHA256 and Length are those of the file.
	SHA256 string
	Length int64
	// Same says that it is what the event names.
	Same bool
}

// Artifacts are the files of a spec by blob, for the upload.
func (s *Spec) Artifacts(e *Event) []Artifact { panic("event: being written") }
