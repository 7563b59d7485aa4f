package trust

import (
	"context"
	"strings"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// Release returns the targets of one release of a product, by path, stopped ones included with their
// Stop. Of a product with bins it reads every bin that the snapshot lists, and keeps them: it is for
// people's tools, and no device calls it. It needs what Target needs. Reason not-found: no target of the
// release is listed.
func (c *Client) Release(ctx context.Context, f Fetcher, product, version string) ([]*Target, error) {
	if err := c.prepare(ctx, f); err != nil {
		return nil, err
	}
	if err := metadata.CheckID("product", product); err != nil {
		return nil, err
	}
	if err := metadata.CheckVersion(version); err != nil {
		return nil, err
	}
	stops, r, err := c.product(ctx, f, product)
	if err != nil {
		return nil, err
	}
	roles := map[string]*role{product: r}
	if ds := r.file.Signed.Delegations; ds != nil && ds.SuccinctRoles != nil {
		clear(roles)
		for _, bin := range metadata.Bins(ds.SuccinctRoles) {
			if _, ok := c.snapshot.Signed.Meta[bin+".json"]; !ok {
				continue // a bin is signed and listed from its first target on (DESIGN 6)
			}
			if roles[bin], err = c.targetsRole(ctx, f, bin, product); err != nil {
				return nil, err
			}
		}
	}
	return c.releaseIn(roles, stops, r, product+"/"+version+"/")
}

// releaseIn returns the targets of the roles whose path begins with prefix. parent is the product's own
// file.
func (c *Client) releaseIn(roles map[string]*role, stops []metadata.StopEntry, parent *role, prefix string) ([]*Target, error) {
	in := map[string]string{}
	for name, r := range roles {
		for path := range r.file.Signed.Targets {
			if strings.HasPrefix(path, prefix) {
				in[path] = name
			}
		}
	}
	if len(in) == 0 {
		return nil, reason.Errorf(reason.NotFound, "no target of release %q is listed", strings.TrimSuffix(prefix, "/"))
	}
	var targets []*Target
	for _, path := range sortedNames(in) {
		file := roles[in[path]].file
		t, err := c.target(path, in[path], file.Signed.Targets[path], earliest(parent.file.Signed.Expires, file.Signed.Expires), stops)
		if err != nil {
			return nil, err
		}
		targets = append(targets, t)
	}
	return targets, nil
}
