package event

import (
	"bytes"
	"maps"
	"slices"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// NewChange returns the event that leads from s to the plan: of kind Root if a root changes, else
// Product. It holds every file that changes, and every file that would no longer satisfy its
// delegation. When nothing differs it returns nil. Reason: plan (the plan drops a product, changes the
// bins of one, or is of another deployment).
func NewChange(p *Plan, s *State, o Opening) (*Event, error) {
	if err := p.sound(); err != nil {
		return nil, err
	}
	d, err := draftChange(p, s, o)
	if d == nil || err != nil {
		return nil, err
	}
	return d.finish()
}

// draftChange returns the draft of NewChange, nil when nothing differs.
func draftChange(p *Plan, s *State, o Opening) (*draft, error) {
	if p.Deployment != s.deployment {
		return nil, reason.Errorf(reason.Plan, "%s is of deployment %q, this is %q", p.name, p.Deployment, s.deployment)
	}
	d := newDraft(Product, s, o)
	for _, r := range []metadata.Repository{metadata.Director, metadata.Image} {
		changed, err := d.changeRoot(p, r)
		if err != nil {
			return nil, err
		}
		if changed {
			d.e.Proposal.Kind = Root
		}
	}
	if err := d.changeTargets(p); err != nil {
		return nil, err
	}
	if len(d.e.Proposal.Files) == 0 {
		return nil, nil
	}
	return d, nil
}

// changeRoot proposes a root if the plan's differs from the one in force.
func (d *draft) changeRoot(p *Plan, r metadata.Repository) (bool, error) {
	old, err := d.s.root(r)
	if err != nil {
		return false, err
	}
	if old == nil {
		return false, reason.Errorf(reason.NotFound, "deployment %q has no %s root here", d.s.deployment, r)
	}
	want, err := p.root(r)
	if err != nil {
		return false, err
	}
	want.SpecVersion, want.Version, want.Expires = old.Signed.SpecVersion, old.Signed.Version, old.Signed.Expires
	canonical, err := metadata.Signed(want)
	if err != nil || bytes.Equal(canonical, old.Canonical()) {
		return false, err
	}
	want.SpecVersion = specVersion
	return true, d.addRoot(r, want, old)
}

// changeTargets proposes top-level targets if the plan's differ, or if the new root demands other
// people than those who signed the ones in force; and with them the products.
func (d *draft) changeTargets(p *Plan) error {
	old, err := d.s.parent(metadata.Targets)
	if err != nil {
		return err
	}
	want, err := p.targets()
	if err != nil {
		return err
	}
	if err := d.keepsAll(p, old); err != nil {
		return err
	}
	same := want
	same.SpecVersion, same.Version, same.Expires = old.Signed.SpecVersion, old.Signed.Version, old.Signed.Expires
	canonical, err := metadata.Signed(same)
	if err != nil {
		return err
	}
	differs := !bytes.Equal(canonical, old.Canonical())
	if !differs {
		kept, err := d.rootKeepsTargets(old)
		if err != nil || kept {
			return err
		}
	}
	if err := d.addTargets(metadata.Targets, want, old); err != nil {
		return err
	}
	if !differs {
		return nil
	}
	next, err := parseTargets(d.e.Proposal.Files[len(d.e.Proposal.Files)-1])
	if err != nil {
		return err
	}
	for _, product := range sortedKeys(p.Products) {
		if err := d.changeProduct(p, product, next); err != nil {
			return err
		}
	}
	return nil
}

// keepsAll refuses plans that drop what was published, whose name is never used again, or change the
// bins of a product, which are chosen when it is added.
func (d *draft) keepsAll(p *Plan, old *targetsFile) error {
	if old.Signed.Delegations == nil {
		return nil
	}
	for _, r := range old.Signed.Delegations.Roles {
		product, kind, err := metadata.SplitRole(r.Name)
		if err != nil {
			return err
		}
		if kind != metadata.RoleProduct {
			continue
		}
		pp, ok := p.Products[product]
		if !ok {
			return reason.Errorf(reason.Plan, "%s: product %q is missing; what was published once stays", p.name, product)
		}
		file, err := d.s.parent(product)
		if err != nil {
			return err
		}
		if bins := binsOf(file); bins != pp.Bins {
			return reason.Errorf(reason.Plan, "%s: product %q has %d bins, they are chosen when it is added", p.name, product, bins)
		}
	}
	return nil
}

// rootKeepsTargets reports whether the targets in force satisfy the root that the draft proposes.
func (d *draft) rootKeepsTargets(old *targetsFile) (bool, error) {
	i := d.e.Proposal.Index(metadata.Image, metadata.Root)
	if i < 0 {
		return true, nil
	}
	root, err := parseRoot(d.e.Proposal.Files[i])
	if err != nil {
		return false, err
	}
	want, err := metadata.RootDelegation(root, metadata.Targets, metadata.Profile)
	if err != nil {
		return false, err
	}
	return want.Verify(old.Canonical(), old.Signatures) == nil, nil
}

// changeProduct adds what of one product is new, or must be signed anew under the new targets.
func (d *draft) changeProduct(p *Plan, product string, next *targetsFile) error {
	old, err := d.s.role(product)
	if err != nil {
		return err
	}
	if old == nil {
		return d.newProduct(p, product)
	}
	bins, err := p.bins(product)
	if err != nil {
		return err
	}
	signed := old.Signed
	signed.UnrecognizedFields = maps.Clone(old.Signed.UnrecognizedFields)
	if bins != nil {
		signed.Delegations = bins
	}
	if err := d.signAnew(product, signed, old, next); err != nil {
		return err
	}
	stop := metadata.StopRole(product)
	list, err := d.s.parent(stop)
	if err != nil {
		return err
	}
	if err := d.signAnew(stop, list.Signed, list, next); err != nil {
		return err
	}
	if bins == nil {
		return nil
	}
	return d.changeBins(product)
}

// signAnew adds a role whose content changes, or whose file in force does not satisfy next.
func (d *draft) signAnew(role string, signed metadata.TargetsRole, old, next *targetsFile) error {
	want, err := metadata.TargetsDelegation(next, role, metadata.Profile)
	if err != nil {
		return err
	}
	canonical, err := metadata.Signed(signed)
	if err != nil {
		return err
	}
	if bytes.Equal(canonical, old.Canonical()) && want.Verify(old.Canonical(), old.Signatures) == nil {
		return nil
	}
	return d.addTargets(role, signed, old)
}

// changeBins adds the bins that do not satisfy the product's new file.
func (d *draft) changeBins(product string) error {
	i := slices.IndexFunc(d.e.Proposal.Files, func(f ProposedFile) bool { return f.Role == product })
	if i < 0 {
		return nil
	}
	next, err := parseTargets(d.e.Proposal.Files[i])
	if err != nil {
		return err
	}
	for _, bin := range metadata.Bins(succinctOf(next)) {
		old, err := d.s.role(bin)
		if err != nil {
			return err
		}
		if old == nil {
			continue
		}
		if err := d.signAnew(bin, old.Signed, old, next); err != nil {
			return err
		}
	}
	return nil
}

// binsOf returns the number of a product's bins, 0 for a flat one.
func binsOf(t *targetsFile) int {
	if s := succinctOf(t); s != nil {
		return 1 << s.BitLength
	}
	return 0
}
