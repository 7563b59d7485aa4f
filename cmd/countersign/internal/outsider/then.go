package outsider

import (
	"context"
	"errors"
	"fmt"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// judged is an old version of a product or a bin, and the delegation that was in force then, as far as
// it can be proven.
type judged struct {
	role string
	file *targetsFile
	// by is the delegation under which most of its signatures count, from the newest of such top-level
	// targets, of version targets; nil while none is proven.
	by      *metadata.Delegation
	targets int64
	// valid are the ids of the keys whose signatures count under by.
	valid []string
	// why says what is missing when by is nil.
	why string
}

// whole reports whether all signatures of the file count: it is published with those that are valid, so
// nothing older can fit better.
func (j *judged) whole() bool { return j.by != nil && len(j.valid) == len(j.file.Signatures) }

// pastJudge judges old files of one product.
type pastJudge struct {
	v       *verifier
	h       *history
	product string
	files   map[*targetsFile]*judged
}

// add asks for a file to be judged. The one in force was judged already.
func (p *pastJudge) add(role string, f *targetsFile) error {
	if f == nil || p.files[f] != nil {
		return nil
	}
	j := &judged{role: role, file: f}
	p.files[f] = j
	if f != p.v.client.Role(role) {
		return nil
	}
	d, err := p.v.delegation(role, p.product)
	if err != nil {
		return err
	}
	j.by, j.targets, j.valid = d, p.v.client.Role(metadata.Targets).Signed.Version, d.Tally(f.Canonical(), f.Signatures).Valid
	return nil
}

// judge looks for the delegations, from the top-level targets in force downwards, until each file is
// judged. Top-level targets are believed that people of a root in the verified chain signed: a thief of
// keys that were in force together once can forge what was signed then, and nothing that is in force.
func (p *pastJudge) judge(ctx context.Context) error {
	top := p.v.client.Role(metadata.Targets)
	newest, oldest, bad := top.Signed.Version, top.Signed.Version, ""
	for version, gap := newest, 0; version >= 1 && gap < maxGap && p.open(); version-- {
		if version != newest {
			old, err := p.h.read(ctx, metadata.Targets, version)
			if errors.Is(err, errReads) {
				bad = err.Error()
				break
			}
			if err != nil {
				return err
			}
			if top, err = old.file, old.bad; err == nil && top != nil {
				err = p.v.byRoots(top)
			}
			if bad == "" && err != nil {
				bad = fmt.Sprintf("image targets %d: %v", version, err)
			}
			if bad == "" && top == nil {
				bad = fmt.Sprintf("image targets %d is missing here", version)
			}
			if err != nil || top == nil {
				gap++
				continue
			}
		}
		oldest, gap = version, 0
		d, err := metadata.TargetsDelegation(top, p.product, metadata.Profile)
		if err != nil {
			break // the product was not there yet, and no name is used twice
		}
		for _, j := range p.files {
			p.try(j, d, version)
		}
	}
	for _, j := range p.files {
		if j.by != nil {
			continue
		}
		j.why = fmt.Sprintf("no image targets from %d to %d that is proven here gives %s to its signers", newest, oldest, p.product)
		if bad != "" {
			j.why += "; " + bad
		}
	}
	return nil
}

// open reports whether a file still wants a delegation that fits better.
func (p *pastJudge) open() bool {
	for _, j := range p.files {
		if j.file != p.v.client.Role(j.role) && !j.whole() {
			return true
		}
	}
	return false
}

// try judges a file by a product's delegation. Bins have the quorum of their product (DESIGN 1.1).
func (p *pastJudge) try(j *judged, d *metadata.Delegation, targets int64) {
	current := p.v.client.Role(j.role)
	if j.file == current || j.whole() {
		return
	}
	t := d.Tally(j.file.Canonical(), j.file.Signatures)
	if !t.Complete || len(t.Valid) <= len(j.valid) || p.check(j, d) != nil {
		return
	}
	j.by, j.targets, j.valid = d, targets, t.Valid
}

// check carries out the rules for the file's kind.
func (p *pastJudge) check(j *judged, d *metadata.Delegation) error {
	if j.role == p.product {
		return metadata.CheckProduct(j.file, p.v.report.Deployment, p.product, d)
	}
	return metadata.CheckBin(j.file, p.v.report.Deployment, j.role, p.v.client.Role(p.product).Signed.Delegations.SuccinctRoles)
}

// byRoots verifies old top-level targets by the newest root of the chain that its signers satisfy.
func (v *verifier) byRoots(top *targetsFile) error {
	var err error
	for i := len(v.roots) - 1; i >= 0; i-- {
		root := v.roots[i]
		d, broken := metadata.RootDelegation(root, metadata.Targets, metadata.Profile)
		if broken != nil {
			return broken
		}
		if err = d.Verify(top.Canonical(), top.Signatures); err != nil {
			continue
		}
		if err = metadata.CheckTopTargets(top, v.report.Deployment); err == nil {
			err = metadata.CheckNoExampleKeys(top)
		}
		if err == nil {
			err = metadata.CheckKeys(root, nil, top)
		}
		if err == nil {
			return nil
		}
	}
	if first := v.roots[0].Signed.Version; first > 1 {
		return fmt.Errorf("by image root %d and those that follow it (one before it proves more, if you trust it): %w", first, err)
	}
	return reason.Wrap(err, "by image root 1 and those that follow it")
}
