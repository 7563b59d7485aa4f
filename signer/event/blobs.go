package event

import (
	"encoding/hex"
	"maps"
	"slices"
	"strings"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// blobs makes sure that the event lists exactly the files that it makes public: each target and each
// evidence file of what it adds, and that an SBOM is among them where the product wants one.
func (t *trial) blobs() error {
	want := map[string]Blob{}
	if t.release != nil {
		if err := t.evidence(t.release, want); err != nil {
			return err
		}
	}
	for _, b := range t.event.Proposal.Blobs {
		w, ok := want[b.Path]
		switch {
		case !ok:
			return reason.Errorf(reason.Malformed, "blob %q belongs to nothing that the event adds", b.Path)
		case b.SHA256 != w.SHA256:
			return reason.Errorf(reason.HashMismatch, "blob %q has sha256 %.12s, signed is %.12s", b.Path, b.SHA256, w.SHA256)
		case w.Length != 0 && b.Length != w.Length:
			return reason.Errorf(reason.LengthMismatch, "blob %q has %d bytes, signed are %d", b.Path, b.Length, w.Length)
		}
		delete(want, b.Path)
	}
	if len(want) > 0 {
		return reason.Errorf(reason.EvidenceMissing, "file %q is not among the event's blobs", slices.Min(slices.Collect(maps.Keys(want))))
	}
	return nil
}

// evidence collects the files of a release, and carries out the SBOM rule of its product.
func (t *trial) evidence(c *change, want map[string]Blob) error {
	policy, err := t.policyOf(c.product)
	if err != nil {
		return err
	}
	folded := map[string]string{}
	add := func(b Blob) error {
		fold := strings.ToLower(b.Path)
		if other, ok := folded[fold]; ok && other != b.Path {
			return reason.Errorf(reason.PathFolds, "%q and %q differ in letter case only", other, b.Path)
		}
		folded[fold] = b.Path
		if other, ok := want[b.Path]; ok && other.SHA256 != b.SHA256 {
			return reason.Errorf(reason.Malformed, "%q names two files", b.Path)
		}
		if other, ok := want[b.Path]; ok && b.Length == 0 {
			b.Length = other.Length
		}
		want[b.Path] = b
		return nil
	}
	for _, e := range c.added {
		if err := add(Blob{e.path, e.target.Length, hex.EncodeToString(e.target.Hashes["sha256"])}); err != nil {
			return err
		}
		if _, ok := e.firmware.Evidence["sbom"]; !ok && policy.SBOM == metadata.SBOMRequired {
			return reason.Errorf(reason.SBOMMissing, "%s has no SBOM, and its product wants one", c.name()).
				WithHint("name a CycloneDX or SPDX file at evidence.sbom in release.yaml")
		}
		for _, kind := range slices.Sorted(maps.Keys(e.firmware.Evidence)) {
			ref := e.firmware.Evidence[kind]
			p, err := metadata.ParseTargetPath(ref.Path)
			if err != nil {
				return reason.Wrap(err, "evidence %q", kind)
			}
			if p.Product != e.firmware.Product || p.Version != e.firmware.Version {
				return reason.Errorf(reason.ProductMismatch, "evidence %q of %q is %q, wanted one of this release", kind, e.path, ref.Path)
			}
			if err := add(Blob{ref.Path, ref.Length, ref.SHA256}); err != nil {
				return err
			}
		}
	}
	return nil
}

// policyOf returns what the plan demands of a product, from its delegation.
func (t *trial) policyOf(product string) (*metadata.ProductPolicy, error) {
	targets, err := t.delegator(metadata.Targets)
	if err != nil {
		return nil, err
	}
	return policyIn(targets, product)
}

func retired(product string) error {
	return reason.Errorf(reason.Retired, "product %q is retired; it takes no release", product).
		WithHint("a new product needs a new name: countersign change PLAN")
}

func policyIn(targets *targetsFile, product string) (*metadata.ProductPolicy, error) {
	if ds := targets.Signed.Delegations; ds != nil {
		for _, r := range ds.Roles {
			if r.Name == product {
				return metadata.ParseProductPolicy(r.UnrecognizedFields[metadata.ProductField])
			}
		}
	}
	return nil, reason.Errorf(reason.Malformed, "image targets delegates no product %q", product)
}
