package metadata

import (
	"slices"
	"strings"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/countersign-ota/countersign/proto/reason"
)

// StopClass is the one class of a stop role's quorum (DESIGN 1.8).
const StopClass = "stop"

// ProductPaths returns the paths of a product's delegation: all of the product's files, nothing else.
func ProductPaths(product string) []string { return []string{product + "/*/*"} }

// CheckTopTargets carries out the rules of the image repository's top-level targets (DESIGN 1.1, 1.2,
// 1.8): no targets; exactly one delegation a product and one to its stop role, with their paths,
// quorum and policy; the limit of products; a key means one person. It verifies no signature.
func CheckTopTargets(f *File[TargetsRole], deployment string) error {
	s := &f.Signed
	if err := checkHead(s.UnrecognizedFields, s.Version, deployment, Image, Targets); err != nil {
		return err
	}
	if err := checkDelegations(f); err != nil {
		return reason.Wrap(err, "image targets %d", s.Version)
	}
	return nil
}

func checkDelegations(f *File[TargetsRole]) error {
	if len(f.Signed.Targets) > 0 {
		return reason.Errorf(reason.Profile, "top-level targets lists targets itself")
	}
	ds := f.Signed.Delegations
	if ds == nil {
		return nil
	}
	if ds.SuccinctRoles != nil {
		return reason.Errorf(reason.Profile, "top-level targets has succinct_roles")
	}
	kinds := map[string]map[RoleKind]bool{}
	persons := people{}
	for i := range ds.Roles {
		role := &ds.Roles[i]
		product, kind, err := checkDelegated(role)
		if err != nil {
			return reason.Wrap(err, "delegation to %q", clip([]byte(role.Name)))
		}
		if kinds[product] == nil {
			kinds[product] = map[RoleKind]bool{}
		}
		kinds[product][kind] = true
		d, err := TargetsDelegation(f, role.Name, Profile)
		if err != nil {
			return err
		}
		if err := d.Check(Profile); err != nil {
			return err
		}
		if kind == RoleStop && (len(d.Quorum.Require) != 1 || d.Quorum.Require[StopClass] != 1) {
			return reason.Errorf(reason.QuorumMalformed, "role %q: want one person of class %q", role.Name, StopClass)
		}
		if err := persons.add(d); err != nil {
			return err
		}
	}
	if len(kinds) > MaxProducts {
		return reason.Errorf(reason.Limit, "%d products, at most %d are allowed", len(kinds), MaxProducts)
	}
	for _, product := range sortedKeys(kinds) {
		if !kinds[product][RoleProduct] || !kinds[product][RoleStop] {
			return reason.Errorf(reason.Profile, "product %q: want a delegation to it and one to its stop role", product)
		}
	}
	return nil
}

// checkDelegated looks at one entry of delegations.roles, apart from its keys.
func checkDelegated(role *metadata.DelegatedRole) (string, RoleKind, error) {
	product, kind, err := SplitRole(role.Name)
	if err != nil {
		return "", 0, err
	}
	policy, hasPolicy := role.UnrecognizedFields[ProductField]
	switch kind {
	case RoleProduct:
		if !role.Terminating || !slices.Equal(role.Paths, ProductPaths(product)) || role.PathHashPrefixes != nil {
			return "", 0, reason.Errorf(reason.Profile, "want paths exactly %q, terminating", ProductPaths(product))
		}
		if !hasPolicy {
			return "", 0, reason.Errorf(reason.Profile, "no %s", ProductField)
		}
		if _, err := ParseProductPolicy(policy); err != nil {
			return "", 0, err
		}
	case RoleStop:
		if role.Paths == nil || len(role.Paths) > 0 || role.PathHashPrefixes != nil || !role.Terminating {
			return "", 0, reason.Errorf(reason.Profile, "want empty paths, terminating, so that a stop role can name no firmware")
		}
		if hasPolicy {
			return "", 0, reason.Errorf(reason.Profile, "%s has no place in a stop role", ProductField)
		}
	default:
		return "", 0, reason.Errorf(reason.Profile, "want a product or its stop role")
	}
	return product, kind, nil
}

// CheckProduct carries out the rules of a product's file, which d delegates (DESIGN 1.1, 1.3): targets,
// or exactly one succinct_roles with the keyids, threshold and quorum of d; the highest counter and
// the floors; the firmware documents of all targets, as a device reads them. It verifies no signature.
func CheckProduct(f *File[TargetsRole], deployment, product string, d *Delegation) error {
	s := &f.Signed
	if err := checkHead(s.UnrecognizedFields, s.Version, deployment, Image, product); err != nil {
		return err
	}
	if err := checkProduct(f, product, d); err != nil {
		return reason.Wrap(err, "product %q version %d", product, s.Version)
	}
	return nil
}

func checkProduct(f *File[TargetsRole], product string, d *Delegation) error {
	raw, ok := f.Signed.UnrecognizedFields[HighField]
	if !ok {
		return reason.Errorf(reason.Profile, "no %s", HighField)
	}
	high, err := ParseHigh(raw)
	if err != nil {
		return err
	}
	if ds := f.Signed.Delegations; ds != nil {
		if len(f.Signed.Targets) > 0 {
			return reason.Errorf(reason.Profile, "both targets and bins")
		}
		if ds.Roles != nil || ds.SuccinctRoles == nil {
			return reason.Errorf(reason.Profile, "a product delegates to its bins or not at all")
		}
		return checkSuccinct(f, product, d)
	}
	entries, err := firmwareOf(f, product)
	if err != nil {
		return err
	}
	for _, path := range sortedKeys(entries) {
		e := entries[path]
		if e.Counter > high.Counter {
			return reason.Errorf(reason.Profile, "target %q: counter %d is above %s, which says %d", path, e.Counter, HighField, high.Counter)
		}
		if e.Floor > high.Floors[e.Component] {
			return reason.Errorf(reason.Profile, "target %q: floor %d is above that of component %q in %s, which says %d", path, e.Floor, e.Component, HighField, high.Floors[e.Component])
		}
	}
	return nil
}

// checkSuccinct makes sure that the bins need the same people as the product.
func checkSuccinct(f *File[TargetsRole], product string, d *Delegation) error {
	s := f.Signed.Delegations.SuccinctRoles
	if s.NamePrefix != BinPrefix(product) || s.BitLength < MinBitLength || s.BitLength > MaxBitLength {
		return reason.Errorf(reason.Profile, "succinct_roles %q with %d bits: want %q with %d to %d", clip([]byte(s.NamePrefix)), s.BitLength, BinPrefix(product), MinBitLength, MaxBitLength)
	}
	bins, err := TargetsDelegation(f, binName(s, 0), Profile)
	if err != nil {
		return err
	}
	if err := bins.Check(Profile); err != nil {
		return err
	}
	same := d != nil && slices.Equal(slices.Sorted(slices.Values(bins.KeyIDs)), slices.Sorted(slices.Values(d.KeyIDs))) &&
		bins.Threshold == d.Threshold && bins.Quorum.Equal(d.Quorum)
	if !same {
		return reason.Errorf(reason.Profile, "keyids, threshold or quorum of the bins differ from the product's own")
	}
	return nil
}

// CheckBin carries out the rules of one bin of a product, whose product file has succinct: its targets
// belong into it, and their firmware documents are as a device reads them.
func CheckBin(f *File[TargetsRole], deployment, bin string, succinct *metadata.SuccinctRoles) error {
	s := &f.Signed
	if err := checkHead(s.UnrecognizedFields, s.Version, deployment, Image, bin); err != nil {
		return err
	}
	product, kind, err := SplitRole(bin)
	if err != nil {
		return err
	}
	if kind != RoleBin || !IsBin(succinct, bin) {
		return reason.Errorf(reason.Profile, "role %q is none of the %d bins %q", bin, 1<<succinct.BitLength, succinct.NamePrefix)
	}
	if s.Delegations != nil {
		return reason.Errorf(reason.Profile, "bin %q delegates", bin)
	}
	if _, err := firmwareOf(f, product); err != nil {
		return reason.Wrap(err, "bin %q version %d", bin, s.Version)
	}
	for _, path := range sortedKeys(s.Targets) {
		if want := BinOf(succinct, path); want != bin {
			return reason.Errorf(reason.Profile, "bin %q: target %q belongs into %q", bin, path, want)
		}
	}
	return nil
}

// firmwareOf reads the documents of all targets of one file and checks them against each other:
// (counter, component, hardware) names one target, a counter names one version, paths differ under
// case folding.
func firmwareOf(f *File[TargetsRole], product string) (map[string]*Firmware, error) {
	type image struct {
		counter             int64
		component, hardware string
	}
	images := map[image]string{}
	versions := map[int64]string{}
	folded := map[string]string{}
	entries := make(map[string]*Firmware, len(f.Signed.Targets))
	for _, path := range sortedKeys(f.Signed.Targets) {
		fw, err := ParseFirmware(path, f.Signed.Targets[path], false)
		if err != nil {
			return nil, err
		}
		if fw.Product != product {
			return nil, reason.Errorf(reason.ProductMismatch, "target %q is of product %q", path, fw.Product)
		}
		low := strings.ToLower(path)
		if other, ok := folded[low]; ok {
			return nil, reason.Errorf(reason.PathFolds, "targets %q and %q differ only in letter case", other, path)
		}
		folded[low] = path
		if v, ok := versions[fw.Counter]; ok && v != fw.Version {
			return nil, reason.Errorf(reason.CounterUsed, "target %q: counter %d is that of version %q", path, fw.Counter, v)
		}
		versions[fw.Counter] = fw.Version
		for _, h := range fw.Hardware {
			key := image{fw.Counter, fw.Component, h}
			if other, ok := images[key]; ok {
				return nil, reason.Errorf(reason.CounterUsed, "targets %q and %q have counter %d, component %q and hardware %q", other, path, fw.Counter, fw.Component, h)
			}
			images[key] = path
		}
		entries[path] = fw
	}
	return entries, nil
}

// CheckStop carries out the rules of a product's stop list: no targets, no delegations, entries of this
// product only.
func CheckStop(f *File[TargetsRole], deployment, product string) error {
	s := &f.Signed
	role := StopRole(product)
	if err := checkHead(s.UnrecognizedFields, s.Version, deployment, Image, role); err != nil {
		return err
	}
	if len(s.Targets) > 0 || s.Delegations != nil {
		return reason.Errorf(reason.Profile, "role %q: a stop list has neither targets nor delegations", role)
	}
	raw, ok := s.UnrecognizedFields[StopField]
	if !ok {
		return reason.Errorf(reason.Profile, "role %q: no %s", role, StopField)
	}
	stops, err := ParseStops(raw)
	if err != nil {
		return reason.Wrap(err, "role %q", role)
	}
	for _, e := range stops {
		if !strings.HasPrefix(e.Path, product+"/") {
			return reason.Errorf(reason.ProductMismatch, "role %q: entry for %q", role, e.Path)
		}
	}
	return nil
}
