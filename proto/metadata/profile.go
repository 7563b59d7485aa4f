package metadata

import (
	"crypto/sha256"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/countersign-ota/countersign/proto/reason"
)

// Limits of a deployment (DESIGN 6).
const (
	// MaxProducts is how many products a deployment may have, retired ones included.
	MaxProducts = 64
	// MaxBins is how many bins a deployment may have, those of retired products included.
	MaxBins = 1024
	// MinBitLength and MaxBitLength bound a product's bins: 16 to 1,024.
	MinBitLength = 4
	MaxBitLength = 10
	// MaxVersion is the highest version of any role (DESIGN 1.5).
	MaxVersion = 1<<53 - 1<<20
)

// checkHead looks at what all signed parts have: scope and version.
func checkHead(unrecognized map[string]any, version int64, deployment string, r Repository, role string) error {
	if err := CheckScope(unrecognized, deployment, r, role); err != nil {
		return err
	}
	if version < 1 || version > MaxVersion {
		return reason.Errorf(reason.IntegerRange, "%s %s: version %d, want 1 to %d", r, role, version, int64(MaxVersion))
	}
	return nil
}

// checkHashes takes exactly one hash, SHA-256 (DESIGN 1.3).
func checkHashes(h metadata.Hashes) error {
	sum, ok := h["sha256"]
	if !ok || len(h) != 1 {
		return reason.Errorf(reason.Profile, "hashes %q: want exactly sha256", sortedKeys(h))
	}
	if len(sum) != sha256.Size {
		return reason.Errorf(reason.Malformed, "sha256 of %d bytes: want %d", len(sum), sha256.Size)
	}
	return nil
}

// CheckSnapshot carries out the rules of the image repository's snapshot: every entry is a role that
// can exist and states length and SHA-256 (DESIGN 1.5), targets.json among them.
func CheckSnapshot(f *File[SnapshotRole], deployment string, r Repository) error {
	s := &f.Signed
	if err := checkHead(s.UnrecognizedFields, s.Version, deployment, r, Snapshot); err != nil {
		return err
	}
	for _, name := range sortedKeys(s.Meta) {
		if err := checkMeta(name, s.Meta[name], r); err != nil {
			return reason.Wrap(err, "%s snapshot", r)
		}
	}
	if _, ok := s.Meta[Targets+".json"]; !ok {
		return reason.Errorf(reason.Profile, "%s snapshot: no entry for targets.json", r)
	}
	return nil
}

func checkMeta(name string, m *metadata.MetaFiles, r Repository) error {
	role, ok := cutJSON(name)
	if !ok {
		return reason.Errorf(reason.Profile, "entry %q is not <role>.json", clip([]byte(name)))
	}
	if _, kind, err := SplitRole(role); err != nil {
		return reason.Wrap(err, "entry %q", clip([]byte(name)))
	} else if role != Targets && (kind == RoleTop || r == Director) {
		return reason.Errorf(reason.Profile, "entry %q: the role has no place here", name)
	}
	if err := checkHashes(m.Hashes); err != nil {
		return reason.Wrap(err, "entry %q", name)
	}
	if max := MaxSize(Profile, role); m.Length < 1 || m.Length > max {
		return reason.Errorf(reason.IntegerRange, "entry %q: length %d, want 1 to %d", name, m.Length, max)
	}
	return nil
}

// cutJSON cuts the ending .json off a name in meta.
func cutJSON(name string) (string, bool) {
	const ending = ".json"
	if len(name) <= len(ending) || name[len(name)-len(ending):] != ending {
		return "", false
	}
	return name[:len(name)-len(ending)], true
}

// CheckTimestamp carries out the rules of a timestamp: it names snapshot.json alone, with length and
// SHA-256.
func CheckTimestamp(f *File[TimestampRole], deployment string, r Repository) error {
	s := &f.Signed
	if err := checkHead(s.UnrecognizedFields, s.Version, deployment, r, Timestamp); err != nil {
		return err
	}
	m, ok := s.Meta[Snapshot+".json"]
	if !ok || len(s.Meta) != 1 {
		return reason.Errorf(reason.Profile, "%s timestamp: entries %q, want exactly snapshot.json", r, sortedKeys(s.Meta))
	}
	if err := checkHashes(m.Hashes); err != nil {
		return reason.Wrap(err, "%s timestamp: snapshot.json", r)
	}
	if m.Length < 1 || m.Length > MaxSnapshot {
		return reason.Errorf(reason.IntegerRange, "%s timestamp: length %d of snapshot.json, want 1 to %d", r, m.Length, MaxSnapshot)
	}
	return nil
}
