package publish

import (
	"encoding/hex"
	"fmt"
	"slices"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/repository/internal/store"
	"github.com/countersign-ota/countersign/signer/event"
)

// targets checks top-level targets and every role below it that is in force.
func (c *storedCheck) targets() error {
	if c.image == nil {
		return nil
	}
	version, err := c.currentVersion(metadata.Image, metadata.Targets)
	if err != nil {
		return err
	}
	c.top = c.role(metadata.Targets, version, func() (*metadata.Delegation, error) {
		return metadata.RootDelegation(c.image, metadata.Targets, metadata.Profile)
	})
	if c.top == nil {
		return nil
	}
	c.problem(roleName(metadata.Image, metadata.Targets), metadata.CheckTopTargets(c.top, c.deployment))
	c.problem("keys", metadata.CheckKeys(c.image, c.director, c.top))
	roles, err := c.v.Roles(metadata.Image)
	if err != nil {
		return err
	}
	succinct := map[string]*tuf.SuccinctRoles{}
	products := map[string]*metadata.File[metadata.TargetsRole]{}
	for _, kind := range []metadata.RoleKind{metadata.RoleProduct, metadata.RoleStop, metadata.RoleBin} {
		for _, r := range roles {
			product, k, err := metadata.SplitRole(r.Role)
			if err != nil {
				c.problem(roleName(metadata.Image, r.Role), err)
				continue
			}
			if k != kind {
				continue
			}
			c.delegated(r, kind, product, succinct, products)
		}
	}
	return nil
}

// delegated checks one role below top-level targets. One that is not delegated any more is retired:
// its last file stays (DESIGN 1.5).
func (c *storedCheck) delegated(r store.RoleVersion, kind metadata.RoleKind, product string, succinct map[string]*tuf.SuccinctRoles, products map[string]*metadata.File[metadata.TargetsRole]) {
	where := fmt.Sprintf("%s %d", roleName(metadata.Image, r.Role), r.Version)
	delegator := c.top
	if kind == metadata.RoleBin {
		delegator = products[product]
	}
	if delegator == nil {
		c.problem(where, reason.Errorf(reason.StateDamaged, "nothing in force delegates to it"))
		return
	}
	d, err := metadata.TargetsDelegation(delegator, r.Role, metadata.Profile)
	if err != nil {
		c.problem(where, err)
		return
	}
	f := c.role(r.Role, r.Version, func() (*metadata.Delegation, error) { return d, nil })
	if f == nil {
		return
	}
	switch kind {
	case metadata.RoleProduct:
		products[product] = f
		if f.Signed.Delegations != nil {
			succinct[product] = f.Signed.Delegations.SuccinctRoles
		}
		err = metadata.CheckProduct(f, c.deployment, product, d)
	case metadata.RoleStop:
		err = metadata.CheckStop(f, c.deployment, product)
	case metadata.RoleBin:
		err = metadata.CheckBin(f, c.deployment, r.Role, succinct[product])
	}
	c.problem(where, err)
	c.named(where, f)
}

// role checks the stored file of one role and its signatures.
func (c *storedCheck) role(role string, version int64, delegation func() (*metadata.Delegation, error)) *metadata.File[metadata.TargetsRole] {
	c.count(CountRoles)
	f := stored(c, metadata.Image, role, version, targetsHead)
	if f == nil {
		return nil
	}
	where := fmt.Sprintf("%s %d", roleName(metadata.Image, role), version)
	c.problem(where, metadata.CheckMembers(f))
	c.problem(where, metadata.CheckNoExampleKeys(f))
	c.problem(where, verifiedBy(delegation, f.Canonical(), f.Signatures))
	return f
}

// named collects the files that a role names.
func (c *storedCheck) named(where string, f *metadata.File[metadata.TargetsRole]) {
	for path, target := range f.Signed.Targets {
		c.count(CountTargets)
		doc, err := metadata.ParseFirmware(path, target, true)
		if err != nil {
			c.problem(where, err)
			continue
		}
		c.files[NamedFile{path, [32]byte(target.Hashes["sha256"]), target.Length}] = true
		for _, ref := range doc.Evidence {
			sum, err := hex.DecodeString(ref.SHA256)
			if err != nil || len(sum) != 32 {
				c.problem(where, reason.Errorf(reason.StateDamaged, "evidence %q: sha256 %q", ref.Path, ref.SHA256))
				continue
			}
			c.files[NamedFile{ref.Path, [32]byte(sum), ref.Length}] = true
		}
	}
}

// events checks that each event is what its id says, and holds the roles that its state says.
func (c *storedCheck) events() error {
	for e, err := range c.v.Events(store.EventQuery{All: true}) {
		if err != nil {
			return err
		}
		c.count(CountEvents)
		c.problem(fmt.Sprintf("event %.12s", e.ID), c.event(e))
		if err := c.ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

func (c *storedCheck) event(stored store.Event) error {
	e, err := event.Parse(stored.Record.GetEvent())
	if err != nil {
		return err
	}
	if e.ID() != stored.ID.String() {
		return reason.Errorf(reason.StateDamaged, "its content has id %.12s", e.ID())
	}
	open := stored.Record.GetState() == pb.EventState_EVENT_STATE_OPEN
	for _, f := range e.Proposal.Files {
		id, ok, err := c.v.OpenEvent(f.Repository, f.Role)
		if err != nil {
			return err
		}
		if holds := ok && id == stored.ID; holds != open {
			return reason.Errorf(reason.StateDamaged, "it is %s, and of %s the open event is %.12s", stored.Record.GetState(), roleName(f.Repository, f.Role), id)
		}
	}
	if stored.Record.GetState() != pb.EventState_EVENT_STATE_PUBLISHED {
		return nil
	}
	return c.publishedEvent(stored, e)
}

// publishedEvent checks that the roles say what the event proposed.
func (c *storedCheck) publishedEvent(stored store.Event, e *event.Event) error {
	for _, f := range e.Proposal.Files {
		i := slices.IndexFunc(stored.Record.GetPublished(), func(p *pb.PublishedRole) bool {
			return p.GetRepository() == string(f.Repository) && p.GetRole() == f.Role
		})
		if i < 0 {
			return reason.Errorf(reason.StateDamaged, "it is published, and %s is not among what it published", roleName(f.Repository, f.Role))
		}
		version := stored.Record.GetPublished()[i].GetVersion()
		rec, err := c.v.Role(f.Repository, f.Role, version)
		if err != nil {
			return err
		}
		digest := f.Digest()
		if string(rec.GetDigest()) != string(digest[:]) || string(rec.GetEvent()) != string(stored.ID[:]) {
			return reason.Errorf(reason.StateDamaged, "%s %d is not what it proposed", roleName(f.Repository, f.Role), version)
		}
	}
	return nil
}
