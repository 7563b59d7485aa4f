package trust

import (
	"bytes"
	"strings"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// agrees compares a version, and the hash of its whole file, with the highest that binds. An older
// version is a rollback, the same version with other bytes version-used (DESIGN 1.5: no version ever
// has two contents). Plain TUF is bound by files alone.
func (c *Client) agrees(name string, version int64, sum [32]byte) error {
	v, ok := c.versions[name]
	if !ok || version > v.Version || c.cfg.Mode == metadata.Plain {
		return nil
	}
	if version < v.Version {
		return reason.Errorf(reason.Rollback, "%s version %d is older than version %d, which is in force here", name, version, v.Version)
	}
	if sum != v.SHA256 {
		return reason.Errorf(reason.VersionUsed, "%s version %d has sha256 %x, but it was %x", name, version, sum, v.SHA256)
	}
	return nil
}

// raise makes a verified version bind.
func (c *Client) raise(name string, v InForce) {
	if old, ok := c.versions[name]; !ok || v.Version >= old.Version {
		c.versions[name] = v
	}
}

// unbind gives up the versions of the roles under online keys, so that a thief of those keys who
// signed a huge version has not locked the device out for ever (TUF 5.3.11, DESIGN 1.5). Versions of
// offline roles stay.
func (c *Client) unbind() {
	for _, name := range c.onlineRoles() {
		delete(c.versions, name)
	}
}

// rebind gives up versions that were verified under other online keys than those of the root: the
// power may have failed between the new root and the record, or a newer root came with the program. A
// root older than the record knows is what is left after a damage, and loosens nothing.
func (c *Client) rebind() {
	if c.root.Signed.Version < c.versions[metadata.Root].Version {
		return
	}
	keys := onlineKeys(c.root)
	for _, name := range c.onlineRoles() {
		if v, ok := c.versions[name]; ok && len(v.Keys) > 0 && !bytes.Equal(v.Keys, keys) {
			c.unbind()
			return
		}
	}
}

// checkSnapshotBinds makes sure that a snapshot keeps every role that is in force at its version or a
// higher one: neither rolled back nor dropped (TUF 5.5.5; retired roles stay in it, DESIGN 1.5).
func (c *Client) checkSnapshotBinds(f *metadata.File[metadata.SnapshotRole]) error {
	if c.oldSnapshot != nil {
		for _, file := range sortedNames(c.oldSnapshot.Signed.Meta) {
			old := c.oldSnapshot.Signed.Meta[file]
			name := strings.TrimSuffix(file, ".json")
			m, ok := f.Signed.Meta[file]
			if !ok {
				return reason.Errorf(reason.Rollback, "snapshot version %d drops %s, which version %d listed",
					f.Signed.Version, name, c.oldSnapshot.Signed.Version)
			}
			if m.Version < old.Version {
				return reason.Errorf(reason.Rollback, "snapshot version %d names %s version %d, version %d named %d",
					f.Signed.Version, name, m.Version, c.oldSnapshot.Signed.Version, old.Version)
			}
		}
	}
	if c.cfg.Mode == metadata.Plain {
		return nil
	}
	for _, name := range sortedNames(c.versions) {
		if name == metadata.Root || name == metadata.Timestamp || name == metadata.Snapshot {
			continue
		}
		m, ok := f.Signed.Meta[name+".json"]
		if !ok {
			return reason.Errorf(reason.Rollback, "snapshot version %d drops %s, of which version %d is in force here",
				f.Signed.Version, name, c.versions[name].Version)
		}
		if err := c.agrees(name, m.Version, sumOf(m)); err != nil {
			return reason.Wrap(err, "snapshot version %d", f.Signed.Version)
		}
	}
	return nil
}
