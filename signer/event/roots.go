package event

import (
	"slices"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// static carries out the rules that each proposed file shows by itself, under the delegator that will
// be in force with it.
func (t *trial) static() error {
	for _, p := range t.files {
		err := t.checkFile(p)
		if err == nil {
			err = misplaced(p)
		}
		if err != nil {
			return reason.Wrap(err, "%s", p)
		}
	}
	return nil
}

// misplaced refuses members that are known, but mean nothing where they stand: a reader might take them
// for true.
func misplaced(p *proposed) error {
	for _, m := range []struct {
		field string
		kind  metadata.RoleKind
	}{{metadata.HighField, metadata.RoleProduct}, {metadata.StopField, metadata.RoleStop}} {
		if _, ok := p.unrecognized()[m.field]; ok && p.kind != m.kind {
			return reason.Errorf(reason.Profile, "%s has no place here", m.field)
		}
	}
	return nil
}

func (t *trial) checkFile(p *proposed) error {
	deployment := t.state.deployment
	switch {
	case p.role == metadata.Root:
		return metadata.CheckRoot(p.root, deployment, p.repository)
	case p.kind == metadata.RoleTop:
		return metadata.CheckTopTargets(p.targets, deployment)
	}
	targets, err := t.delegator(metadata.Targets)
	if err != nil {
		return err
	}
	if p.kind == metadata.RoleStop {
		if _, err := metadata.TargetsDelegation(targets, p.role, metadata.Profile); err != nil {
			return err
		}
		return metadata.CheckStop(p.targets, deployment, p.product)
	}
	if p.kind == metadata.RoleBin {
		product, err := t.delegator(p.product)
		if err != nil {
			return err
		}
		if product.Signed.Delegations == nil || product.Signed.Delegations.SuccinctRoles == nil {
			return reason.Errorf(reason.Profile, "product %q has no bins", p.product)
		}
		return metadata.CheckBin(p.targets, deployment, p.role, product.Signed.Delegations.SuccinctRoles)
	}
	d, err := metadata.TargetsDelegation(targets, p.role, metadata.Profile)
	if err != nil {
		return err
	}
	return metadata.CheckProduct(p.targets, deployment, p.product, d)
}

// delegator returns a targets file that will be in force and must exist.
func (t *trial) delegator(role string) (*targetsFile, error) {
	f, err := t.roleAfter(role)
	if err == nil && f == nil {
		err = reason.Errorf(reason.Malformed, "image %s is not in the base", role)
	}
	return f, err
}

// rootRules carries out what holds between a new root and the server that would publish it.
func (t *trial) rootRules() error {
	image, director := t.find(metadata.Image, metadata.Root), t.find(metadata.Director, metadata.Root)
	if t.opts.Online == nil {
		return nil
	}
	if image != nil {
		if err := checkOnline(image, t.opts.Online.Image); err != nil {
			return err
		}
	}
	if director != nil {
		if err := checkOnline(director, t.opts.Online.Director); err != nil {
			return err
		}
		return checkTLS(director, t.opts.Online.TLS)
	}
	return nil
}

// checkOnline makes sure that the online roles of a root are those of this server: a root with
// another's keys would hand the deployment over.
func checkOnline(p *proposed, own *metadata.Key) error {
	want, err := metadata.RawKey(own)
	if err != nil {
		return err
	}
	for _, role := range onlineRoles(p.repository) {
		d, err := metadata.RootDelegation(p.root, role, metadata.Profile)
		if err != nil {
			return err
		}
		for _, id := range d.KeyIDs {
			got, err := metadata.RawKey(d.Keys[id])
			if err != nil {
				return reason.Wrap(err, "%s: key %.12s", p, id)
			}
			if got != want {
				return reason.Errorf(reason.OnlineKeyUnknown, "%s: key %.12s of %s is not this server's", p, id, role).
					WithHint("take online.pub from this server's `countersignd init` into the plan")
			}
		}
	}
	return nil
}

func onlineRoles(r metadata.Repository) []string {
	if r == metadata.Director {
		return []string{metadata.Targets, metadata.Snapshot, metadata.Timestamp}
	}
	return []string{metadata.Snapshot, metadata.Timestamp}
}

// checkTLS compares the TLS anchors of a new director root, or of one that changes them, with the
// server's own.
func checkTLS(p *proposed, own []string) error {
	anchors, err := tlsOf(p.root)
	if err != nil {
		return reason.Wrap(err, "%s", p)
	}
	if p.oldRoot != nil {
		old, err := tlsOf(p.oldRoot)
		if err != nil {
			return reason.Wrap(err, "%s in force", p)
		}
		if slices.Equal(old, anchors) {
			return nil
		}
	}
	want := slices.Sorted(slices.Values(own))
	if !slices.Equal(anchors, want) {
		return reason.Errorf(reason.OnlineKeyUnknown, "%s: its TLS anchors are %.12q, this server has %.12q", p, anchors, want).
			WithHint("take online.pub from this server's `countersignd init` into the plan")
	}
	return nil
}

// tlsOf returns the TLS anchors of a director root, sorted; none when it lists none.
func tlsOf(root *rootFile) ([]string, error) {
	raw, ok := root.Signed.UnrecognizedFields[metadata.TLSField]
	if !ok {
		return nil, nil
	}
	anchors, err := metadata.ParseTLS(raw)
	slices.Sort(anchors)
	return anchors, err
}
