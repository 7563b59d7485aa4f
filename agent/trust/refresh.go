package trust

import (
	"context"
	"errors"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

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
	c.ready, c.fresh = true, true
	return nil
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
