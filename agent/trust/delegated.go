package trust

import (
	"context"
	"crypto/sha256"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// targetsRole returns a targets role: top-level targets, or one that delegator delegates. It takes what
// is loaded or stored if that is still the file that the snapshot names, else it fetches (TUF 5.6).
//
// Reason expired means that the role verified and binds but must not be used; a stop list is returned
// nevertheless, since it binds when expired (DESIGN 1.8).
func (c *Client) targetsRole(ctx context.Context, f Fetcher, name, delegator string) (*role, error) {
	d, err := c.delegation(name, delegator)
	if err != nil {
		return nil, c.fail(err)
	}
	if r, err := c.loadedRole(name, delegator, d); r != nil || err != nil {
		return r, err
	}
	m, ok := c.snapshot.Signed.Meta[name+".json"]
	if !ok {
		return nil, c.unlisted(name)
	}
	if file := c.storedRole(name, d); file != nil && c.isNamed(file, name, m) {
		if _, err := c.tm.UpdateDelegatedTargets(file.Bytes(), name, delegator); err == nil {
			return c.use(name, delegator, file)
		}
	}
	// The snapshot was compared with the record, but a stored file may be newer than both.
	if err := c.agrees(name, m.Version, sumOf(m)); err != nil {
		return nil, c.fail(reason.Wrap(err, "snapshot version %d", c.snapshot.Signed.Version))
	}
	data, err := c.fetchNamed(ctx, f, name, m) // 5.6.1, 5.6.2
	if err != nil {
		return nil, err
	}
	file, err := c.parseTargets(name, d, data) // 5.6.3
	if err != nil {
		return nil, c.fail(err)
	}
	if file.Signed.Version != m.Version { // 5.6.4
		return nil, c.fail(wrongVersion(name, file.Signed.Version, m.Version))
	}
	if c.cfg.Mode == metadata.Plain { // 5.6.5
		if err := c.checkExpiry(name, file.Signed.Version, file.Signed.Expires); err != nil {
			return nil, err
		}
	}
	if _, err := c.tm.UpdateDelegatedTargets(data, name, delegator); err != nil {
		return nil, c.fail(secondOpinion(err, name))
	}
	if err := c.save(name, data); err != nil { // 5.6.6
		return nil, err
	}
	c.raise(name, c.inForce(name, file.Signed.Version, data, file.Signed.Expires))
	return c.use(name, delegator, file)
}

// delegation returns what delegator says of a role, checked.
func (c *Client) delegation(name, delegator string) (*metadata.Delegation, error) {
	var d *metadata.Delegation
	var err error
	if delegator == metadata.Root {
		d, err = metadata.RootDelegation(c.root, name, c.cfg.Mode)
	} else {
		d, err = metadata.TargetsDelegation(c.roles[delegator].file, name, c.cfg.Mode)
	}
	if err != nil {
		return nil, reason.Wrap(err, "%s", delegator)
	}
	if err := d.Check(c.cfg.Mode); err != nil {
		return nil, reason.Wrap(err, "%s", delegator)
	}
	return d, nil
}

// loadedRole returns a role that this update has met. One that another delegator led to is verified
// again under the keys of this one: trustedmetadata keeps roles by name alone (DESIGN 7).
func (c *Client) loadedRole(name, delegator string, d *metadata.Delegation) (*role, error) {
	r, ok := c.roles[name]
	if !ok {
		return nil, nil
	}
	if !r.delegators[delegator] {
		if err := d.Verify(r.file.Canonical(), r.file.Signatures); err != nil {
			return nil, c.fail(reason.Wrap(err, "delegated by %s", delegator))
		}
		if _, err := c.tm.UpdateDelegatedTargets(r.file.Bytes(), name, delegator); err != nil {
			return nil, c.fail(secondOpinion(err, name))
		}
	}
	return c.use(name, delegator, r.file)
}

// storedRole returns the stored file of a role if it verifies. Newer than the record, it binds.
func (c *Client) storedRole(name string, d *metadata.Delegation) *metadata.File[metadata.TargetsRole] {
	data := c.load(name)
	if data == nil {
		return nil
	}
	file, err := c.parseTargets(name, d, data)
	if err != nil || c.agrees(name, file.Signed.Version, sha256.Sum256(data)) != nil {
		return nil
	}
	if c.cfg.Mode == metadata.Profile {
		c.raise(name, c.inForce(name, file.Signed.Version, data, file.Signed.Expires))
	}
	return file
}

// isNamed reports whether a stored file is the one that the snapshot names; otherwise it is outdated,
// which is no error. Plain TUF also fetches an expired file anew.
func (c *Client) isNamed(file *metadata.File[metadata.TargetsRole], name string, m *tuf.MetaFiles) bool {
	if file.Signed.Version != m.Version || checkMeta(name, file.Bytes(), m) != nil {
		return false
	}
	return c.cfg.Mode == metadata.Profile || !expired(file.Signed.Expires, c.now)
}

// use notes that a role verified under a delegator, and judges its expiry.
func (c *Client) use(name, delegator string, file *metadata.File[metadata.TargetsRole]) (*role, error) {
	r := c.roles[name]
	if r == nil {
		r = &role{file: file, delegators: map[string]bool{}}
		c.roles[name] = r
	}
	r.delegators[delegator] = true
	return r, c.checkExpiry(name, file.Signed.Version, file.Signed.Expires)
}

// unlisted is a role that the snapshot does not have.
func (c *Client) unlisted(name string) error {
	err := reason.Errorf(reason.NotFound, "snapshot version %d lists no role %q", c.snapshot.Signed.Version, name)
	if name == metadata.Targets {
		return c.fail(reason.Errorf(reason.Malformed, "%w", err))
	}
	return err
}

// parseTargets reads a targets file, counts who signed it, and checks the rules for its kind: in this
// order, so that a refusal which says "genuine, but not allowed" is never said of a stranger's file.
func (c *Client) parseTargets(name string, d *metadata.Delegation, data []byte) (*metadata.File[metadata.TargetsRole], error) {
	file, err := metadata.ParseTargets(data, c.cfg.Mode)
	if err != nil {
		return nil, reason.Wrap(err, "%s", name)
	}
	if err := d.Verify(file.Canonical(), file.Signatures); err != nil {
		return nil, reason.Wrap(err, "%s version %d", name, file.Signed.Version)
	}
	if c.cfg.Mode == metadata.Profile {
		if err := c.checkProfile(name, d, file); err != nil {
			return nil, err
		}
	}
	return file, nil
}

// checkProfile carries out the rules of DESIGN 1.1 to 1.5 and 1.8 for one targets file.
func (c *Client) checkProfile(name string, d *metadata.Delegation, file *metadata.File[metadata.TargetsRole]) error {
	if err := metadata.CheckNoExampleKeys(file); err != nil {
		return err
	}
	product, kind, err := metadata.SplitRole(name)
	if err != nil {
		return err
	}
	switch kind {
	case metadata.RoleProduct:
		return metadata.CheckProduct(file, c.cfg.Deployment, product, d)
	case metadata.RoleStop:
		return metadata.CheckStop(file, c.cfg.Deployment, product)
	case metadata.RoleBin:
		return metadata.CheckBin(file, c.cfg.Deployment, name, c.roles[product].file.Signed.Delegations.SuccinctRoles)
	}
	if err := metadata.CheckTopTargets(file, c.cfg.Deployment); err != nil {
		return err
	}
	return metadata.CheckKeys(c.root, nil, file)
}
