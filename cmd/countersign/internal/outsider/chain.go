package outsider

import (
	"cmp"
	"context"
	"encoding/hex"
	"slices"
	"time"

	"github.com/countersign-ota/countersign/agent/trust"
	"github.com/countersign-ota/countersign/proto/metadata"
)

// describe fills the report with the verified targets and the role files that lead to them.
func (v *verifier) describe(ctx context.Context, targets []*trust.Target) error {
	for _, t := range targets {
		d := Target{
			Path: t.Path, Counter: t.Firmware.Counter, Floor: t.Firmware.Floor, Component: t.Firmware.Component,
			Installer: t.Firmware.Installer, Hardware: t.Firmware.Hardware, Class: t.Firmware.Class,
			Length: t.Length, SHA256: hex.EncodeToString(t.SHA256[:]), Role: t.Role,
		}
		if t.Stop != nil {
			d.Stop = &Stop{At: t.Stop.At.UTC(), Reason: t.Stop.Reason}
		}
		v.report.Targets = append(v.report.Targets, d)
	}
	v.online()
	if err := v.describeRoots(ctx); err != nil {
		return err
	}
	return v.describeTargets(ctx, targets)
}

// online notes snapshot and timestamp.
func (v *verifier) online() {
	for _, e := range v.client.Expiries() {
		if e.Role == metadata.Snapshot || e.Role == metadata.Timestamp {
			v.report.Online = append(v.report.Online, Role{Role: e.Role, Version: e.Version, Expires: e.Expires.UTC(), Expired: v.expired(e.Expires)})
		}
	}
}

// expired is TUF's rule.
func (v *verifier) expired(at time.Time) bool { return !at.After(v.Now) }

// describeRoots notes the trusted root and those that follow. Each is signed by the people of the one
// before it and by its own.
func (v *verifier) describeRoots(ctx context.Context) error {
	var before *metadata.File[metadata.RootRole]
	for _, root := range v.roots {
		own, err := metadata.RootDelegation(root, metadata.Root, metadata.Profile)
		if err != nil {
			return err
		}
		s := subject{role: metadata.Root, version: root.Signed.Version, digest: root.Digest(), delegations: []*metadata.Delegation{own}}
		if before != nil {
			d, err := metadata.RootDelegation(before, metadata.Root, metadata.Profile)
			if err != nil {
				return err
			}
			s.delegations = append(s.delegations, d)
		}
		s.orphan = before == nil && s.version > 1
		if err := v.add(ctx, &s, root.Signed.Expires, root.Canonical(), root.Signatures); err != nil {
			return err
		}
		before = root
	}
	return nil
}

// describeTargets notes top-level targets, the product, the bins that list the targets, and the stop list.
func (v *verifier) describeTargets(ctx context.Context, targets []*trust.Target) error {
	product := targets[0].Firmware.Product
	roles := []string{metadata.Targets, product}
	for _, t := range targets {
		if t.Role != product {
			roles = append(roles, t.Role)
		}
	}
	slices.Sort(roles[2:])
	roles = append(slices.Compact(roles), metadata.StopRole(product))
	for _, name := range roles {
		file := v.client.Role(name)
		d, err := v.delegation(name, product)
		if err != nil {
			return err
		}
		s := subject{role: name, version: file.Signed.Version, digest: file.Digest(), delegations: []*metadata.Delegation{d}}
		if err := v.add(ctx, &s, file.Signed.Expires, file.Canonical(), file.Signatures); err != nil {
			return err
		}
	}
	return nil
}

// delegation returns under whose keys a role was verified.
func (v *verifier) delegation(name, product string) (*metadata.Delegation, error) {
	_, kind, err := metadata.SplitRole(name)
	if err != nil {
		return nil, err
	}
	switch kind {
	case metadata.RoleTop:
		return metadata.RootDelegation(v.client.Root(), name, metadata.Profile)
	case metadata.RoleBin:
		return metadata.TargetsDelegation(v.client.Role(product), name, metadata.Profile)
	}
	return metadata.TargetsDelegation(v.client.Role(metadata.Targets), name, metadata.Profile)
}

// add notes a role file.
func (v *verifier) add(ctx context.Context, s *subject, expires time.Time, canonical []byte, sigs []metadata.Signature) error {
	r, err := v.role(ctx, s, expires, canonical, sigs)
	if err != nil {
		return err
	}
	v.report.Roles = append(v.report.Roles, *r)
	return nil
}

// role returns a role file with the people who signed it and their approvals.
func (v *verifier) role(ctx context.Context, s *subject, expires time.Time, canonical []byte, sigs []metadata.Signature) (*Role, error) {
	r := &Role{
		Role: s.role, Version: s.version, SHA256: hex.EncodeToString(s.digest[:]), Expires: expires.UTC(), Expired: v.expired(expires),
		Signers: []Signer{},
	}
	for _, d := range s.delegations {
		for _, class := range d.Tally(canonical, sigs).Classes {
			for _, p := range class.Signed {
				if !slices.Contains(s.signed, p.KeyID) {
					s.signed = append(s.signed, p.KeyID)
					r.Signers = append(r.Signers, Signer{Person: p.ID, Name: p.Name, Class: p.Class, Meaning: class.Meaning, KeyID: p.KeyID})
				}
			}
		}
	}
	approvals, err := keptFor(ctx, v.Source, s, s.judge)
	if err != nil {
		return nil, err
	}
	for i := range r.Signers {
		r.Signers[i].Approval = said(&r.Signers[i], approvals)
	}
	slices.SortFunc(r.Signers, func(a, b Signer) int {
		return cmp.Or(cmp.Compare(a.Class, b.Class), cmp.Compare(a.Person, b.Person), cmp.Compare(a.KeyID, b.KeyID))
	})
	return r, nil
}

// said returns what a signer said: with the same key, or with another one with which they signed too.
func said(s *Signer, approvals []approval) *Approval {
	at := slices.IndexFunc(approvals, func(a approval) bool { return a.keyid == s.KeyID })
	if at < 0 {
		at = slices.IndexFunc(approvals, func(a approval) bool { return a.Person == s.Person })
	}
	if at < 0 {
		return nil
	}
	a := approvals[at]
	return &Approval{Name: a.Name, Class: a.file.Class, Meaning: a.file.Meaning, At: a.At, Reason: a.Reason, Event: a.Event}
}
