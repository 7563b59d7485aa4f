package metadata

import (
	"slices"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/countersign-ota/countersign/proto/reason"
)

// CheckMembers refuses members that this program does not know, anywhere in a role file but in keys
// (unknown-member), and firmware documents with such members. Signer and server call it, so that
// nobody signs what no review shows; devices do not, since they live for 15 years.
func CheckMembers[T metadata.Roles](f *File[T]) error {
	var err error
	switch s := any(&f.Signed).(type) {
	case *RootRole:
		err = rootMembers(s)
	case *TargetsRole:
		err = targetsMembers(s)
	case *SnapshotRole:
		err = metaMembers(s.UnrecognizedFields, s.Meta)
	case *TimestampRole:
		err = metaMembers(s.UnrecognizedFields, s.Meta)
	}
	for i := 0; err == nil && i < len(f.Signatures); i++ {
		err = reason.Wrap(only(f.Signatures[i].UnrecognizedFields), "signature %d", i)
	}
	return reason.Wrap(err, "%s file", typeOf[T]())
}

// only refuses members that are not known.
func only(members map[string]any, known ...string) error {
	for _, name := range sortedKeys(members) {
		if !slices.Contains(known, name) {
			return reason.Errorf(reason.UnknownMember, "unknown member %q", clip([]byte(name)))
		}
	}
	return nil
}

func rootMembers(s *RootRole) error {
	if err := only(s.UnrecognizedFields, ScopeField, QuorumField, TLSField); err != nil {
		return err
	}
	for _, role := range sortedKeys(s.Roles) {
		if err := only(s.Roles[role].UnrecognizedFields); err != nil {
			return reason.Wrap(err, "role %q", role)
		}
	}
	return nil
}

func metaMembers(members map[string]any, meta map[string]*metadata.MetaFiles) error {
	if err := only(members, ScopeField); err != nil {
		return err
	}
	for _, name := range sortedKeys(meta) {
		if err := only(meta[name].UnrecognizedFields); err != nil {
			return reason.Wrap(err, "entry %q", name)
		}
	}
	return nil
}

func targetsMembers(s *TargetsRole) error {
	if err := only(s.UnrecognizedFields, ScopeField, HighField, StopField); err != nil {
		return err
	}
	for _, path := range sortedKeys(s.Targets) {
		if err := only(s.Targets[path].UnrecognizedFields); err != nil {
			return reason.Wrap(err, "target %q", path)
		}
		if _, err := ParseFirmware(path, s.Targets[path], true); err != nil {
			return err
		}
	}
	ds := s.Delegations
	if ds == nil {
		return nil
	}
	if err := only(ds.UnrecognizedFields); err != nil {
		return reason.Wrap(err, "delegations")
	}
	for i := range ds.Roles {
		if err := only(ds.Roles[i].UnrecognizedFields, QuorumField, ProductField); err != nil {
			return reason.Wrap(err, "delegation to %q", ds.Roles[i].Name)
		}
	}
	if ds.SuccinctRoles != nil {
		return reason.Wrap(only(ds.SuccinctRoles.UnrecognizedFields, QuorumField), "succinct_roles")
	}
	return nil
}
