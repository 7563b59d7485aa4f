package trust

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"slices"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// maxRootSteps bounds the roots that one Refresh takes (DESIGN 6); the next goes on from there.
const maxRootSteps = 256

// loadRoot chooses the newest usable root: the stored one, its copy, the embedded one. An older
// embedded root never replaces a stored one (DESIGN 7).
func (c *Client) loadRoot() error {
	stored := c.storedRoot(metadata.Root)
	if c.cfg.Mode == metadata.Profile {
		second := c.storedRoot(RootCopy)
		c.unsaved = stored == nil || second == nil || !bytes.Equal(stored.Bytes(), second.Bytes())
		stored = newer(stored, second)
	}
	c.root = stored
	if len(c.cfg.Root) > 0 {
		embedded, err := c.parseRoot(c.cfg.Root)
		if err != nil && stored == nil {
			return reason.Wrap(err, "embedded root")
		}
		c.root = newer(stored, embedded)
	}
	if c.root == nil {
		return reason.Errorf(reason.StateDamaged, "no usable root is stored, and none came with the program")
	}
	c.unsaved = c.unsaved || c.root != stored
	if stored != nil {
		c.raise(metadata.Root, c.inForce(metadata.Root, stored.Signed.Version, stored.Bytes(), stored.Signed.Expires))
	}
	return nil
}

// newer returns the root with the higher version, a on a tie. Either may be nil.
func newer(a, b *metadata.File[metadata.RootRole]) *metadata.File[metadata.RootRole] {
	if a == nil || (b != nil && b.Signed.Version > a.Signed.Version) {
		return b
	}
	return a
}

// storedRoot returns a stored copy of the root; nil when it is absent or damaged, which it is also when
// the record knows its version with other bytes.
func (c *Client) storedRoot(name string) *metadata.File[metadata.RootRole] {
	data := c.load(name)
	if data == nil {
		return nil
	}
	f, err := c.parseRoot(data)
	if err != nil || reason.Is(c.agrees(metadata.Root, f.Signed.Version, sha256.Sum256(data)), reason.VersionUsed) {
		return nil
	}
	return f
}

// parseRoot reads a root and makes sure that it keeps the rules and that its own people signed it.
func (c *Client) parseRoot(data []byte) (*metadata.File[metadata.RootRole], error) {
	f, err := metadata.ParseRoot(data, c.cfg.Mode)
	if err != nil {
		return nil, err
	}
	if err := c.judgeRoot(f); err != nil {
		return nil, err
	}
	return f, nil
}

// judgeRoot is what a root must satisfy by itself.
func (c *Client) judgeRoot(f *metadata.File[metadata.RootRole]) error {
	if c.cfg.Mode == metadata.Profile {
		if err := metadata.CheckRoot(f, c.cfg.Deployment, c.cfg.Repository); err != nil {
			return err
		}
		if err := metadata.CheckNoExampleKeys(f); err != nil {
			return err
		}
	}
	err := c.verifyByRoot(f, metadata.Root, f.Canonical(), f.Signatures)
	return reason.Wrap(err, "root version %d, by its own keys", f.Signed.Version)
}

// verifyByRoot counts the people who signed a top-level role under a root.
func (c *Client) verifyByRoot(root *metadata.File[metadata.RootRole], name string, canonical []byte, sigs []metadata.Signature) error {
	d, err := metadata.RootDelegation(root, name, c.cfg.Mode)
	if err != nil {
		return err
	}
	if err := d.Check(c.cfg.Mode); err != nil {
		return err
	}
	return d.Verify(canonical, sigs)
}

// RefreshRoot follows the chain of roots and nothing else, as a device may do that cannot prove its
// server's TLS chain (DESIGN 1.6). It does not judge the expiry of the root.
func (c *Client) RefreshRoot(ctx context.Context, f Fetcher) error {
	if c.dead != nil {
		return c.dead
	}
	if err := c.reset(); err != nil {
		return c.fail(err)
	}
	if err := c.updateRoot(ctx, f); err != nil {
		return err
	}
	if v := c.versions[metadata.Root]; c.root.Signed.Version < v.Version {
		return c.fail(reason.Errorf(reason.Rollback, "root version %d is the newest to be had, but version %d is in force here",
			c.root.Signed.Version, v.Version))
	}
	return nil
}

// updateRoot follows the chain of roots (TUF 5.3). A root whose successor does not exist is the
// newest. Expiry of a root blocks no step (TUF 5.3.10, DESIGN 1.6).
func (c *Client) updateRoot(ctx context.Context, f Fetcher) error {
	if c.unsaved {
		if err := c.saveRoot(c.root); err != nil {
			return err
		}
	}
	for range maxRootSteps {
		// 5.3.3: the file that is one version up.
		data, err := c.fetch(ctx, f, metadata.Root, c.root.Signed.Version+1, metadata.MaxSize(c.cfg.Mode, metadata.Root))
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := c.acceptRoot(data); err != nil {
			return err
		}
	}
	return nil
}

// acceptRoot takes one step of the chain.
func (c *Client) acceptRoot(data []byte) error {
	prev, known := c.root, c.versions[metadata.Root].Version
	next, err := metadata.ParseRoot(data, c.cfg.Mode)
	if err != nil {
		return c.fail(err)
	}
	// 5.3.4: by a threshold of the people of the root before. It comes first, so that a refusal which
	// says "genuine, but not allowed" is never said of a stranger's file.
	if err := c.verifyByRoot(prev, metadata.Root, next.Canonical(), next.Signatures); err != nil {
		return c.fail(reason.Wrap(err, "root version %d, by the keys of version %d", next.Signed.Version, prev.Signed.Version))
	}
	if err := c.judgeRoot(next); err != nil {
		return c.fail(err)
	}
	if next.Signed.Version != prev.Signed.Version+1 { // 5.3.5
		return c.fail(reason.Errorf(reason.Rollback, "root version %d follows version %d, wanted %d",
			next.Signed.Version, prev.Signed.Version, prev.Signed.Version+1))
	}
	if c.cfg.Mode == metadata.Profile {
		if err := metadata.CheckRootStep(prev, next); err != nil {
			return c.fail(err)
		}
	}
	// A version that the record knows comes here only when both stored copies are lost. It may then
	// differ in bytes, though not in content: a mirror can leave out signatures that are not needed,
	// and a device that insisted on the recorded ones would wait for the next root.
	if _, err := c.tm.UpdateRoot(data); err != nil {
		return c.fail(secondOpinion(err, metadata.Root))
	}
	if err := c.saveRoot(next); err != nil { // 5.3.8
		return err
	}
	c.root = next
	// Up to the version that the record knows, the steps are repeated, and rotated nothing anew.
	if next.Signed.Version > known && metadata.OnlineKeysChanged(prev, next) { // 5.3.11
		c.unbind()
		for _, name := range c.onlineRoles() {
			if err := c.cfg.Store.Drop(name); err != nil {
				return c.fail(reason.Wrap(err, "drop %s", name))
			}
		}
	}
	c.rebind()
	return nil
}

// saveRoot stores a root, in the profile twice, since it is the one file that cannot be fetched
// without itself (DESIGN 7).
func (c *Client) saveRoot(f *metadata.File[metadata.RootRole]) error {
	if err := c.save(metadata.Root, f.Bytes()); err != nil {
		return err
	}
	if c.cfg.Mode == metadata.Profile {
		if err := c.save(RootCopy, f.Bytes()); err != nil {
			return err
		}
	}
	c.unsaved = false
	c.raise(metadata.Root, c.inForce(metadata.Root, f.Signed.Version, f.Bytes(), f.Signed.Expires))
	return nil
}

// onlineRoles are the roles that the root gives to online keys. In the director repository that
// includes targets.
func (c *Client) onlineRoles() []string {
	if c.cfg.Mode == metadata.Profile && c.cfg.Repository == metadata.Director {
		return []string{metadata.Timestamp, metadata.Snapshot, metadata.Targets}
	}
	return []string{metadata.Timestamp, metadata.Snapshot}
}

func (c *Client) online(name string) bool { return slices.Contains(c.onlineRoles(), name) }

// onlineKeys names the public keys that a root gives to timestamp and snapshot: the SHA-256 of the two
// sorted lists, each key and each list ended by a zero byte.
func onlineKeys(root *metadata.File[metadata.RootRole]) []byte {
	h := sha256.New()
	for _, name := range []string{metadata.Timestamp, metadata.Snapshot} {
		var keys []string
		if r := root.Signed.Roles[name]; r != nil {
			for _, id := range r.KeyIDs {
				raw, err := metadata.RawKey(root.Signed.Keys[id])
				if err != nil {
					raw = "id:" + id
				}
				keys = append(keys, raw)
			}
		}
		slices.Sort(keys)
		for _, k := range slices.Compact(keys) {
			h.Write(append([]byte(k), 0))
		}
		h.Write([]byte{0})
	}
	return h.Sum(nil)
}
