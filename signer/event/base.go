package event

import (
	"slices"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// baseSource is a Source over base files. Role files stand under their newest version.
type baseSource map[baseKey][]byte

// baseKey has version 0 for the newest one.
type baseKey struct {
	repository metadata.Repository
	role       string
	version    int64
}

func (b baseSource) Current(r metadata.Repository, role string) ([]byte, error) {
	return b[baseKey{r, role, 0}], nil
}

func (b baseSource) Root(r metadata.Repository, version int64) ([]byte, error) {
	return b[baseKey{r, metadata.Root, version}], nil
}

// add takes one base file. Roots are kept by version; any other role may stand once.
func (b baseSource) add(f BaseFile) error {
	if f.Role != metadata.Root {
		k := baseKey{f.Repository, f.Role, 0}
		if _, ok := b[k]; ok {
			return reason.Errorf(reason.Malformed, "%s %s stands twice", f.Repository, f.Role)
		}
		b[k] = f.File
		return nil
	}
	root, err := metadata.ParseRoot(f.File, metadata.Profile)
	if err != nil {
		return reason.Wrap(err, "%s root", f.Repository)
	}
	k := baseKey{f.Repository, f.Role, root.Signed.Version}
	if _, ok := b[k]; ok {
		return reason.Errorf(reason.Malformed, "%s root %d stands twice", f.Repository, root.Signed.Version)
	}
	b[k] = f.File
	newest := baseKey{f.Repository, f.Role, 0}
	if current, ok := b[newest]; ok {
		other, err := metadata.ParseRoot(current, metadata.Profile)
		if err != nil || other.Signed.Version > root.Signed.Version {
			return err
		}
	}
	b[newest] = f.File
	return nil
}

// BaseOf returns the base files that e carries when it is exported: every image root (and every
// director root where the event holds that root), top-level targets, and of each product that it
// touches, or changes the delegation of, the product's file and its stop list, and the touched bins;
// also the products that a new target requires. An event of kind init has none.
func BaseOf(e *Event, files Source) ([]BaseFile, error) {
	if e.Proposal.Kind == Init {
		return nil, nil
	}
	var base []BaseFile
	if e.Proposal.Index(metadata.Director, metadata.Root) >= 0 {
		roots, err := rootsOf(files, metadata.Director)
		if err != nil {
			return nil, err
		}
		base = roots
	}
	roles := []string{metadata.Targets}
	for _, f := range e.Proposal.Files {
		product, kind, err := metadata.SplitRole(f.Role)
		if err != nil {
			return nil, err
		}
		if kind != metadata.RoleTop {
			roles = append(roles, product, metadata.StopRole(product), f.Role)
		}
		if kind == metadata.RoleStop && e.Proposal.Kind == Stop {
			bins, err := stoppedBins(f, product, files)
			if err != nil {
				return nil, err
			}
			roles = append(roles, bins...)
		}
		roles = append(roles, requiredBy(f)...)
		if f.Role == metadata.Targets {
			changed, err := changedBy(f, files)
			if err != nil {
				return nil, err
			}
			roles = append(roles, changed...)
		}
	}
	slices.Sort(roles)
	for _, role := range slices.Compact(roles) {
		data, err := files.Current(metadata.Image, role)
		if err != nil {
			return nil, reason.Wrap(err, "base: image %s", role)
		}
		if len(data) > 0 {
			base = append(base, BaseFile{metadata.Image, role, data})
		}
	}
	// "root" sorts among the roles; keep the order of repository, role and version.
	roots, err := rootsOf(files, metadata.Image)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(base, func(b BaseFile) bool { return b.Repository == metadata.Image && b.Role > metadata.Root })
	if at < 0 {
		at = len(base)
	}
	return slices.Insert(base, at, roots...), nil
}

// rootsOf returns all roots of a repository from 1 on.
func rootsOf(files Source, r metadata.Repository) ([]BaseFile, error) {
	var roots []BaseFile
	for v := int64(1); ; v++ {
		data, err := files.Root(r, v)
		if err != nil {
			return nil, reason.Wrap(err, "base: %s root %d", r, v)
		}
		if len(data) == 0 {
			return roots, nil
		}
		roots = append(roots, BaseFile{r, metadata.Root, data})
	}
}

// changedBy returns the roles whose delegation a proposed targets file changes: a signer without
// network must see that their files still satisfy it. A file that does not parse changes nothing: Judge
// refuses it.
func changedBy(f ProposedFile, files Source) ([]string, error) {
	data, err := files.Current(metadata.Image, metadata.Targets)
	if err != nil || len(data) == 0 {
		return nil, err
	}
	old, err := metadata.ParseTargets(data, metadata.Profile)
	if err != nil {
		return nil, reason.Wrap(err, "base: image targets")
	}
	next, err := parseTargets(f)
	if err != nil {
		return nil, reason.Wrap(err, "base: %s", f.Role)
	}
	if next.Signed.Delegations == nil {
		return nil, nil
	}
	var roles []string
	for _, r := range next.Signed.Delegations.Roles {
		a, errA := metadata.TargetsDelegation(old, r.Name, metadata.Profile)
		b, errB := metadata.TargetsDelegation(next, r.Name, metadata.Profile)
		if errA == nil && errB == nil && !sameDelegation(a, b) {
			roles = append(roles, r.Name)
		}
	}
	return roles, nil
}

// requiredBy returns the products that the targets of a proposed file require. A file that does not
// parse requires nothing: Judge refuses it.
func requiredBy(f ProposedFile) []string {
	_, kind, err := metadata.SplitRole(f.Role)
	if err != nil || (kind != metadata.RoleProduct && kind != metadata.RoleBin) {
		return nil
	}
	t, err := parseTargets(f)
	if err != nil {
		return nil
	}
	var products []string
	for path, target := range t.Signed.Targets {
		doc, err := metadata.ParseFirmware(path, target, true)
		if err != nil {
			continue
		}
		for _, q := range doc.Requires {
			products = append(products, q.Product)
		}
	}
	return products
}
