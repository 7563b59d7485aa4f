package trust

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"path"
	"slices"
	"strings"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// maxDelegations bounds the roles that one search of plain TUF visits (TUF 5.6.7.1, DESIGN 6).
const maxDelegations = 32

// edge is a delegation that leads to a role.
type edge struct{ role, delegator string }

// search looks for a target in plain TUF: pre-order, depth first, in the order of the delegations
// (TUF 5.6.7). A terminating delegation ends the search after its own subtree.
func (c *Client) search(ctx context.Context, f Fetcher, target string) (*Target, error) {
	stack := []edge{{metadata.Targets, metadata.Root}}
	visited := map[string]bool{}
	for len(stack) > 0 && len(visited) <= maxDelegations {
		e := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if visited[e.role] {
			continue
		}
		visited[e.role] = true
		r, err := c.targetsRole(ctx, f, e.role, e.delegator)
		if err != nil {
			return nil, err
		}
		if t, ok := r.file.Signed.Targets[target]; ok {
			return c.plainTarget(target, e.role, t, r)
		}
		children, terminating := delegated(r.file.Signed.Delegations, target)
		if terminating {
			stack = stack[:0]
		}
		for _, child := range slices.Backward(children) {
			stack = append(stack, edge{child, e.role})
		}
	}
	return nil, reason.Errorf(reason.NotFound, "no role lists a target %q", target)
}

func (c *Client) plainTarget(target, name string, t *tuf.TargetFiles, r *role) (*Target, error) {
	if t.Length < 0 {
		return nil, c.fail(reason.Errorf(reason.IntegerRange, "target %q has length %d", target, t.Length))
	}
	found := &Target{
		Path: target, Length: t.Length, Hashes: hashes(t), Role: name,
		Expires: earliest(c.root.Signed.Expires, c.roles[metadata.Targets].file.Signed.Expires, r.file.Signed.Expires),
	}
	copy(found.SHA256[:], t.Hashes["sha256"])
	return found, nil
}

// delegated returns the roles to which a file delegates the target, in order, up to and with the
// first terminating one. (Parse refuses delegated roles with the name of a top-level one, whose file
// they would replace.)
func delegated(ds *tuf.Delegations, target string) (names []string, terminating bool) {
	if ds == nil {
		return nil, false
	}
	if ds.SuccinctRoles != nil {
		// TAP 15: bins are terminating.
		return []string{metadata.BinOf(ds.SuccinctRoles, target)}, true
	}
	for i := range ds.Roles {
		r := &ds.Roles[i]
		if !covers(r, target) {
			continue
		}
		names = append(names, r.Name)
		if r.Terminating {
			return names, true
		}
	}
	return names, false
}

// covers reports whether a delegation is trusted for a target: by path pattern, or by the hex digits of
// the SHA-256 of its path. (go-tuf compares path_hash_prefixes with base64.)
func covers(r *tuf.DelegatedRole, target string) bool {
	sum := sha256.Sum256([]byte(target))
	digits := hex.EncodeToString(sum[:])
	for _, prefix := range r.PathHashPrefixes {
		if strings.HasPrefix(digits, prefix) {
			return true
		}
	}
	for _, pattern := range r.Paths {
		if matches(pattern, target) {
			return true
		}
	}
	return false
}

// matches compares a path with a PATHPATTERN: * and ? do not match a slash, so pattern and path have
// the same number of parts (TUF 4.5).
func matches(pattern, target string) bool {
	patterns, parts := strings.Split(pattern, "/"), strings.Split(target, "/")
	if len(patterns) != len(parts) {
		return false
	}
	for i, p := range patterns {
		// A shell negates a class with !, and a backslash is a character like others.
		p = strings.ReplaceAll(strings.ReplaceAll(p, `\`, `\\`), "[!", "[^")
		if ok, err := path.Match(p, parts[i]); err != nil || !ok {
			return false
		}
	}
	return true
}
