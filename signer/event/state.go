package event

import (
	"cmp"
	"slices"
	"time"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// The role files as this package reads them.
type (
	rootFile    = metadata.File[metadata.RootRole]
	targetsFile = metadata.File[metadata.TargetsRole]
)

// State is what is in force in a deployment: role files that were verified from the roots on. Judge
// compares a proposal with it. Role files are read, verified and parsed when they are first asked
// for, and kept; a bin that no event touches is never read. Not safe for concurrent use.
type State struct {
	deployment string
	files      Source
	// verify is false where the files were judged before they were published.
	verify bool
	pins   Pins
	cache  *Cache // may be nil
	roots  map[metadata.Repository]*rootFile
	// targets holds what was asked for; nil for a role that does not exist.
	targets map[string]*targetsFile
}

// Source gives the role files of a deployment.
type Source interface {
	// Current returns the newest file of a role; nil, nil when there is none.
	Current(r metadata.Repository, role string) ([]byte, error)
	// Root returns one version of a root; nil, nil when there is none.
	Root(r metadata.Repository, version int64) ([]byte, error)
}

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

func (p Pins) of(r metadata.Repository) Pin {
	if r == metadata.Director {
		return p.Director
	}
	return p.Image
}

// RoleVersion is one role file in force.
type RoleVersion struct {
	Repository metadata.Repository
	Role       string
	Version    int64
	// Digest is the SHA-256 of the canonical signed part.
	Digest  [32]byte
	Expires time.Time
}

// StateOf returns the state that a server is in. Its files are taken as verified, since each was
// judged before it was published. files may be nil when there are none yet. It reads as little as
// Judge needs, so it is cheap to make anew for each call.
func StateOf(files Source, deployment string) (*State, error) {
	return newState(files, deployment, Pins{}, false)
}

// StateFrom returns a state over files from anywhere, such as a server's words: each is verified when
// it is first used, as StateFromBase does.
func StateFrom(files Source, deployment string, pins Pins) (*State, error) {
	return newState(files, deployment, pins, true)
}

func newState(files Source, deployment string, pins Pins, verify bool) (*State, error) {
	if err := metadata.CheckID("deployment", deployment); err != nil {
		return nil, err
	}
	if files == nil {
		files = baseSource{}
	}
	return &State{
		deployment: deployment, files: files, verify: verify, pins: pins,
		roots: map[metadata.Repository]*rootFile{}, targets: map[string]*targetsFile{},
	}, nil
}

// Deployment returns the deployment's id.
func (s *State) Deployment() string { return s.deployment }

// Pinned reports whether trust in the repository's root comes from a pin. Without one the chain is
// verified from its first root, which proves only that it hangs together: the person MUST compare
// Pin's digest, the fingerprint, with one from elsewhere.
func (s *State) Pinned(r metadata.Repository) bool { return s.pins.of(r).Version > 0 }

// Pin returns the newest root as a pin; the zero Pin when there is no root.
func (s *State) Pin(r metadata.Repository) (Pin, error) {
	root, err := s.root(r)
	if root == nil || err != nil {
		return Pin{}, err
	}
	return Pin{root.Signed.Version, root.Digest()}, nil
}

// Role returns what is in force of a role; ok is false when there is nothing.
func (s *State) Role(r metadata.Repository, role string) (v RoleVersion, ok bool, err error) {
	if role == metadata.Root {
		root, err := s.root(r)
		if root == nil || err != nil {
			return RoleVersion{}, false, err
		}
		return RoleVersion{r, role, root.Signed.Version, root.Digest(), root.Signed.Expires}, true, nil
	}
	if r == metadata.Director {
		return RoleVersion{}, false, nil
	}
	t, err := s.role(role)
	if t == nil || err != nil {
		return RoleVersion{}, false, err
	}
	return RoleVersion{r, role, t.Signed.Version, t.Digest(), t.Signed.Expires}, true, nil
}

// Seen returns all roles that were read so far, ordered by repository and role: what a tool remembers
// after it verified a base.
func (s *State) Seen() []RoleVersion {
	var seen []RoleVersion
	for r, root := range s.roots {
		if root != nil {
			seen = append(seen, RoleVersion{r, metadata.Root, root.Signed.Version, root.Digest(), root.Signed.Expires})
		}
	}
	for role, t := range s.targets {
		if t != nil {
			seen = append(seen, RoleVersion{metadata.Image, role, t.Signed.Version, t.Digest(), t.Signed.Expires})
		}
	}
	slices.SortFunc(seen, func(a, b RoleVersion) int {
		return cmp.Or(cmp.Compare(a.Repository, b.Repository), cmp.Compare(a.Role, b.Role))
	})
	return seen
}

// root returns the newest root of a repository, nil when there is none.
func (s *State) root(r metadata.Repository) (*rootFile, error) {
	if root, ok := s.roots[r]; ok {
		return root, nil
	}
	data, err := s.files.Current(r, metadata.Root)
	if err != nil {
		return nil, reason.Wrap(err, "%s root", r)
	}
	if len(data) == 0 {
		// An exported event carries no director root unless it touches that.
		s.roots[r] = nil
		return nil, nil
	}
	root, err := cached(s.cache, "root file", data, func() (*rootFile, error) { return metadata.ParseRoot(data, metadata.Profile) })
	if err == nil {
		err = metadata.CheckScope(root.Signed.UnrecognizedFields, s.deployment, r, metadata.Root)
	}
	if err == nil && s.verify {
		err = s.verifyChain(r, root)
	}
	if err != nil {
		return nil, reason.Wrap(err, "%s root in force", r)
	}
	s.roots[r] = root
	return root, nil
}

// role returns the file in force of top-level targets or a role below it, nil when there is none.
func (s *State) role(role string) (*targetsFile, error) {
	if t, ok := s.targets[role]; ok {
		return t, nil
	}
	data, err := s.files.Current(metadata.Image, role)
	if err != nil {
		return nil, reason.Wrap(err, "image %s", role)
	}
	if len(data) == 0 {
		s.targets[role] = nil
		return nil, nil
	}
	t, err := s.cache.Targets(data)
	if err == nil {
		err = metadata.CheckScope(t.Signed.UnrecognizedFields, s.deployment, metadata.Image, role)
	}
	if err == nil && s.verify {
		err = s.verifyRole(role, t)
	}
	if err != nil {
		return nil, reason.Wrap(err, "image %s in force", role)
	}
	s.targets[role] = t
	return t, nil
}
