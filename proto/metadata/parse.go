package metadata

import (
	"bytes"
	"crypto/rsa"
	"crypto/sha256"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/countersign-ota/countersign/proto/reason"
)

// Bounds of role files in bytes (DESIGN 6). A delegator that states a length can lower them, never
// raise them.
const (
	MaxRoot      = 512 << 10
	MaxTimestamp = 16 << 10
	MaxSnapshot  = 256 << 10
	MaxTargets   = 256 << 10

	maxPlainSnapshot = 2 << 20
	maxPlainTargets  = 5 << 20
)

// MaxSize returns the bound of a role's file in bytes; every role that is not root, timestamp or
// snapshot is a targets role.
func MaxSize(m Mode, role string) int64 {
	switch role {
	case Root:
		return MaxRoot
	case Timestamp:
		return MaxTimestamp
	case Snapshot:
		if m == Plain {
			return maxPlainSnapshot
		}
		return MaxSnapshot
	}
	if m == Plain {
		return maxPlainTargets
	}
	return MaxTargets
}

// File is a role file that was parsed, not verified: its bytes have one reading, and a signature over
// Canonical covers exactly what Signed holds. Do not change Signed; to make another file, copy its
// signed part and use Signed and Encode.
type File[T metadata.Roles] struct {
	*metadata.Metadata[T]
	canonical, data []byte
}

// Parse reads a role file from outside: Guard, then go-tuf's types, then the comparison of their
// re-encoding with the canonical JSON of the bytes as read (not-canonical when they differ, since
// go-tuf verifies its own re-encoding; DESIGN 7). In the profile every key must be of an allowed kind
// and stand under its recomputed id; in plain mode keys that would crash a verifier are refused, and
// others just do not count.
func Parse[T metadata.Roles](data []byte, m Mode) (*File[T], error) {
	role := typeOf[T]()
	parts, err := guard(data, role, m)
	if err != nil {
		return nil, reason.Wrap(err, "%s file", role)
	}
	f := &File[T]{Metadata: &metadata.Metadata[T]{UnrecognizedFields: map[string]any{}}, data: data}
	// Guard made sure that the file has exactly these two members, so this is what FromBytes reads.
	if err := decodeSigned(data, parts, &f.Signed); err != nil {
		return nil, reason.Wrap(err, "%s file", role)
	}
	if f.Signatures, err = decodeSignatures(data[parts.signatures.start:parts.signatures.end]); err != nil {
		return nil, reason.Wrap(err, "%s file", role)
	}
	signed := data[parts.signed.start:parts.signed.end]
	if f.canonical, err = appendCanonical(make([]byte, 0, len(signed)), signed); err != nil {
		return nil, reason.Wrap(err, "%s file", role)
	}
	again, err := Signed(f.Signed)
	if err != nil {
		return nil, reason.Wrap(err, "%s file", role)
	}
	if !bytes.Equal(again, f.canonical) {
		return nil, reason.Errorf(reason.NotCanonical, "%s file: the signed part changes when it is read and written again, near %q", role, difference(f.canonical, again))
	}
	if err := checkKeys(keysOf(&f.Signed), m); err != nil {
		return nil, reason.Wrap(err, "%s file", role)
	}
	return f, nil
}

// ParseRoot is Parse for a root file.
func ParseRoot(data []byte, m Mode) (*File[RootRole], error) { return Parse[RootRole](data, m) }

// ParseTimestamp is Parse for a timestamp file.
func ParseTimestamp(data []byte, m Mode) (*File[TimestampRole], error) {
	return Parse[TimestampRole](data, m)
}

// ParseSnapshot is Parse for a snapshot file.
func ParseSnapshot(data []byte, m Mode) (*File[SnapshotRole], error) {
	return Parse[SnapshotRole](data, m)
}

// ParseTargets is Parse for a targets file: top-level targets, a product, a stop list or a bin.
func ParseTargets(data []byte, m Mode) (*File[TargetsRole], error) {
	return Parse[TargetsRole](data, m)
}

// Canonical returns the canonical JSON of the signed part, as signatures cover it. Do not change it.
func (f *File[T]) Canonical() []byte { return f.canonical }

// Digest returns the SHA-256 of Canonical: it names a content, whoever signed it.
func (f *File[T]) Digest() [32]byte { return sha256.Sum256(f.canonical) }

// Bytes returns the file as it was read. Do not change it.
func (f *File[T]) Bytes() []byte { return f.data }

// typeOf returns the _type of a role file.
func typeOf[T metadata.Roles]() string {
	switch any(new(T)).(type) {
	case *RootRole:
		return Root
	case *TimestampRole:
		return Timestamp
	case *SnapshotRole:
		return Snapshot
	}
	return Targets
}

// keysOf returns the keys that a signed part lists, if it is a delegator.
func keysOf(signed any) map[string]*Key {
	switch s := signed.(type) {
	case *RootRole:
		return s.Keys
	case *TargetsRole:
		if s.Delegations != nil {
			return s.Delegations.Keys
		}
	}
	return nil
}

// checkKeys looks at every key that a delegator lists.
func checkKeys(keys map[string]*Key, m Mode) error {
	for _, id := range sortedKeys(keys) {
		k := keys[id]
		if m == Profile {
			if _, err := CheckKey(id, k, m); err != nil {
				return err
			}
			continue
		}
		if err := checkPlainKey(k); err != nil {
			return reason.Wrap(err, "key %s", short(id))
		}
	}
	return nil
}

// checkPlainKey refuses the keys that go-tuf would hand to ed25519.Verify, which panics on a wrong
// length, and RSA keys that anybody can factor. It looks at the type only, as go-tuf does.
func checkPlainKey(k *Key) error {
	switch k.Type {
	case metadata.KeyTypeEd25519:
		_, err := ed25519Key(k.Value.PublicKey, Plain)
		return err
	case metadata.KeyTypeRSASSA_PSS_SHA256:
		if pub, err := parsePEM(k.Value.PublicKey, Plain); err == nil {
			if r, ok := pub.(*rsa.PublicKey); ok {
				return checkRSA(r)
			}
		}
	}
	return nil
}

// difference shows where two encodings part.
func difference(a, b []byte) []byte {
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	from := max(0, i-20)
	return a[from:min(len(a), from+60)]
}
