package event

import (
	"time"

	"github.com/countersign-ota/countersign/proto/metadata"
)

// State is what is in force in a deployment: role files that were verified from the roots on. Judge
// compares a proposal with it. Role files are read and parsed when they are first asked for, and
// kept. Not safe for concurrent use.
type State struct {
	deployment string
}

// Source gives what a server has published. Files are taken as verified, since they were judged
// before they were published.
type Source interface {
	// Current returns the newest file of a role; nil, nil when there is none.
	Current(r metadata.Repository, role string) ([]byte, error)
	// Root returns one version of a root; nil, nil when there is none.
	Root(r metadata.Repository, version int64) ([]byte, error)
}

// StateOf returns the state that a server is in. files may be nil for a server that holds nothing
// yet. It reads as little as Judge needs, so it is cheap to make anew for each call.
func StateOf(files Source, deployment string) (*State, error) { panic("event: being written") }

// Pin is a root that this machine trusts already.
type Pin struct {
	// Version of the root; 0 when nothing is pinned.
	Version int64
	// Digest is the SHA-256 of the root's canonical signed part.
	Digest [32]byte
}

// Pins are the pinned roots of a deployment.
type Pins struct {
	Image, Director Pin
}

// StateFromBase verifies the base files that an event carries and returns the state that they show:
// each chain of roots from the pinned one on, top-level targets under the newest root, products, stop
// lists and bins under their delegators. Without a pin the chain is verified from its first root, and
// State.Pinned is false: the person MUST compare State.Fingerprint with one from elsewhere. Expiry is
// not judged: a refresh builds on an expired base. Reasons: base-too-old (the base ends before the
// pinned root), rollback (the pinned root has other content here), and those of verification.
func StateFromBase(e *Event, pins Pins) (*State, error) { panic("event: being written") }

// Deployment returns the deployment's id.
func (s *State) Deployment() string { return s.deployment }

// Pinned reports whether the newest root of the repository was reached from a pin.
func (s *State) Pinned(r metadata.Repository) bool { panic("event: being written") }

// Pin returns the newest root as a pin; the zero Pin when there is no root.
func (s *State) Pin(r metadata.Repository) Pin { panic("event: being written") }

// RoleVersion is one role file in force.
type RoleVersion struct {
	Repository metadata.Repository
	Role       string
	Version    int64
	// Digest is the SHA-256 of the canonical signed part.
	Digest  [32]byte
	Expires time.Time
}

// Role returns what is in force of a role; ok is false when there is nothing.
func (s *State) Role(r metadata.Repository, role string) (v RoleVersion, ok bool, err error) {
	panic("event: being written")
}

// Seen returns all roles that were read, ordered by repository and role: what a tool remembers after
// it verified a base.
func (s *State) Seen() []RoleVersion { panic("event: being written") }

// BaseOf returns the base files that e carries when it is exported: every image root (and every
// director root where the event holds that root), top-level targets, and the product, stop list and
// bins of each product that it touches.
func BaseOf(e *Event, files Source) ([]BaseFile, error) { panic("event: being written") }
