package trust

import (
	"context"
	"crypto/sha256"
	"errors"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// snapshotFile is the one entry of a timestamp.
const snapshotFile = metadata.Snapshot + ".json"

// Refresh brings root, timestamp, snapshot and top-level targets up to date (TUF 5.3 to 5.6), in this
// order, and stores each as soon as it verified. A file that is stored and current is not fetched.
//
// It serves the image repository; of the director's, use RefreshRoot.
//
// Reason expired means that everything verified so far is stored and binds, but that the newest
// timestamp, snapshot, targets or root is too old to be used; plain TUF discards such a file instead.
// A cancelled call leaves whole files behind.
func (c *Client) Refresh(ctx context.Context, f Fetcher) error {
	if c.cfg.Mode == metadata.Profile && c.cfg.Repository == metadata.Director {
		return reason.Errorf(reason.Profile, "of the director repository only the root is judged here")
	}
	if err := c.RefreshRoot(ctx, f); err != nil {
		return err
	}
	// 5.3.10, after the last root.
	if err := c.checkExpiry(metadata.Root, c.root.Signed.Version, c.root.Signed.Expires); err != nil {
		return err
	}
	stored := c.storedTimestamp()
	c.storedSnapshot()
	if err := c.updateTimestamp(ctx, f, stored); err != nil {
		return err
	}
	if err := c.updateSnapshot(ctx, f); err != nil {
		return err
	}
	if _, err := c.targetsRole(ctx, f, metadata.Targets, metadata.Root); err != nil {
		return err
	}
	c.ready = true
	return nil
}

// parseTimestamp reads a timestamp and makes sure that it is of this repository and signed.
func (c *Client) parseTimestamp(data []byte) (*metadata.File[metadata.TimestampRole], error) {
	f, err := metadata.ParseTimestamp(data, c.cfg.Mode)
	if err != nil {
		return nil, err
	}
	if c.cfg.Mode == metadata.Profile {
		if err := metadata.CheckTimestamp(f, c.cfg.Deployment, c.cfg.Repository); err != nil {
			return nil, err
		}
	}
	if err := c.verifyByRoot(c.root, metadata.Timestamp, f.Canonical(), f.Signatures); err != nil { // 5.4.2
		return nil, err
	}
	return f, nil
}

// storedTimestamp returns the stored timestamp if it is usable. Newer than the record, it binds.
func (c *Client) storedTimestamp() *metadata.File[metadata.TimestampRole] {
	data := c.load(metadata.Timestamp)
	if data == nil {
		return nil
	}
	f, err := c.parseTimestamp(data)
	if err != nil || c.agrees(metadata.Timestamp, f.Signed.Version, sha256.Sum256(data)) != nil {
		return nil
	}
	c.raise(metadata.Timestamp, c.inForce(metadata.Timestamp, f.Signed.Version, data, f.Signed.Expires))
	return f
}

// updateTimestamp carries out TUF 5.4.
func (c *Client) updateTimestamp(ctx context.Context, f Fetcher, stored *metadata.File[metadata.TimestampRole]) error {
	if stored != nil {
		if _, err := c.tm.UpdateTimestamp(stored.Bytes()); err == nil {
			c.timestamp = stored
		}
	}
	data, err := c.fetch(ctx, f, metadata.Timestamp, 0, metadata.MaxSize(c.cfg.Mode, metadata.Timestamp))
	if err != nil {
		return missing(err)
	}
	next, err := c.parseTimestamp(data)
	if err != nil {
		return c.fail(err)
	}
	if same, err := c.judgeTimestamp(next, data); err != nil {
		return c.fail(err)
	} else if same {
		return c.checkExpiry(metadata.Timestamp, c.timestamp.Signed.Version, c.timestamp.Signed.Expires)
	}
	late := c.checkExpiry(metadata.Timestamp, next.Signed.Version, next.Signed.Expires)
	if late != nil && c.cfg.Mode == metadata.Plain { // 5.4.4
		return late
	}
	if _, err := c.tm.UpdateTimestamp(data); err != nil {
		return c.fail(secondOpinion(err, metadata.Timestamp))
	}
	if err := c.save(metadata.Timestamp, data); err != nil { // 5.4.5
		return err
	}
	c.timestamp = next
	c.raise(metadata.Timestamp, c.inForce(metadata.Timestamp, next.Signed.Version, data, next.Signed.Expires))
	return late
}

// judgeTimestamp compares a fetched timestamp with what is known (TUF 5.4.3). It reports whether it is
// no newer than the stored one, which is then kept: every idle poll.
func (c *Client) judgeTimestamp(next *metadata.File[metadata.TimestampRole], data []byte) (same bool, err error) {
	if old := c.timestamp; old != nil {
		if next.Signed.Version < old.Signed.Version {
			return false, reason.Errorf(reason.Rollback, "timestamp version %d is older than version %d, which is stored here",
				next.Signed.Version, old.Signed.Version)
		}
		if next.Signed.Version == old.Signed.Version {
			if c.cfg.Mode == metadata.Profile && next.Digest() != old.Digest() {
				return false, reason.Errorf(reason.VersionUsed, "timestamp version %d has other content than the one that is stored here", next.Signed.Version)
			}
			return true, nil
		}
		if m := next.Signed.Meta[snapshotFile]; m.Version < old.Signed.Meta[snapshotFile].Version {
			return false, reason.Errorf(reason.Rollback, "timestamp version %d names snapshot version %d, version %d named %d",
				next.Signed.Version, m.Version, old.Signed.Version, old.Signed.Meta[snapshotFile].Version)
		}
	}
	if err := c.agrees(metadata.Timestamp, next.Signed.Version, sha256.Sum256(data)); err != nil {
		return false, err
	}
	m := next.Signed.Meta[snapshotFile]
	if err := c.agrees(metadata.Snapshot, m.Version, sumOf(m)); err != nil {
		return false, reason.Wrap(err, "timestamp version %d", next.Signed.Version)
	}
	return false, nil
}

// parseSnapshot reads a snapshot and makes sure that it is of this repository and signed.
func (c *Client) parseSnapshot(data []byte) (*metadata.File[metadata.SnapshotRole], error) {
	f, err := metadata.ParseSnapshot(data, c.cfg.Mode)
	if err != nil {
		return nil, err
	}
	if c.cfg.Mode == metadata.Profile {
		if err := metadata.CheckSnapshot(f, c.cfg.Deployment, c.cfg.Repository); err != nil {
			return nil, err
		}
	}
	if err := c.verifyByRoot(c.root, metadata.Snapshot, f.Canonical(), f.Signatures); err != nil { // 5.5.3
		return nil, err
	}
	return f, nil
}

// storedSnapshot keeps the stored snapshot, if it is usable, as the one that the next must not roll
// back. Newer than the record, it binds.
func (c *Client) storedSnapshot() {
	data := c.load(metadata.Snapshot)
	if data == nil {
		return
	}
	f, err := c.parseSnapshot(data)
	if err != nil || c.agrees(metadata.Snapshot, f.Signed.Version, sha256.Sum256(data)) != nil {
		return
	}
	c.raise(metadata.Snapshot, c.inForce(metadata.Snapshot, f.Signed.Version, data, f.Signed.Expires))
	c.oldSnapshot = f
}

// useStoredSnapshot hands the stored snapshot to go-tuf, and reports whether it is the one that the
// timestamp names, so that none need be fetched.
func (c *Client) useStoredSnapshot() bool {
	if c.oldSnapshot == nil {
		return false
	}
	data, m := c.oldSnapshot.Bytes(), c.timestamp.Signed.Meta[snapshotFile]
	_, err := c.tm.UpdateSnapshot(data, true)
	// go-tuf keeps an outdated snapshot for its own comparison and says so with this error.
	var outdated *tuf.ErrBadVersionNumber
	if err != nil && !errors.As(err, &outdated) {
		return false
	}
	current := err == nil && c.oldSnapshot.Signed.Version == m.Version
	if c.cfg.Mode == metadata.Plain {
		current = current && !expired(c.oldSnapshot.Signed.Expires, c.now)
	} else {
		current = current && checkMeta(metadata.Snapshot, data, m) == nil
	}
	if current {
		c.snapshot = c.oldSnapshot
	}
	return current
}

// updateSnapshot carries out TUF 5.5.
func (c *Client) updateSnapshot(ctx context.Context, f Fetcher) error {
	if c.useStoredSnapshot() {
		return c.checkExpiry(metadata.Snapshot, c.snapshot.Signed.Version, c.snapshot.Signed.Expires)
	}
	m := c.timestamp.Signed.Meta[snapshotFile]
	data, err := c.fetchNamed(ctx, f, metadata.Snapshot, m)
	if err != nil {
		return err
	}
	next, err := c.parseSnapshot(data)
	if err != nil {
		return c.fail(err)
	}
	if next.Signed.Version != m.Version { // 5.5.4
		return c.fail(wrongVersion(metadata.Snapshot, next.Signed.Version, m.Version))
	}
	if err := c.agrees(metadata.Snapshot, next.Signed.Version, sha256.Sum256(data)); err != nil {
		return c.fail(err)
	}
	if err := c.checkSnapshotBinds(next); err != nil { // 5.5.5
		return c.fail(err)
	}
	late := c.checkExpiry(metadata.Snapshot, next.Signed.Version, next.Signed.Expires)
	if late != nil && c.cfg.Mode == metadata.Plain { // 5.5.6
		return late
	}
	if _, err := c.tm.UpdateSnapshot(data, false); err != nil {
		return c.fail(secondOpinion(err, metadata.Snapshot))
	}
	if err := c.save(metadata.Snapshot, data); err != nil { // 5.5.7
		return err
	}
	c.snapshot = next
	c.raise(metadata.Snapshot, c.inForce(metadata.Snapshot, next.Signed.Version, data, next.Signed.Expires))
	return late
}

// fetchNamed brings the file that a delegator names and compares it with the stated length and hashes.
func (c *Client) fetchNamed(ctx context.Context, f Fetcher, name string, m *tuf.MetaFiles) ([]byte, error) {
	max, err := limit(c.cfg.Mode, name, m.Length)
	if err != nil {
		return nil, c.fail(err)
	}
	version := m.Version
	if !c.root.Signed.ConsistentSnapshot {
		version = 0
	}
	data, err := c.fetch(ctx, f, name, version, max)
	if err != nil {
		return nil, missing(err)
	}
	if err := checkMeta(name, data, m); err != nil {
		return nil, c.fail(err)
	}
	return data, nil
}

// wrongVersion is a file that is not the version its delegator names.
func wrongVersion(name string, got, want int64) error {
	if got < want {
		return reason.Errorf(reason.Rollback, "%s is version %d, signed is version %d", name, got, want)
	}
	return reason.Errorf(reason.Malformed, "%s is version %d, signed is version %d", name, got, want)
}

// missing gives a file that the repository should have, and has not, the reason of a server that
// cannot be used now: mirrors lag behind.
func missing(err error) error {
	if errors.Is(err, ErrNotFound) && reason.Of(err) == "" {
		return reason.Errorf(reason.Unreachable, "%w", err)
	}
	return err
}
