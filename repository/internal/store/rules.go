package store

import (
	"bytes"
	"errors"
	"strings"

	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// Every implementation calls these, so that the rules do not depend on the database.

// Bounds on what identifies records.
const (
	// maxName is the longest name of a role, person, device, token or meta key, in bytes.
	maxName = 255
	// maxVersion is the highest version that canonical JSON can hold.
	maxVersion = 1 << 53
	// digestSize is the size of a RoleRecord's digest, in bytes.
	digestSize = 32
	// MaxKey is the longest SubjectPublicKeyInfo, in bytes; RSA with 8,192 bits has 1,062.
	MaxKey = 4096
)

// CheckName refuses names that a record cannot be found by. kind is the word for the error.
func CheckName(kind, name string) error {
	if name == "" || len(name) > maxName || strings.IndexByte(name, 0) >= 0 {
		return reason.Errorf(reason.Malformed, "%s %q: want 1 to %d bytes without NUL", kind, name, maxName)
	}
	return nil
}

// CheckRole refuses roles that a record cannot be found by.
func CheckRole(r metadata.Repository, role string) error {
	if r != metadata.Image && r != metadata.Director {
		return reason.Errorf(reason.Malformed, "repository %q: want %q or %q", string(r), metadata.Image, metadata.Director)
	}
	return CheckName("role", role)
}

// CheckSPKI refuses keys that nobody can be found by. Empty is allowed: no key yet.
func CheckSPKI(spki []byte) error {
	if len(spki) > MaxKey {
		return reason.Errorf(reason.KeyMalformed, "public key of %d bytes: want at most %d", len(spki), MaxKey)
	}
	return nil
}

// CheckMeta refuses keys that implementations write themselves.
func CheckMeta(key string) error {
	if key == MetaFormat {
		return reason.Errorf(reason.Malformed, "meta key %q is the store's own", key)
	}
	return CheckName("meta key", key)
}

// PutRole judges whether rec may be published as a version of a role. old is the record of that
// version, nil if there is none; current is the newest version, 0 if there is none. It reports
// whether there is anything to write.
func PutRole(role string, version, current int64, old, rec *pb.RoleRecord) (write bool, err error) {
	if err := CheckVersion(role, version); err != nil {
		return false, err
	}
	if len(rec.GetDigest()) != digestSize || len(rec.GetData()) == 0 {
		return false, reason.Errorf(reason.Malformed, "role %q version %d: a record needs data and a digest of %d bytes, not of %d", role, version, digestSize, len(rec.GetDigest()))
	}
	if old == nil {
		if version < current {
			return false, reason.Errorf(reason.Rollback, "role %q: version %d is below the published one, %d", role, version, current)
		}
		return true, nil
	}
	// DESIGN 1.5: no version ever has two contents, and signatures that come after publication are
	// refused.
	if !bytes.Equal(old.GetDigest(), rec.GetDigest()) {
		return false, reason.Errorf(reason.VersionUsed, "role %q version %d was published with content %x, not %x", role, version, old.GetDigest(), rec.GetDigest())
	}
	if !bytes.Equal(old.GetData(), rec.GetData()) {
		return false, reason.Errorf(reason.EventPublished, "role %q version %d is published already, with other signatures", role, version)
	}
	return false, nil
}

// CheckVersion refuses what is no version of a role.
func CheckVersion(role string, version int64) error {
	if version < 1 || version > maxVersion {
		return reason.Errorf(reason.IntegerRange, "role %q: version %d: want 1 to 2^53", role, version)
	}
	return nil
}

// Recovered refuses, on a restored copy that was not recovered yet, what must wait for that: nil, or
// recover-first.
func Recovered(v View) error {
	restored, err := v.Meta(MetaRestored)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	if restored == "" {
		return nil
	}
	return reason.Errorf(reason.RecoverFirst, "this server is a copy, %s; until it is recovered it signs, opens and publishes nothing and lets nobody new in", restored).
		WithHint("on the server: countersignd recover")
}

// MergeUsed returns the higher of each part of old (nil if there is none) and rec.
func MergeUsed(old, rec *pb.UsedRecord) *pb.UsedRecord {
	return &pb.UsedRecord{
		Version: max(old.GetVersion(), rec.GetVersion()),
		Counter: max(old.GetCounter(), rec.GetCounter()),
	}
}

// SetOpen judges whether an event may be open on a role on which open is, if ok.
func SetOpen(role string, open EventID, ok bool, id EventID) error {
	if ok && open != id {
		return reason.Errorf(reason.RoleOpen, "role %q: event %s is open on it", role, open)
	}
	return nil
}

// KeyTwice is the refusal of a key that is another's.
func KeyTwice(kind, id, owner string) error {
	return reason.Errorf(reason.KeyTwice, "%s %q: the key is that of %q", kind, id, owner)
}

// NotFound is the error for a record that is not there.
func NotFound(format string, args ...any) error {
	return reason.Errorf(reason.NotFound, format+": %w", append(args, ErrNotFound)...)
}
