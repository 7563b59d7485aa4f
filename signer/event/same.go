package event

import (
	"bytes"
	"slices"
	"time"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// sameContent makes sure that a proposed file differs from the one in force in version and expiry
// only, and with delegation also in whom its delegation to bins names.
func sameContent(p *proposed, delegation bool) error {
	if p.root != nil {
		r := p.root.Signed
		r.Version, r.Expires, r.SpecVersion = p.oldRoot.Signed.Version, p.oldRoot.Signed.Expires, p.oldRoot.Signed.SpecVersion
		again, err := metadata.Signed(r)
		return sameBytes(again, p.oldRoot.Canonical(), err)
	}
	s := likeOld(p)
	if delegation && s.Delegations != nil && p.oldTargets.Signed.Delegations != nil {
		if err := sameBins(p); err != nil {
			return err
		}
		s.Delegations = p.oldTargets.Signed.Delegations
	}
	again, err := metadata.Signed(s)
	return sameBytes(again, p.oldTargets.Canonical(), err)
}

// likeOld returns the signed part with version and expiry of the file in force.
func likeOld(p *proposed) metadata.TargetsRole {
	s := p.targets.Signed
	old := p.oldTargets.Signed
	s.Version, s.Expires, s.SpecVersion = old.Version, old.Expires, old.SpecVersion
	return s
}

func sameBytes(got, want []byte, err error) error {
	if err != nil {
		return err
	}
	if bytes.Equal(got, want) {
		return nil
	}
	at := 0
	for at < len(got) && at < len(want) && got[at] == want[at] {
		at++
	}
	from := max(0, at-24)
	return reason.Errorf(reason.Profile, "its content changes, which this kind of event does not do: %q instead of %q",
		got[from:min(len(got), at+40)], want[from:min(len(want), at+40)])
}

// sameBins makes sure that a product keeps its number of bins, which is chosen when it is added.
func sameBins(p *proposed) error {
	s, old := p.targets.Signed.Delegations.SuccinctRoles, p.oldTargets.Signed.Delegations.SuccinctRoles
	if s == nil || old == nil {
		if s != old {
			return reason.Errorf(reason.Profile, "a product's bins are chosen when it is added")
		}
		return nil
	}
	if s.BitLength != old.BitLength || s.NamePrefix != old.NamePrefix {
		return reason.Errorf(reason.Profile, "%d bits of bins, wanted %d: they are chosen when a product is added", s.BitLength, old.BitLength)
	}
	return nil
}

// succinctOf returns a product's delegation to bins, nil when it is flat.
func succinctOf(t *targetsFile) *tuf.SuccinctRoles {
	if t.Signed.Delegations == nil {
		return nil
	}
	return t.Signed.Delegations.SuccinctRoles
}

// sameDelegation reports whether two delegations are met by the same signatures.
func sameDelegation(a, b *metadata.Delegation) bool {
	ka, kb := slices.Sorted(slices.Values(a.KeyIDs)), slices.Sorted(slices.Values(b.KeyIDs))
	return slices.Equal(ka, kb) && a.Threshold == b.Threshold && a.Quorum.Equal(b.Quorum)
}
