package trust

import (
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"fmt"
	"maps"
	"slices"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// describe names a role file in errors.
func describe(name string, version int64) string {
	if version == 0 {
		return name
	}
	return fmt.Sprintf("%s version %d", name, version)
}

func sortedNames[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// sumOf returns the SHA-256 that a delegator states of a file; zero if it states none.
func sumOf(m *tuf.MetaFiles) (sum [32]byte) {
	if h := m.Hashes["sha256"]; len(h) == len(sum) {
		copy(sum[:], h)
	}
	return sum
}

// limit returns how many bytes a role file may have: our bound, lowered by what the delegator states
// (DESIGN 6).
func limit(mode metadata.Mode, name string, stated int64) (int64, error) {
	bound := metadata.MaxSize(mode, name)
	if stated > bound {
		return 0, reason.Errorf(reason.TooLarge, "%s is stated to have %d bytes, at most %d are allowed", name, stated, bound)
	}
	if stated > 0 {
		return stated, nil
	}
	return bound, nil
}

// checkMeta compares bytes with the length and hashes that their delegator states (TUF 5.5.2, 5.6.2).
func checkMeta(name string, data []byte, m *tuf.MetaFiles) error {
	if m.Length > 0 && int64(len(data)) != m.Length {
		return reason.Errorf(reason.LengthMismatch, "%s version %d has %d bytes, signed are %d", name, m.Version, len(data), m.Length)
	}
	for _, algorithm := range sortedNames(m.Hashes) {
		want := []byte(m.Hashes[algorithm])
		got, err := hashOf(algorithm, data)
		if err != nil {
			return reason.Wrap(err, "%s", describe(name, m.Version))
		}
		if subtle.ConstantTimeCompare(got, want) != 1 {
			return reason.Errorf(reason.HashMismatch, "%s version %d has %s %x, signed is %x", name, m.Version, algorithm, got, want)
		}
	}
	return nil
}

// hashOf hashes data by the name of a TUF hash; the profile has SHA-256 only.
func hashOf(algorithm string, data []byte) ([]byte, error) {
	switch algorithm {
	case "sha256":
		sum := sha256.Sum256(data)
		return sum[:], nil
	case "sha512":
		sum := sha512.Sum512(data)
		return sum[:], nil
	}
	return nil, reason.Errorf(reason.HashMismatch, "hash %q is not known", algorithm)
}
