package trust

import (
	"context"
	"crypto/sha256"
	"errors"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/countersign-ota/countersign/proto/metadata"
)

// parseSnapshot reads a snapshot and makes sure that it is of this repository and signed.
func (c *Client) parseSnapshot(data []byte) (*metadata.File[metadata.SnapshotRole], error) {
	f, err := metadata.ParseSnapshot(data, c.cfg.Mode)
	if err != nil {
		return nil, err
	}
	if err := c.verifyByRoot(c.root, metadata.Snapshot, f.Canonical(), f.Signatures); err != nil { // 5.5.3
		return nil, err
	}
	if c.cfg.Mode == metadata.Profile {
		if err := metadata.CheckSnapshot(f, c.cfg.Deployment, c.cfg.Repository); err != nil {
			return nil, err
		}
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
