package event

import (
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// delegated makes sure that an event which changes keys, people or quorum of a role holds every file
// that would no longer satisfy it (DESIGN 3): otherwise publishing it would leave a file that no
// device accepts.
func (t *trial) delegated() error {
	if p := t.find(metadata.Image, metadata.Root); p != nil {
		if err := t.keepsTargets(p); err != nil {
			return err
		}
	}
	if p := t.find(metadata.Image, metadata.Targets); p != nil {
		if err := t.keepsProducts(p); err != nil {
			return err
		}
	}
	for _, p := range t.files {
		if p.kind == metadata.RoleProduct {
			if err := t.keepsBins(p); err != nil {
				return err
			}
		}
	}
	return t.countBins()
}

// keepsTargets: top-level targets must satisfy the new root.
func (t *trial) keepsTargets(root *proposed) error {
	if t.find(metadata.Image, metadata.Targets) != nil {
		return nil
	}
	targets, err := t.delegator(metadata.Targets)
	if err != nil {
		return err
	}
	d, err := metadata.RootDelegation(root.root, metadata.Targets, metadata.Profile)
	if err != nil {
		return err
	}
	old, err := metadata.RootDelegation(root.oldRoot, metadata.Targets, metadata.Profile)
	if err != nil {
		return err
	}
	if sameDelegation(old, d) {
		return nil
	}
	return mustContain(metadata.Targets, d.Verify(targets.Canonical(), targets.Signatures))
}

func mustContain(role string, why error) error {
	if why == nil {
		return nil
	}
	return reason.Errorf(reason.Profile, "the event must hold image %s, signed anew: %v", role, why)
}

// keepsProducts: every product and stop list must satisfy its delegation in the new targets, and no
// product that was published may vanish: its name is never used again (DESIGN 1.5).
func (t *trial) keepsProducts(p *proposed) error {
	var oldRoles, newRoles []string
	for _, f := range []struct {
		file  *targetsFile
		names *[]string
	}{{p.oldTargets, &oldRoles}, {p.targets, &newRoles}} {
		if f.file == nil || f.file.Signed.Delegations == nil {
			continue
		}
		for _, r := range f.file.Signed.Delegations.Roles {
			*f.names = append(*f.names, r.Name)
		}
	}
	for _, role := range oldRoles {
		if _, err := metadata.TargetsDelegation(p.targets, role, metadata.Profile); err != nil {
			return reason.Errorf(reason.Profile, "%s drops %q: what was delegated once stays", p, role)
		}
		if err := staysRetired(p, role); err != nil {
			return err
		}
	}
	for _, role := range newRoles {
		if t.find(metadata.Image, role) != nil {
			continue
		}
		if err := t.keepsProduct(p, role); err != nil {
			return err
		}
	}
	return nil
}

// staysRetired: a product that was retired takes no release ever again.
func staysRetired(p *proposed, role string) error {
	if _, kind, err := metadata.SplitRole(role); err != nil || kind != metadata.RoleProduct {
		return err
	}
	old, err := policyIn(p.oldTargets, role)
	if err != nil || !old.Retired {
		return err
	}
	if next, err := policyIn(p.targets, role); err != nil || next.Retired {
		return err
	}
	return reason.Errorf(reason.Retired, "%s brings product %q back, which is retired for ever", p, role).
		WithHint("give it a new name in the plan")
}

func (t *trial) keepsProduct(p *proposed, role string) error {
	d, err := metadata.TargetsDelegation(p.targets, role, metadata.Profile)
	if err != nil {
		return err
	}
	if p.oldTargets != nil {
		if old, err := metadata.TargetsDelegation(p.oldTargets, role, metadata.Profile); err == nil && sameDelegation(old, d) {
			return nil
		}
	}
	file, err := t.state.role(role)
	if err != nil {
		return err
	}
	if file == nil {
		return reason.Errorf(reason.Profile, "the event must hold image %s, whose delegation it makes or changes", role)
	}
	if err := d.Verify(file.Canonical(), file.Signatures); err != nil {
		return mustContain(role, err)
	}
	product, kind, err := metadata.SplitRole(role)
	if err != nil || kind != metadata.RoleProduct {
		return err
	}
	// Its bins carry the product's people too, so a binned product changes with its delegation.
	return mustContain(role, metadata.CheckProduct(file, t.state.deployment, product, d))
}

// keepsBins: every bin that exists must satisfy the product's new file.
func (t *trial) keepsBins(p *proposed) error {
	s := succinctOf(p.targets)
	if s == nil || p.oldTargets == nil || succinctOf(p.oldTargets) == nil {
		return nil
	}
	// All bins have one delegation, so any of them says it for all, and no bin is read in vain.
	some := metadata.BinOf(s, "")
	d, err := metadata.TargetsDelegation(p.targets, some, metadata.Profile)
	if err != nil {
		return err
	}
	old, err := metadata.TargetsDelegation(p.oldTargets, some, metadata.Profile)
	if err != nil || sameDelegation(old, d) {
		return err
	}
	for _, bin := range metadata.Bins(s) {
		if t.find(metadata.Image, bin) != nil {
			continue
		}
		file, err := t.state.role(bin)
		if err != nil {
			return err
		}
		if file == nil {
			continue
		}
		if err := d.Verify(file.Canonical(), file.Signatures); err != nil {
			return mustContain(bin, err)
		}
	}
	return nil
}

// countBins carries out the limit of DESIGN 6 as far as product files are visible, when the event adds
// bins.
func (t *trial) countBins() error {
	added := false
	for _, p := range t.files {
		added = added || (p.kind == metadata.RoleProduct && p.base == nil && succinctOf(p.targets) != nil)
	}
	if !added {
		return nil
	}
	targets, err := t.delegator(metadata.Targets)
	if err != nil {
		return err
	}
	bins := 0
	for _, r := range targets.Signed.Delegations.Roles {
		if _, kind, err := metadata.SplitRole(r.Name); err != nil || kind != metadata.RoleProduct {
			continue
		}
		file, err := t.roleAfter(r.Name)
		if err != nil {
			return err
		}
		if file != nil && succinctOf(file) != nil {
			bins += 1 << succinctOf(file).BitLength
		}
	}
	if bins > metadata.MaxBins {
		return reason.Errorf(reason.Limit, "%d bins in the deployment, at most %d are allowed", bins, metadata.MaxBins)
	}
	return nil
}
