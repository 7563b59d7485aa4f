package publish

import (
	"context"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/repository/internal/store"
)

// Words by which CheckStored counts.
const (
	CountRoots   = "roots"
	CountRoles   = "role files in force"
	CountTargets = "targets"
	CountEvents  = "events"
)

// NamedFile is a target or evidence file that a role file in force names.
type NamedFile struct {
	Path   string
	SHA256 [32]byte
	// Length is 0 where it is not stated.
	Length int64
}

// CheckStored judges all role files and events of a stored state anew, without trusting anything that
// was decided before: root chains from version 1, every role under its delegator, snapshot and
// timestamp against what is there, events against their ids and the roles that they hold. Each thing
// is counted, and what is wrong with it handed to problem. It returns the files that must be there,
// ordered by path. The error is of the store alone.
func CheckStored(ctx context.Context, v store.View, deployment string, count func(what string), problem func(where string, err error)) ([]NamedFile, error) {
	c := &storedCheck{ctx: ctx, v: v, deployment: deployment, count: count, problem: problem, files: map[NamedFile]bool{}}
	for _, step := range []func() error{c.roots, c.targets, c.online, c.events} {
		if err := step(); err != nil {
			return nil, err
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	return slices.SortedFunc(maps.Keys(c.files), func(a, b NamedFile) int {
		return compareText(a.Path+hex.EncodeToString(a.SHA256[:]), b.Path+hex.EncodeToString(b.SHA256[:]))
	}), nil
}

func compareText(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

type storedCheck struct {
	ctx        context.Context //nolint:containedctx // of the one call of CheckStored
	v          store.View
	deployment string
	count      func(string)
	problem    func(string, error)

	image, director *metadata.File[metadata.RootRole]
	top             *metadata.File[metadata.TargetsRole]
	snapshot        *metadata.File[metadata.SnapshotRole]
	files           map[NamedFile]bool
}

// stored reads one version of a role and compares the record with the file in it. It returns nil if
// there is a problem, which was reported.
func stored[T metadata.RootRole | metadata.TargetsRole | metadata.SnapshotRole | metadata.TimestampRole](c *storedCheck, r metadata.Repository, role string, version int64, head func(*T) (version, expires int64)) *metadata.File[T] {
	where := fmt.Sprintf("%s %d", roleName(r, role), version)
	rec, err := c.v.Role(r, role, version)
	if err != nil {
		c.problem(where, err)
		return nil
	}
	f, err := metadata.Parse[T](rec.GetData(), metadata.Profile)
	if err != nil {
		c.problem(where, err)
		return nil
	}
	digest := f.Digest()
	got, expires := head(&f.Signed)
	switch {
	case got != version:
		err = reason.Errorf(reason.StateDamaged, "the file has version %d", got)
	case string(rec.GetDigest()) != string(digest[:]):
		err = reason.Errorf(reason.StateDamaged, "the record has digest %x, the file %x", rec.GetDigest(), digest)
	case rec.GetExpires() != expires:
		err = reason.Errorf(reason.StateDamaged, "the record expires at %d, the file at %d", rec.GetExpires(), expires)
	}
	if err != nil {
		c.problem(where, err)
		return nil
	}
	return f
}

func rootHead(r *metadata.RootRole) (int64, int64)           { return r.Version, r.Expires.Unix() }
func targetsHead(t *metadata.TargetsRole) (int64, int64)     { return t.Version, t.Expires.Unix() }
func snapshotHead(s *metadata.SnapshotRole) (int64, int64)   { return s.Version, s.Expires.Unix() }
func timestampHead(t *metadata.TimestampRole) (int64, int64) { return t.Version, t.Expires.Unix() }

// currentVersion returns the version in force, 0 if there is none.
func (c *storedCheck) currentVersion(r metadata.Repository, role string) (int64, error) {
	version, _, err := c.v.Current(r, role)
	return version, missing(err)
}

// roots walks both chains from 1.
func (c *storedCheck) roots() error {
	for _, r := range []metadata.Repository{metadata.Image, metadata.Director} {
		newest, err := c.currentVersion(r, metadata.Root)
		if err != nil {
			return err
		}
		var prev *metadata.File[metadata.RootRole]
		for version := int64(1); version <= newest; version++ {
			c.count(CountRoots)
			where := fmt.Sprintf("%s %d", roleName(r, metadata.Root), version)
			f := stored(c, r, metadata.Root, version, rootHead)
			if f == nil {
				prev = nil
				continue
			}
			c.problem(where, metadata.CheckRoot(f, c.deployment, r))
			c.problem(where, metadata.CheckMembers(f))
			c.problem(where, metadata.CheckNoExampleKeys(f))
			switch {
			case prev != nil:
				c.problem(where, metadata.CheckRootStep(prev, f))
			case version == 1:
				c.problem(where, verifiedBy(func() (*metadata.Delegation, error) {
					return metadata.RootDelegation(f, metadata.Root, metadata.Profile)
				}, f.Canonical(), f.Signatures))
			}
			prev = f
		}
		if r == metadata.Image {
			c.image = prev
		} else {
			c.director = prev
		}
	}
	if c.image != nil && c.director != nil {
		c.problem("both roots", metadata.CheckRootPair(c.image, c.director))
	}
	return nil
}

// verifiedBy verifies signatures under a delegation that has to be sound itself.
func verifiedBy(delegation func() (*metadata.Delegation, error), canonical []byte, sigs []metadata.Signature) error {
	d, err := delegation()
	if err != nil {
		return err
	}
	if err := d.Check(metadata.Profile); err != nil {
		return err
	}
	return d.Verify(canonical, sigs)
}

// online checks snapshot and timestamp, and that they name what is in force.
func (c *storedCheck) online() error {
	if c.image == nil {
		return nil
	}
	unsigned, err := c.v.Meta(store.MetaUnsigned)
	if missing(err) != nil || unsigned != "" {
		return missing(err) // recovery could not sign them: they are those of before, and health says so
	}
	version, err := c.currentVersion(metadata.Image, metadata.Snapshot)
	if err != nil {
		return err
	}
	s := stored(c, metadata.Image, metadata.Snapshot, version, snapshotHead)
	if s == nil {
		return nil
	}
	c.count(CountRoles)
	c.snapshot = s
	where := fmt.Sprintf("%s %d", roleName(metadata.Image, metadata.Snapshot), version)
	c.problem(where, metadata.CheckSnapshot(s, c.deployment, metadata.Image))
	c.problem(where, verifiedBy(func() (*metadata.Delegation, error) {
		return metadata.RootDelegation(c.image, metadata.Snapshot, metadata.Profile)
	}, s.Canonical(), s.Signatures))
	if err := c.snapshotEntries(where); err != nil {
		return err
	}
	tv, err := c.currentVersion(metadata.Image, metadata.Timestamp)
	if err != nil {
		return err
	}
	t := stored(c, metadata.Image, metadata.Timestamp, tv, timestampHead)
	if t == nil {
		return nil
	}
	c.count(CountRoles)
	where = fmt.Sprintf("%s %d", roleName(metadata.Image, metadata.Timestamp), tv)
	c.problem(where, metadata.CheckTimestamp(t, c.deployment, metadata.Image))
	c.problem(where, verifiedBy(func() (*metadata.Delegation, error) {
		return metadata.RootDelegation(c.image, metadata.Timestamp, metadata.Profile)
	}, t.Canonical(), t.Signatures))
	if m := t.Signed.Meta["snapshot.json"]; m != nil && m.Version != version {
		c.problem(where, reason.Errorf(reason.StateDamaged, "it names snapshot %d, %d is in force", m.Version, version))
	} else if m != nil {
		c.problem(where, matches(m.Length, m.Hashes["sha256"], s.Bytes()))
	}
	return nil
}

// snapshotEntries compares the snapshot with the roles in force, both ways.
func (c *storedCheck) snapshotEntries(where string) error {
	roles, err := c.v.Roles(metadata.Image)
	if err != nil {
		return err
	}
	named := maps.Clone(c.snapshot.Signed.Meta)
	for _, r := range roles {
		if r.Role == metadata.Root || r.Role == metadata.Snapshot || r.Role == metadata.Timestamp {
			continue
		}
		m, ok := named[r.Role+".json"]
		delete(named, r.Role+".json")
		if !ok || m.Version != r.Version {
			c.problem(where, reason.Errorf(reason.StateDamaged, "it does not name %s %d, which is in force", r.Role, r.Version))
			continue
		}
		rec, err := c.v.Role(metadata.Image, r.Role, r.Version)
		if err != nil {
			c.problem(where, err)
			continue
		}
		c.problem(where, reason.Wrap(matches(m.Length, m.Hashes["sha256"], rec.GetData()), "%s", r.Role))
	}
	for _, name := range slices.Sorted(maps.Keys(named)) {
		c.problem(where, reason.Errorf(reason.StateDamaged, "it names %s, which is not stored", name))
	}
	return nil
}

func matches(length int64, hash, data []byte) error {
	sum := sha(data)
	if length != int64(len(data)) || string(hash) != string(sum[:]) {
		return reason.Errorf(reason.HashMismatch, "the stored file has %d bytes and sha256 %x, named are %d and %x", len(data), sum, length, hash)
	}
	return nil
}
