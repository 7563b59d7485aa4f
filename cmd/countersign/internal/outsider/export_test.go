package outsider

import (
	"io"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/statement"
)

// Believed returns the approvals of a product's file that Verify would believe, without the chain that
// leads to it: a fuzzer has no time for that.
func Believed(r io.Reader, targets, product *metadata.File[metadata.TargetsRole], role string) ([]*statement.Approval, error) {
	d, err := metadata.TargetsDelegation(targets, role, metadata.Profile)
	if err != nil {
		return nil, err
	}
	s := &subject{
		role: role, version: product.Signed.Version, digest: product.Digest(), delegations: []*metadata.Delegation{d},
		signed: d.Tally(product.Canonical(), product.Signatures).Valid,
	}
	list, err := readApprovals(r, s.judge)
	var believed []*statement.Approval
	for _, a := range list {
		believed = append(believed, a.Approval)
	}
	return believed, err
}
