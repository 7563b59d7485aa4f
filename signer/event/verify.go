package event

import (
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// StateFromBase verifies the base files that an event carries and returns the state that they show:
// each chain of roots from the pinned one on, top-level targets under the newest root, products, stop
// lists and bins under their delegators. Without a pin, see State.Pinned. Expiry is not judged, since
// a refresh builds on an expired base. An event of kind init has no base, and one without files need not
// have any: it only carries base files. Reasons: base-too-old (the
// base ends before the pinned root), version-used (the pinned root has other content here),
// malformed, and those of verification.
func StateFromBase(e *Event, pins Pins) (*State, error) {
	base := baseSource{}
	for _, b := range e.Base {
		if err := base.add(b); err != nil {
			return nil, reason.Wrap(err, "base of event %.12s", e.ID())
		}
	}
	if len(e.Base) == 0 && len(e.Proposal.Files) > 0 && e.Proposal.Kind != Init {
		return nil, reason.Errorf(reason.Malformed, "event %.12s carries no base to verify it against", e.ID()).
			WithHint("countersign event export %.12s -o FILE, on a machine with network", e.ID())
	}
	s, err := StateFrom(base, e.Proposal.Deployment, pins)
	if err != nil {
		return nil, err
	}
	for _, b := range e.Base {
		if b.Role == metadata.Root {
			_, err = s.root(b.Repository)
		} else {
			_, err = s.role(b.Role)
		}
		if err != nil {
			return nil, reason.Wrap(err, "base of event %.12s", e.ID())
		}
	}
	return s, nil
}

// verifyChain verifies newest from the pinned root on, or from its first root when there is no pin
// (TUF 5.3; expiry of intermediate roots does not matter there either).
func (s *State) verifyChain(r metadata.Repository, newest *rootFile) error {
	pin := s.pins.of(r)
	last := newest.Signed.Version
	if last < pin.Version {
		return reason.Errorf(reason.BaseTooOld, "root %d, this machine has seen root %d", last, pin.Version).
			WithHint("have the event opened anew; if nobody knows why, report it")
	}
	first := max(pin.Version, 1)
	if last-first > maxRootSteps {
		return reason.Errorf(reason.Limit, "%d roots between %d and %d, at most %d are followed", last-first, first, last, maxRootSteps)
	}
	var prev *rootFile
	for v := first; v <= last; v++ {
		root := newest
		if v < last {
			var err error
			if root, err = s.rootVersion(r, v); err != nil {
				return err
			}
		}
		if root.Signed.Version != v {
			return reason.Errorf(reason.Malformed, "root %d stands where root %d must", root.Signed.Version, v)
		}
		if v == pin.Version && root.Digest() != pin.Digest {
			return reason.Errorf(reason.VersionUsed, "root %d is %.12x here, this machine trusts %.12x", v, root.Digest(), pin.Digest).
				WithHint("one of the two is forged: report it")
		}
		if err := s.verifyRoot(r, prev, root, v == pin.Version); err != nil {
			return reason.Wrap(err, "root %d", v)
		}
		prev = root
	}
	return nil
}

// maxRootSteps bounds how many roots are followed at once. Unlike a device, a tool starts at root 1.
const maxRootSteps = 4096

func (s *State) rootVersion(r metadata.Repository, v int64) (*rootFile, error) {
	data, err := s.files.Root(r, v)
	if err != nil {
		return nil, reason.Wrap(err, "root %d", v)
	}
	if len(data) == 0 {
		return nil, reason.Errorf(reason.Malformed, "root %d is missing from the chain", v)
	}
	return metadata.ParseRoot(data, metadata.Profile)
}

// verifyRoot verifies one root of a chain under its predecessor and under itself. A pinned root was
// verified before.
func (s *State) verifyRoot(r metadata.Repository, prev, root *rootFile, pinned bool) error {
	if err := metadata.CheckRoot(root, s.deployment, r); err != nil {
		return err
	}
	if pinned {
		return nil
	}
	if prev != nil {
		return metadata.CheckRootStep(prev, root)
	}
	d, err := metadata.RootDelegation(root, metadata.Root, metadata.Profile)
	if err != nil {
		return err
	}
	return d.Verify(root.Canonical(), root.Signatures)
}

// verifyRole verifies a file of the image repository under its delegator, which is itself verified
// first, and carries out the static rules of its kind.
func (s *State) verifyRole(role string, t *targetsFile) error {
	d, check, err := s.delegationOf(role)
	if err != nil {
		return err
	}
	if err := d.Verify(t.Canonical(), t.Signatures); err != nil {
		return err
	}
	return check(t)
}

// delegationOf returns what must be satisfied by the file in force of a role, and its static rules.
func (s *State) delegationOf(role string) (*metadata.Delegation, func(*targetsFile) error, error) {
	product, kind, err := metadata.SplitRole(role)
	if err != nil {
		return nil, nil, err
	}
	switch kind {
	case metadata.RoleTop:
		root, err := s.root(metadata.Image)
		if err != nil {
			return nil, nil, err
		}
		if root == nil {
			return nil, nil, reason.Errorf(reason.Malformed, "no image root")
		}
		d, err := metadata.RootDelegation(root, metadata.Targets, metadata.Profile)
		return d, func(t *targetsFile) error { return metadata.CheckTopTargets(t, s.deployment) }, err
	case metadata.RoleBin:
		parent, err := s.parent(product)
		if err != nil {
			return nil, nil, err
		}
		d, err := metadata.TargetsDelegation(parent, role, metadata.Profile)
		return d, func(t *targetsFile) error {
			return metadata.CheckBin(t, s.deployment, role, parent.Signed.Delegations.SuccinctRoles)
		}, err
	}
	parent, err := s.parent(metadata.Targets)
	if err != nil {
		return nil, nil, err
	}
	d, err := metadata.TargetsDelegation(parent, role, metadata.Profile)
	if kind == metadata.RoleStop {
		return d, func(t *targetsFile) error { return metadata.CheckStop(t, s.deployment, product) }, err
	}
	return d, func(t *targetsFile) error { return metadata.CheckProduct(t, s.deployment, product, d) }, err
}

// parent returns the file in force of a role that must be there.
func (s *State) parent(role string) (*targetsFile, error) {
	t, err := s.role(role)
	if err == nil && t == nil {
		err = reason.Errorf(reason.Malformed, "no image %s", role)
	}
	return t, err
}
