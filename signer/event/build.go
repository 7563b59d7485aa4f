package event

import (
	"cmp"
	"slices"
	"time"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/signer/key"
)

// lifetime is how long what people sign is valid (DESIGN 1.5).
const lifetime = 365 * 24 * time.Hour

// specVersion is the TUF version that new files state; go-tuf's own is older than what we follow.
const specVersion = "1.0.34"

func (o Opening) expires() time.Time { return o.Now.UTC().Add(lifetime).Truncate(time.Second) }

// next returns the version that a new content of a role takes: above the one in force and all used
// ones; root is always the next.
func (o Opening) next(r metadata.Repository, role string, current int64) int64 {
	if o.Memory == nil || role == metadata.Root {
		return current + 1
	}
	used, _ := o.Memory.Used(r, role)
	return max(current, used) + 1
}

// quorum returns keys, key ids and quorum of a rule, people sorted by id. keyOf gives a person's key
// for the repository.
func (p *Plan) quorum(rule Rule, keyOf func(*key.Public) *metadata.Key) (map[string]*metadata.Key, []string, *metadata.Quorum, error) {
	keys := map[string]*metadata.Key{}
	q := &metadata.Quorum{Require: rule.Require, Meaning: map[string]string{}}
	for _, class := range sortedKeys(rule.Require) {
		q.Meaning[class] = p.Meaning[class]
	}
	for _, class := range sortedKeys(rule.People) {
		for _, id := range rule.People[class] {
			pub := p.People[id]
			// A signed quorum names everybody; who gave no name goes by the id.
			name := cmp.Or(pub.Name, id)
			k := keyOf(pub)
			if k == nil && len(p.faults) > 0 {
				// Only to be rehearsed: the others are still of interest.
				continue
			}
			keyid, err := metadata.KeyID(k)
			if err != nil {
				return nil, nil, nil, reason.Wrap(err, "%s: key of %s", p.name, id)
			}
			keys[keyid] = k
			q.People = append(q.People, metadata.Person{ID: id, Class: class, KeyID: keyid, Name: name})
		}
	}
	slices.SortFunc(q.People, func(a, b metadata.Person) int {
		if a.ID < b.ID {
			return -1
		}
		if a.ID > b.ID {
			return 1
		}
		return 0
	})
	var ids []string
	for _, person := range q.People {
		ids = append(ids, person.KeyID)
	}
	return keys, ids, q, nil
}

func imageKey(p *key.Public) *metadata.Key    { return p.Image }
func directorKey(p *key.Public) *metadata.Key { return p.Director }

// root returns the root that the plan demands, without version and expiry.
func (p *Plan) root(r metadata.Repository) (metadata.RootRole, error) {
	keyOf, online := imageKey, p.Online.Image
	if r == metadata.Director {
		keyOf, online = directorKey, p.Online.Director
	}
	keys, ids, q, err := p.quorum(p.Roots, keyOf)
	if err != nil {
		return metadata.RootRole{}, err
	}
	onlineID, err := metadata.KeyID(online)
	if err != nil {
		return metadata.RootRole{}, reason.Wrap(err, "%s: online key", p.name)
	}
	keys[onlineID] = online
	people := &tuf.Role{KeyIDs: ids, Threshold: q.Threshold()}
	server := &tuf.Role{KeyIDs: []string{onlineID}, Threshold: 1}
	root := metadata.RootRole{
		Type: metadata.Root, SpecVersion: specVersion, ConsistentSnapshot: true, Keys: keys,
		Roles: map[string]*tuf.Role{
			metadata.Root: people, metadata.Targets: people, metadata.Snapshot: server, metadata.Timestamp: server,
		},
		UnrecognizedFields: map[string]any{
			metadata.ScopeField:  metadata.Scope(p.Deployment, r, metadata.Root),
			metadata.QuorumField: map[string]any{metadata.Root: q.Field(), metadata.Targets: q.Field()},
		},
	}
	if r == metadata.Director {
		root.Roles[metadata.Targets] = server
		root.UnrecognizedFields[metadata.QuorumField] = map[string]any{metadata.Root: q.Field()}
		if len(p.Online.TLS) > 0 {
			root.UnrecognizedFields[metadata.TLSField] = metadata.TLSValue(slices.Sorted(slices.Values(p.Online.TLS)))
		}
	}
	return root, nil
}

// targets returns the top-level targets that the plan demands, without version and expiry.
func (p *Plan) targets() (metadata.TargetsRole, error) {
	t := p.emptyTargets(metadata.Targets)
	t.Delegations = &tuf.Delegations{Keys: map[string]*metadata.Key{}, Roles: []tuf.DelegatedRole{}}
	for _, product := range sortedKeys(p.Products) {
		pp := p.Products[product]
		policy := &metadata.ProductPolicy{SBOM: pp.SBOM, Retired: pp.Retired}
		stop := Rule{Require: map[string]int{stopClass: 1}, People: map[string][]string{stopClass: pp.Stop}}
		for _, d := range []struct {
			role  string
			rule  Rule
			paths []string
			field map[string]any
		}{
			{product, pp.Rule, []string{product + "/*/*"}, map[string]any{metadata.ProductField: policy.Field()}},
			{metadata.StopRole(product), stop, []string{}, map[string]any{}},
		} {
			keys, ids, q, err := p.quorum(d.rule, imageKey)
			if err != nil {
				return metadata.TargetsRole{}, err
			}
			for id, k := range keys {
				t.Delegations.Keys[id] = k
			}
			d.field[metadata.QuorumField] = q.Field()
			t.Delegations.Roles = append(t.Delegations.Roles, tuf.DelegatedRole{
				Name: d.role, KeyIDs: ids, Threshold: q.Threshold(), Terminating: true, Paths: d.paths, UnrecognizedFields: d.field,
			})
		}
	}
	return t, nil
}

func (p *Plan) emptyTargets(role string) metadata.TargetsRole {
	return metadata.TargetsRole{
		Type: metadata.Targets, SpecVersion: specVersion, Targets: map[string]*metadata.TargetFile{},
		UnrecognizedFields: map[string]any{metadata.ScopeField: metadata.Scope(p.Deployment, metadata.Image, role)},
	}
}

// product returns version 1 of a product's file: no targets, or its delegation to bins.
func (p *Plan) product(product string) (metadata.TargetsRole, error) {
	t := p.emptyTargets(product)
	t.UnrecognizedFields[metadata.HighField] = (&metadata.High{Floors: map[string]int64{}}).Field()
	bins, err := p.bins(product)
	if bins != nil {
		t.Delegations = bins
	}
	return t, err
}

// bins returns a product's delegation to its bins, nil for a flat one: its own people (DESIGN 1.1).
func (p *Plan) bins(product string) (*tuf.Delegations, error) {
	pp := p.Products[product]
	if pp.Bins == 0 {
		return nil, nil
	}
	keys, ids, q, err := p.quorum(pp.Rule, imageKey)
	if err != nil {
		return nil, err
	}
	bits := 0
	for 1<<bits < pp.Bins {
		bits++
	}
	return &tuf.Delegations{Keys: keys, SuccinctRoles: &tuf.SuccinctRoles{
		KeyIDs: ids, Threshold: q.Threshold(), BitLength: bits, NamePrefix: metadata.BinPrefix(product),
		UnrecognizedFields: map[string]any{metadata.QuorumField: q.Field()},
	}}, nil
}

// stop returns version 1 of a product's stop list: empty.
func (p *Plan) stop(product string) metadata.TargetsRole {
	t := p.emptyTargets(metadata.StopRole(product))
	t.UnrecognizedFields[metadata.StopField] = metadata.StopsField(nil)
	return t
}
