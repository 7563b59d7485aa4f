package trust

import (
	"context"
	"crypto/sha256"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// snapshotFile is the one entry of a timestamp.
const snapshotFile = metadata.Snapshot + ".json"

// parseTimestamp reads a timestamp and makes sure that it is of this repository and signed.
func (c *Client) parseTimestamp(data []byte) (*metadata.File[metadata.TimestampRole], error) {
	f, err := metadata.ParseTimestamp(data, c.cfg.Mode)
	if err != nil {
		return nil, err
	}
	if err := c.verifyByRoot(c.root, metadata.Timestamp, f.Canonical(), f.Signatures); err != nil { // 5.4.2
		return nil, err
	}
	if c.cfg.Mode == metadata.Profile {
		if err := metadata.CheckTimestamp(f, c.cfg.Deployment, c.cfg.Repository); err != nil {
			return nil, err
		}
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
