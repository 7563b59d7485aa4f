package publish

import (
	"bytes"
	"context"
	"slices"

	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/repository/internal/store"
)

// clean leaves the signatures out of a taken file that do not count, and adds those that count of the same
// content as others showed it, so that what is published is the same whoever showed it: devices know the
// bytes of the file that they hold, and take no other for its version.
func (n *newest) clean(f *fate) error {
	canonical, sigs, err := signaturesIn(f)
	if err != nil {
		return err
	}
	for i := range n.fates {
		g := &n.fates[i]
		if g.place() != f.place() || g.version != f.version || g.digest != f.digest || g.Assembled && !f.Assembled || bytes.Equal(g.Data, f.Data) {
			continue
		}
		_, more, err := signaturesIn(g)
		if err != nil {
			return err
		}
		sigs = append(sigs, more...)
	}
	var delegations []*metadata.Delegation
	if f.Role == metadata.Root {
		own, err := metadata.ParseRoot(f.Data, metadata.Profile)
		if err != nil {
			return err
		}
		data, err := n.over.Root(f.Repository, f.version-1)
		if err != nil {
			return err
		}
		before, err := metadata.ParseRoot(data, metadata.Profile)
		if err != nil {
			return err
		}
		for _, root := range []*metadata.File[metadata.RootRole]{before, own} {
			d, err := metadata.RootDelegation(root, metadata.Root, metadata.Profile)
			if err != nil {
				return err
			}
			delegations = append(delegations, d)
		}
	} else {
		d, err := n.delegation(f.Role)
		if err != nil {
			return err
		}
		delegations = append(delegations, d)
	}
	var count []metadata.Signature
	for _, s := range sigs {
		if len(count) == maxSignaturesAFile || slices.ContainsFunc(count, func(c metadata.Signature) bool { return c.KeyID == s.KeyID }) {
			continue
		}
		if slices.ContainsFunc(delegations, func(d *metadata.Delegation) bool {
			return len(d.Tally(canonical, []metadata.Signature{s}).Valid) == 1
		}) {
			count = append(count, s)
		}
	}
	data, err := metadata.EncodeRaw(f.Role, canonical, count)
	if err != nil {
		return err
	}
	f.Data = data
	n.over.current[f.place()] = data
	if f.Role == metadata.Root {
		n.over.roots[f.Repository][f.version] = data
	}
	return nil
}

// signaturesIn returns the canonical signed part and the signatures of a file that could be read.
func signaturesIn(f *fate) ([]byte, []metadata.Signature, error) {
	if f.Role == metadata.Root {
		root, err := metadata.ParseRoot(f.Data, metadata.Profile)
		if err != nil {
			return nil, nil, err
		}
		return root.Canonical(), root.Signatures, nil
	}
	t, err := metadata.ParseTargets(f.Data, metadata.Profile)
	if err != nil {
		return nil, nil, err
	}
	return t.Canonical(), t.Signatures, nil
}

// delegation returns what a role of the image repository hangs on.
func (n *newest) delegation(role string) (*metadata.Delegation, error) {
	product, kind, err := metadata.SplitRole(role)
	if err != nil {
		return nil, err
	}
	parent := metadata.Targets
	switch kind {
	case metadata.RoleTop:
		data, err := n.over.Current(metadata.Image, metadata.Root)
		if err != nil {
			return nil, err
		}
		root, err := metadata.ParseRoot(data, metadata.Profile)
		if err != nil {
			return nil, err
		}
		return metadata.RootDelegation(root, role, metadata.Profile)
	case metadata.RoleBin:
		parent = product
	}
	data, err := n.over.Current(metadata.Image, parent)
	if err != nil {
		return nil, err
	}
	t, err := n.p.cache.Targets(data)
	if err != nil {
		return nil, err
	}
	return metadata.TargetsDelegation(t, role, metadata.Profile)
}

// kept returns the newer files that were shown before.
func (p *Publisher) kept(ctx context.Context) (kept []store.Newer, err error) {
	err = p.Store.View(ctx, func(v store.View) error {
		kept, err = v.Newer()
		return err
	})
	return kept, err
}

func shownOf(n store.Newer) Shown {
	return Shown{Repository: n.Repository, Role: n.Role, Data: n.Record.GetData(), From: n.Record.GetFrom()}
}

func newerRecord(c *candidate, at int64) *pb.NewerRecord {
	return &pb.NewerRecord{Data: c.Data, Digest: c.digest[:], From: c.From, At: at}
}
