package event

import (
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/signer/key"
)

// PlanOf returns the plan that the signed files of s carry out. Reason: plan, when they cannot be said
// as a plan: a person has two keys, or a class two meanings, as while a key is replaced in steps.
func PlanOf(s *State) (*Plan, error) {
	p := &Plan{Deployment: s.deployment, People: map[string]*key.Public{}, Meaning: map[string]string{}, Products: map[string]ProductPlan{}, name: "the signed plan"}
	p.Online.Deployment = s.deployment
	for _, r := range []metadata.Repository{metadata.Image, metadata.Director} {
		root, err := s.root(r)
		if err != nil {
			return nil, err
		}
		if root == nil {
			return nil, reason.Errorf(reason.NotFound, "deployment %q has no %s root here", s.deployment, r)
		}
		if err := p.readRoot(r, root); err != nil {
			return nil, reason.Wrap(err, "%s root", r)
		}
	}
	targets, err := s.parent(metadata.Targets)
	if err != nil {
		return nil, err
	}
	if targets.Signed.Delegations == nil {
		return p, nil
	}
	for _, role := range targets.Signed.Delegations.Roles {
		product, kind, err := metadata.SplitRole(role.Name)
		if err != nil {
			return nil, err
		}
		if kind != metadata.RoleProduct {
			continue
		}
		if err := p.readProduct(s, targets, product); err != nil {
			return nil, reason.Wrap(err, "product %q", product)
		}
	}
	return p, nil
}

func (p *Plan) readRoot(r metadata.Repository, root *rootFile) error {
	d, err := metadata.RootDelegation(root, metadata.Root, metadata.Profile)
	if err != nil {
		return err
	}
	rule, err := p.readRule(r, d)
	if err != nil {
		return err
	}
	p.Roots = rule
	online, err := metadata.RootDelegation(root, metadata.Timestamp, metadata.Profile)
	if err != nil {
		return err
	}
	if len(online.KeyIDs) != 1 {
		return reason.Errorf(reason.Plan, "timestamp has %d keys, a plan has 1", len(online.KeyIDs))
	}
	k := online.Keys[online.KeyIDs[0]]
	if r == metadata.Image {
		p.Online.Image = k
		return nil
	}
	p.Online.Director = k
	p.Online.TLS, err = tlsOf(root)
	return err
}

// readRule takes the people, meanings and requirements of a delegation into the plan.
func (p *Plan) readRule(r metadata.Repository, d *metadata.Delegation) (Rule, error) {
	rule := Rule{Require: d.Quorum.Require, People: map[string][]string{}}
	for _, class := range d.Quorum.Classes() {
		meaning := d.Quorum.Meaning[class]
		if other, ok := p.Meaning[class]; ok && other != meaning {
			return Rule{}, reason.Errorf(reason.Plan, "class %q means %q here and %q elsewhere", class, meaning, other)
		}
		p.Meaning[class] = meaning
	}
	for _, person := range d.Quorum.People {
		if err := p.readPerson(r, person, d.Keys[person.KeyID]); err != nil {
			return Rule{}, err
		}
		rule.People[person.Class] = append(rule.People[person.Class], person.ID)
	}
	for _, class := range sortedKeys(rule.People) {
		slices.Sort(rule.People[class])
	}
	return rule, nil
}

func (p *Plan) readPerson(r metadata.Repository, person metadata.Person, k *metadata.Key) error {
	pub := p.People[person.ID]
	if pub == nil {
		pub = &key.Public{Person: person.ID, Name: person.Name}
		p.People[person.ID] = pub
	}
	if pub.Name != person.Name {
		return reason.Errorf(reason.Plan, "person %q is called %q here and %q elsewhere", person.ID, person.Name, pub.Name)
	}
	to := &pub.Image
	if r == metadata.Director {
		to = &pub.Director
	}
	if *to != nil {
		id, err := metadata.KeyID(*to)
		if err != nil || id != person.KeyID {
			return reason.Errorf(reason.Plan, "person %q has key %.12s here and %.12s elsewhere", person.ID, person.KeyID, id)
		}
	}
	*to = k
	return nil
}

func (p *Plan) readProduct(s *State, targets *targetsFile, product string) error {
	d, err := metadata.TargetsDelegation(targets, product, metadata.Profile)
	if err != nil {
		return err
	}
	pp := ProductPlan{}
	if pp.Rule, err = p.readRule(metadata.Image, d); err != nil {
		return err
	}
	policy, err := policyIn(targets, product)
	if err != nil {
		return err
	}
	pp.SBOM, pp.Retired = policy.SBOM, policy.Retired
	stop, err := metadata.TargetsDelegation(targets, metadata.StopRole(product), metadata.Profile)
	if err != nil {
		return err
	}
	rule, err := p.readRule(metadata.Image, stop)
	if err != nil {
		return err
	}
	pp.Stop = rule.People[stopClass]
	file, err := s.parent(product)
	if err != nil {
		return err
	}
	pp.Bins = binsOf(file)
	p.Products[product] = pp
	return nil
}

// YAML returns the plan as a file, with keys inline; ParsePlan reads it again.
func (p *Plan) YAML() ([]byte, error) {
	people := &yaml.Node{Kind: yaml.MappingNode}
	for _, id := range sortedKeys(p.People) {
		node, err := inline(p.People[id])
		if err != nil {
			return nil, err
		}
		put(people, id, node)
	}
	if p.Online.TLS == nil {
		p.Online.TLS = []string{}
	}
	online, err := inline(p.Online)
	if err != nil {
		return nil, err
	}
	meaning := flow(yaml.MappingNode)
	for _, class := range sortedKeys(p.Meaning) {
		put(meaning, class, str(p.Meaning[class]))
	}
	products := &yaml.Node{Kind: yaml.MappingNode}
	for _, product := range sortedKeys(p.Products) {
		pp := p.Products[product]
		n := ruleNode(pp.Rule)
		put(n, "stop", list(pp.Stop))
		bins := &yaml.Node{}
		if err := bins.Encode(pp.Bins); err != nil {
			return nil, err
		}
		put(n, "bins", bins)
		put(n, "sbom", str(pp.SBOM))
		if pp.Retired {
			put(n, "retired", &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: "true"})
		}
		put(products, product, n)
	}
	root := &yaml.Node{Kind: yaml.MappingNode}
	put(root, "deployment", str(p.Deployment))
	put(root, "online", online)
	put(root, "people", people)
	put(root, "meaning", meaning)
	put(root, "roots", ruleNode(p.Roots))
	if len(p.Products) > 0 {
		put(root, "products", products)
	}
	return yaml.Marshal(root)
}

func ruleNode(r Rule) *yaml.Node {
	require, people := flow(yaml.MappingNode), flow(yaml.MappingNode)
	for _, class := range sortedKeys(r.Require) {
		n := &yaml.Node{}
		// An int always encodes.
		_ = n.Encode(r.Require[class])
		put(require, class, n)
	}
	for _, class := range sortedKeys(r.People) {
		put(people, class, list(r.People[class]))
	}
	n := &yaml.Node{Kind: yaml.MappingNode}
	put(n, "require", require)
	put(n, "people", people)
	return n
}

// inline returns a public key file as YAML: JSON is YAML.
func inline(v any) (*yaml.Node, error) {
	canonical, err := metadata.Canonical(v)
	if err != nil {
		return nil, err
	}
	data, err := metadata.FromCanonical(canonical)
	if err != nil {
		return nil, err
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, reason.Errorf(reason.Plan, "keys as YAML: %v", err)
	}
	return doc.Content[0], nil
}

func flow(kind yaml.Kind) *yaml.Node { return &yaml.Node{Kind: kind, Style: yaml.FlowStyle} }

func str(s string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
}

func list(items []string) *yaml.Node {
	n := flow(yaml.SequenceNode)
	for _, s := range items {
		n.Content = append(n.Content, str(s))
	}
	return n
}

func put(m *yaml.Node, name string, value *yaml.Node) {
	m.Content = append(m.Content, str(name), value)
}
