package trust

import (
	"context"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// useStored loads what is stored, without a network. Expired timestamps and snapshots are taken: their
// freshness was judged when they were fetched, and bytes staged since then must be judged again before
// they are installed (DESIGN 5.2). Everything else binds as in a Refresh.
func (c *Client) useStored(ctx context.Context) error {
	if err := c.reset(); err != nil {
		return c.fail(err)
	}
	if v := c.versions[metadata.Root]; c.root.Signed.Version < v.Version {
		return reason.Errorf(reason.StateDamaged, "stored root is version %d, but version %d is in force", c.root.Signed.Version, v.Version)
	}
	if err := c.checkExpiry(metadata.Root, c.root.Signed.Version, c.root.Signed.Expires); err != nil {
		return err
	}
	c.timestamp = c.storedTimestamp()
	if c.timestamp == nil {
		return c.notStored(metadata.Timestamp)
	}
	if _, err := c.tm.UpdateTimestamp(c.timestamp.Bytes()); err != nil {
		return c.notStored(metadata.Timestamp)
	}
	c.storedSnapshot()
	if !c.useStoredSnapshot() {
		return c.notStored(metadata.Snapshot)
	}
	r, err := c.targetsRole(ctx, nil, metadata.Targets, metadata.Root)
	if r == nil && c.dead == nil {
		return c.notStored(metadata.Targets)
	}
	if err != nil {
		return err
	}
	c.ready = true
	return nil
}

// notStored says that a role file is absent or damaged.
func (c *Client) notStored(name string) error {
	if v, ok := c.versions[name]; ok {
		return reason.Errorf(reason.StateDamaged, "stored %s is not usable, although version %d is in force; a refresh brings it back", name, v.Version)
	}
	return reason.Errorf(reason.NotFound, "no %s is stored; a refresh brings it", name)
}
