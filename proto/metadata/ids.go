package metadata

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/countersign-ota/countersign/proto/reason"
)

// maxID and maxFile bound ids, and version and file names, in bytes (DESIGN 1.3).
const (
	maxID   = 63
	maxFile = 128
)

// CheckID reports whether id may name a product, component, hardware, person, class, device or
// deployment (DESIGN 1.3): `[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?` and none of the top-level roles, so
// that role names derived from it with a dot can never collide. kind is the word for the error.
func CheckID(kind, id string) error {
	if !isID(id) {
		return reason.Errorf(reason.Malformed, "%s id %q: want 1 to %d of a-z, 0-9 and inner hyphens, and no name of a top-level role", kind, id, maxID)
	}
	return nil
}

func isID(id string) bool {
	if len(id) == 0 || len(id) > maxID || id[0] == '-' || id[len(id)-1] == '-' || isTopLevel(id) {
		return false
	}
	for i := range len(id) {
		c := id[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

func isTopLevel(role string) bool {
	switch role {
	case Root, Timestamp, Snapshot, Targets:
		return true
	}
	return false
}

// CheckVersion reports whether v may be the version of a release: `[A-Za-z0-9][A-Za-z0-9._+-]{0,127}`.
// Versions are for people; devices compare counters.
func CheckVersion(v string) error { return checkName("version", v) }

// CheckFile reports whether f may be the last part of a target path; the same form as a version.
func CheckFile(f string) error { return checkName("file", f) }

func checkName(kind, s string) error {
	ok := len(s) > 0 && len(s) <= maxFile
	for i := 0; ok && i < len(s); i++ {
		c := s[i]
		alnum := (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')
		ok = alnum || (i > 0 && (c == '.' || c == '_' || c == '+' || c == '-'))
	}
	if !ok {
		return reason.Errorf(reason.Malformed, "%s %q: want 1 to %d of A-Z, a-z, 0-9, dot, underscore, plus and hyphen, beginning with a letter or digit", kind, s, maxFile)
	}
	return nil
}

// TargetPath is the path of a target or evidence file: `<product>/<version>/<file>` (DESIGN 1.3).
type TargetPath struct {
	Product, Version, File string
}

// ParseTargetPath splits and checks a path.
func ParseTargetPath(path string) (TargetPath, error) {
	parts := strings.Split(path, "/")
	if len(parts) != 3 {
		return TargetPath{}, reason.Errorf(reason.Malformed, "target path %q: want <product>/<version>/<file>", path)
	}
	p := TargetPath{Product: parts[0], Version: parts[1], File: parts[2]}
	if err := CheckID("product", p.Product); err != nil {
		return TargetPath{}, reason.Wrap(err, "target path %q", path)
	}
	if err := CheckVersion(p.Version); err != nil {
		return TargetPath{}, reason.Wrap(err, "target path %q", path)
	}
	if err := CheckFile(p.File); err != nil {
		return TargetPath{}, reason.Wrap(err, "target path %q", path)
	}
	return p, nil
}

// String joins the path.
func (p TargetPath) String() string { return p.Product + "/" + p.Version + "/" + p.File }

// StopRole returns the name of the product's stop role (DESIGN 1.8): "gw-100.stop".
func StopRole(product string) string { return product + ".stop" }

// BinPrefix returns the name_prefix of the product's hash bins (DESIGN 1.1): "gw-100.bin".
func BinPrefix(product string) string { return product + ".bin" }

// RoleKind says what a role name stands for in the image repository.
type RoleKind int

const (
	// RoleTop is root, timestamp, snapshot or targets.
	RoleTop RoleKind = iota
	// RoleProduct is a product, directly under top-level targets.
	RoleProduct
	// RoleStop is a product's stop list.
	RoleStop
	// RoleBin is one hash bin of a product.
	RoleBin
)

// SplitRole returns the product and the kind of a role name; the product of a top-level role is "".
// It does not say whether the role exists.
func SplitRole(role string) (product string, kind RoleKind, err error) {
	if isTopLevel(role) {
		return "", RoleTop, nil
	}
	product, rest, derived := strings.Cut(role, ".")
	if err := CheckID("product", product); err != nil {
		return "", 0, reason.Wrap(err, "role %q", role)
	}
	if !derived {
		return product, RoleProduct, nil
	}
	if rest == "stop" {
		return product, RoleStop, nil
	}
	if suffix, ok := strings.CutPrefix(rest, "bin-"); ok && isBinSuffix(suffix) {
		return product, RoleBin, nil
	}
	return "", 0, reason.Errorf(reason.Malformed, "role %q: want a top-level role, <product>, <product>.stop or <product>.bin-<hex>", role)
}

// isBinSuffix accepts the 1 to 3 lower-case hex digits that 16 to 1,024 bins have.
func isBinSuffix(s string) bool {
	return len(s) >= 1 && len(s) <= 3 && isLowerHex(s)
}

func isLowerHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// BinOf returns the bin in which path is listed, by the leftmost bits of its SHA-256 (TAP 15).
// s MUST have a bit_length of 1 to 32, as Parse ensures.
func BinOf(s *metadata.SuccinctRoles, path string) string {
	sum := sha256.Sum256([]byte(path))
	return binName(s, uint64(binary.BigEndian.Uint32(sum[:4])>>(32-s.BitLength)))
}

// IsBin reports whether role is one of the bins of s.
func IsBin(s *metadata.SuccinctRoles, role string) bool {
	suffix, ok := strings.CutPrefix(role, s.NamePrefix+"-")
	if !ok || len(suffix) != binDigits(s) || !isLowerHex(suffix) {
		return false
	}
	n, err := strconv.ParseUint(suffix, 16, 64)
	return err == nil && n < uint64(1)<<s.BitLength
}

// Bins returns the names of all bins of s in order. s MUST have a bit_length of at most 10.
func Bins(s *metadata.SuccinctRoles) []string {
	names := make([]string, 0, 1<<s.BitLength)
	for n := range uint64(1) << s.BitLength {
		names = append(names, binName(s, n))
	}
	return names
}

func binName(s *metadata.SuccinctRoles, n uint64) string {
	return fmt.Sprintf("%s-%0*x", s.NamePrefix, binDigits(s), n)
}

// binDigits is the number of hex digits of the last bin.
func binDigits(s *metadata.SuccinctRoles) int { return (s.BitLength + 3) / 4 }
