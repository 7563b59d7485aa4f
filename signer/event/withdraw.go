package event

import (
	"maps"
	"slices"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// NewWithdraw returns the event that takes all targets of the release product/version out of the
// product's files; why goes into the proposal. The counter of the release stays used up. Reasons:
// not-found (the product lists no such release), usage, and those of the judgement.
func NewWithdraw(product, version, why string, s *State, o Opening) (*Event, error) {
	if err := checkReason(why, MaxReason); err != nil {
		return nil, reason.Errorf(reason.UsageError, "%v", err)
	}
	listed, err := s.listed(product, version, o.Memory)
	if err != nil {
		return nil, err
	}
	if len(listed) == 0 {
		return nil, reason.Errorf(reason.NotFound, "product %q lists no release %q", product, version)
	}
	d := newDraft(Withdraw, s, o)
	d.e.Proposal.Reason = why
	roles := []string{product}
	for _, e := range listed {
		roles = append(roles, e.role)
	}
	slices.Sort(roles)
	for _, role := range slices.Compact(roles) {
		old, err := s.parent(role)
		if err != nil {
			return nil, err
		}
		signed := old.Signed
		signed.Targets = maps.Clone(old.Signed.Targets)
		for _, e := range listed {
			if e.role == role {
				delete(signed.Targets, e.path)
			}
		}
		if err := d.addTargets(role, signed, old); err != nil {
			return nil, err
		}
	}
	return d.finish()
}

// listed returns the targets of one release that a product's file and bins list, ordered by path. Of a
// product with bins it reads every one that exists; one that is not here although m saw it is hidden, or
// not kept here, and nothing is opened for a part. Reasons: malformed, not-found (no such product),
// base-too-old.
func (s *State) listed(product, version string, m Memory) ([]entry, error) {
	if err := metadata.CheckID("product", product); err != nil {
		return nil, err
	}
	if err := metadata.CheckVersion(version); err != nil {
		return nil, err
	}
	file, err := s.role(product)
	if err != nil {
		return nil, err
	}
	if file == nil {
		return nil, reason.Errorf(reason.NotFound, "deployment %q has no product %q here", s.deployment, product)
	}
	roles := []string{product}
	if succinct := succinctOf(file); succinct != nil {
		roles = metadata.Bins(succinct)
	}
	var found []entry
	for _, role := range roles {
		t, err := s.role(role)
		if err != nil {
			return nil, err
		}
		if t == nil {
			if m != nil {
				if seen, _ := m.Seen(metadata.Image, role); seen > 0 {
					return nil, tooOld(metadata.Image, role, 0, seen)
				}
			}
			continue
		}
		entries, err := ofRelease(t, role, version)
		if err != nil {
			return nil, err
		}
		found = append(found, entries...)
	}
	slices.SortFunc(found, byPath)
	return found, nil
}

// ofRelease returns the targets of one release in one file, in no order.
func ofRelease(t *targetsFile, role, version string) ([]entry, error) {
	var found []entry
	for path, target := range t.Signed.Targets {
		p, err := metadata.ParseTargetPath(path)
		if err != nil {
			return nil, err
		}
		if p.Version != version {
			continue
		}
		firmware, err := metadata.ParseFirmware(path, target, false)
		if err != nil {
			return nil, err
		}
		found = append(found, entry{path, role, target, firmware})
	}
	return found, nil
}

// contentOfWithdraw: one release leaves its product, and nothing else changes. The high marks stay, so
// its counter never comes back (DESIGN 1.3).
func contentOfWithdraw(t *trial) error {
	c, err := t.productChange()
	if err != nil {
		return err
	}
	switch {
	case len(c.removed) == 0:
		return reason.Errorf(reason.Profile, "a withdrawal from %s removes no target", c.product)
	case len(c.added) > 0:
		return reason.Errorf(reason.Profile, "a withdrawal from %s adds %q", c.product, c.added[0].path)
	case c.file.high.Counter != c.old.Counter || !maps.Equal(c.file.high.Floors, c.old.Floors):
		return reason.Errorf(reason.Profile, "a withdrawal changes %s of %s, which stays", metadata.HighField, c.product)
	}
	version := c.removed[0].firmware.Version
	for _, e := range c.removed {
		if e.firmware.Version != version {
			return reason.Errorf(reason.Profile, "a withdrawal removes %q and %q: it is of one release", c.removed[0].path, e.path)
		}
	}
	if err := t.state.everyFile(c.product, func(role string, file *targetsFile) error {
		if p := t.find(metadata.Image, role); p != nil {
			file = p.targets
		}
		left, err := ofRelease(file, role, version)
		if err == nil && len(left) > 0 {
			err = reason.Errorf(reason.Profile, "%s still lists a target of %s", role, c.name())
		}
		return err
	}); err != nil {
		return err
	}
	return t.sameProduct(c.file)
}
