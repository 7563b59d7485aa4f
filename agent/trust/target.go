package trust

import (
	"context"
	"errors"
	"time"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// Target finds what the bytes of path must be. It needs a Refresh that succeeded; with a nil Fetcher
// on a client that was not refreshed it judges stored files alone, as an installer does before it acts
// on bytes that were staged earlier: root, targets, product and bin must be unexpired, timestamp and
// snapshot may have expired since.
//
// In the profile the product of the path, of the delegation directly under top-level targets through
// which the target was found, and of its firmware document are one. Its stop list must be held in the
// version that the snapshot names, else reason stop-list-missing; a stopped target is reason stopped,
// an unknown one not-found.
func (c *Client) Target(ctx context.Context, f Fetcher, path string) (*Target, error) {
	target, err := c.Listed(ctx, f, path)
	if err != nil {
		return nil, err
	}
	if s := target.Stop; s != nil {
		return nil, reason.Errorf(reason.Stopped, "target %q, counter %d, was stopped at %s: %q", path, s.Counter, s.At.UTC().Format(time.RFC3339), s.Reason)
	}
	return target, nil
}

// Listed is Target for people who ask what a repository says: a stopped target is returned with its
// Stop, and is not to be installed.
func (c *Client) Listed(ctx context.Context, f Fetcher, path string) (*Target, error) {
	if err := c.prepare(ctx, f); err != nil {
		return nil, err
	}
	if c.cfg.Mode == metadata.Plain {
		return c.search(ctx, f, path)
	}
	p, err := metadata.ParseTargetPath(path)
	if err != nil {
		return nil, err
	}
	stops, r, err := c.product(ctx, f, p.Product)
	if err != nil {
		return nil, err
	}
	expires := r.file.Signed.Expires
	name := p.Product
	if ds := r.file.Signed.Delegations; ds != nil && ds.SuccinctRoles != nil {
		name = metadata.BinOf(ds.SuccinctRoles, path)
		if r, err = c.targetsRole(ctx, f, name, p.Product); err != nil {
			return nil, reason.Wrap(err, "target %q", path)
		}
	}
	t, ok := r.file.Signed.Targets[path]
	if !ok {
		return nil, reason.Errorf(reason.NotFound, "%s version %d lists no target %q", name, r.file.Signed.Version, path)
	}
	return c.target(path, name, t, earliest(expires, r.file.Signed.Expires), stops)
}

// Product returns all targets of a product that has no bins, by path, stopped ones included with their
// Stop. It needs what Target needs.
func (c *Client) Product(ctx context.Context, f Fetcher, product string) ([]*Target, error) {
	if err := c.prepare(ctx, f); err != nil {
		return nil, err
	}
	if err := metadata.CheckID("product", product); err != nil {
		return nil, err
	}
	stops, r, err := c.product(ctx, f, product)
	if err != nil {
		return nil, err
	}
	if r.file.Signed.Delegations != nil {
		return nil, reason.Errorf(reason.Config, "product %q lists its targets in bins, which are found only by path", product)
	}
	targets := make([]*Target, 0, len(r.file.Signed.Targets))
	for _, path := range sortedNames(r.file.Signed.Targets) {
		t, err := c.target(path, product, r.file.Signed.Targets[path], r.file.Signed.Expires, stops)
		if err != nil {
			return nil, err
		}
		targets = append(targets, t)
	}
	return targets, nil
}

// Stops returns the entries of the product's stop list as far as Target or Product has loaded it in
// this client, even if it is expired and whatever they returned.
func (c *Client) Stops(product string) []metadata.StopEntry {
	r, ok := c.roles[metadata.StopRole(product)]
	if !ok {
		return nil
	}
	stops, err := stopsOf(r)
	if err != nil {
		return nil
	}
	return stops
}

// prepare makes sure that top-level targets are loaded.
func (c *Client) prepare(ctx context.Context, f Fetcher) error {
	if c.dead != nil {
		return c.dead
	}
	if c.ready && (c.fresh || f == nil) {
		return nil
	}
	if f != nil {
		return errors.New("trust: a target was asked for without a Refresh that succeeded")
	}
	return c.useStored(ctx)
}

// product loads a product's stop list and then its own file, so that stops are known even where the
// product's file is refused.
func (c *Client) product(ctx context.Context, f Fetcher, product string) ([]metadata.StopEntry, *role, error) {
	if !delegates(c.roles[metadata.Targets].file, product) {
		return nil, nil, reason.Errorf(reason.NotFound, "top-level targets version %d has no product %q",
			c.roles[metadata.Targets].file.Signed.Version, product)
	}
	stop, err := c.targetsRole(ctx, f, metadata.StopRole(product), metadata.Targets)
	if stop == nil {
		if c.dead == nil && (errors.Is(err, ErrNotFound) || reason.Is(err, reason.NotFound)) {
			err = reason.Errorf(reason.StopListMissing, "stop list of product %q: %v", product, err)
		}
		return nil, nil, err
	}
	stops, err := stopsOf(stop)
	if err != nil {
		return nil, nil, c.fail(err)
	}
	r, err := c.targetsRole(ctx, f, product, metadata.Targets)
	if err != nil {
		return nil, nil, err
	}
	return stops, r, nil
}

// delegates reports whether top-level targets delegates directly to a role of that name.
func delegates(file *metadata.File[metadata.TargetsRole], name string) bool {
	if file.Signed.Delegations == nil {
		return false
	}
	for i := range file.Signed.Delegations.Roles {
		if file.Signed.Delegations.Roles[i].Name == name {
			return true
		}
	}
	return false
}

func stopsOf(r *role) ([]metadata.StopEntry, error) {
	return metadata.ParseStops(r.file.Signed.UnrecognizedFields[metadata.StopField])
}

// target makes the Target of a verified entry.
func (c *Client) target(path, role string, t *tuf.TargetFiles, expires time.Time, stops []metadata.StopEntry) (*Target, error) {
	fw, err := metadata.ParseFirmware(path, t, false)
	if err != nil {
		return nil, c.fail(err)
	}
	custom, err := metadata.CustomCanonical(t)
	if err != nil {
		return nil, c.fail(err)
	}
	top := c.roles[metadata.Targets].file.Signed.Expires
	target := &Target{
		Path: path, Length: t.Length, Hashes: hashes(t), Firmware: fw, Custom: custom, Role: role,
		Expires: earliest(c.root.Signed.Expires, top, expires),
	}
	copy(target.SHA256[:], t.Hashes["sha256"])
	for i := range stops {
		// By counter and hash, not by path: a stop follows the image (DESIGN 1.8).
		if stops[i].Counter == fw.Counter && stops[i].SHA256 == t.Hashes["sha256"].String() {
			target.Stop = &stops[i]
		}
	}
	return target, nil
}

func hashes(t *tuf.TargetFiles) map[string][]byte {
	all := make(map[string][]byte, len(t.Hashes))
	for name, sum := range t.Hashes {
		all[name] = sum
	}
	return all
}

func earliest(first time.Time, others ...time.Time) time.Time {
	for _, t := range others {
		if t.Before(first) {
			first = t
		}
	}
	return first
}
