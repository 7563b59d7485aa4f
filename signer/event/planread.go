package event

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/signer/key"
)

// planReader reads one plan.
type planReader struct {
	document
	read func(file string) ([]byte, error)
	plan *Plan
	// lenient notes the faults of strands in the plan.
	lenient bool
}

// ParsePlan reads a plan strictly. name is the plan's file name for errors, which give the line; read
// returns the public key files that it names. Reason: plan.
func ParsePlan(name string, data []byte, read func(file string) ([]byte, error)) (*Plan, error) {
	return parsePlan(name, data, read, false)
}

func parsePlan(name string, data []byte, read func(file string) ([]byte, error), lenient bool) (*Plan, error) {
	r := planReader{
		document: document{name, reason.Plan}, read: read, lenient: lenient,
		plan: &Plan{name: name, People: map[string]*key.Public{}, Meaning: map[string]string{}, Products: map[string]ProductPlan{}},
	}
	root, err := r.root(data)
	if err != nil {
		return nil, err
	}
	members := []string{"deployment", "online", "people", "meaning", "roots", "products"}
	pairs, err := r.mapping(root, members...)
	if err != nil {
		return nil, err
	}
	// people come before those who name them, wherever they stand in the file.
	for _, member := range members {
		i := slices.IndexFunc(pairs, func(p pair) bool { return p.key == member })
		if i < 0 {
			if member == "products" {
				continue
			}
			return nil, r.errorf(root, "%q is missing", member)
		}
		if err := r.member(pairs[i]); err != nil {
			return nil, err
		}
	}
	return r.plan, nil
}

func (r *planReader) member(p pair) (err error) {
	switch p.key {
	case "deployment":
		r.plan.Deployment, err = r.id(p.value, "deployment")
	case "online":
		err = r.online(p.value)
	case "people":
		err = r.people(p.value)
	case "meaning":
		err = r.meaning(p.value)
	case "roots":
		err = r.roots(p.value)
	case "products":
		err = r.products(p.value)
	}
	return err
}

func (r *planReader) online(n *yaml.Node) error {
	data, err := r.fileOrInline(n)
	if err != nil {
		return err
	}
	o, err := ParseOnline(data)
	if err != nil {
		return r.errorf(n, "online: %v", err)
	}
	if o.Deployment != r.plan.Deployment {
		return r.errorf(n, "online keys are of deployment %q, the plan is of %q", o.Deployment, r.plan.Deployment)
	}
	r.plan.Online = *o
	return nil
}

// fileOrInline returns the JSON of a public key file that is named or written out.
func (r *planReader) fileOrInline(n *yaml.Node) ([]byte, error) {
	if n.Kind == yaml.MappingNode {
		v, err := r.value(n, 0)
		if err != nil {
			return nil, err
		}
		canonical, err := metadata.Canonical(v)
		if err != nil {
			return nil, r.errorf(n, "%v", err)
		}
		return metadata.FromCanonical(canonical)
	}
	file, err := r.text(n)
	if err != nil {
		return nil, err
	}
	data, err := r.read(file)
	if err != nil {
		return nil, r.errorf(n, "%v", err)
	}
	return data, nil
}

func (r *planReader) people(n *yaml.Node) error {
	pairs, err := r.mapping(n)
	if err != nil {
		return err
	}
	for _, p := range pairs {
		id, err := r.id(p.name, "person")
		if err != nil {
			return err
		}
		data, err := r.fileOrInline(p.value)
		if err != nil {
			return err
		}
		pub, err := key.ParsePublic(data)
		if err != nil {
			return r.errorf(p.value, "%s: %v", id, err)
		}
		if pub.Person != id {
			return r.errorf(p.value, "the keys are of %q, not of %q", pub.Person, id)
		}
		r.plan.People[id] = pub
	}
	return nil
}

func (r *planReader) meaning(n *yaml.Node) error {
	pairs, err := r.mapping(n)
	if err != nil {
		return err
	}
	for _, p := range pairs {
		class, err := r.id(p.name, "class")
		if err != nil {
			return err
		}
		if r.plan.Meaning[class], err = r.text(p.value); err != nil {
			return err
		}
		if r.plan.Meaning[class] == "" {
			return r.errorf(p.value, "class %q has an empty meaning", class)
		}
	}
	return nil
}

func (r *planReader) roots(n *yaml.Node) error {
	pairs, err := r.mapping(n, "require", "people")
	if err != nil {
		return err
	}
	r.plan.Roots, err = r.rule(n, pairs)
	if err != nil {
		return err
	}
	for _, class := range sortedKeys(r.plan.Roots.People) {
		for _, id := range r.plan.Roots.People[class] {
			if r.plan.People[id].Director != nil {
				continue
			}
			if err := r.strands(NoDirectorKey, r.errorf(n, "%s has no key for the director root", id)); err != nil {
				return err
			}
		}
	}
	return nil
}

// rule reads require and people. What they demand of each other is metadata.Delegation.Check's.
func (r *planReader) rule(n *yaml.Node, pairs []pair) (Rule, error) {
	rule := Rule{Require: map[string]int{}, People: map[string][]string{}}
	for _, member := range []string{"require", "people"} {
		i := slices.IndexFunc(pairs, func(p pair) bool { return p.key == member })
		if i < 0 {
			return Rule{}, r.errorf(n, "%q is missing", member)
		}
		classes, err := r.mapping(pairs[i].value)
		if err != nil {
			return Rule{}, err
		}
		for _, c := range classes {
			if err := r.class(&rule, member, c); err != nil {
				return Rule{}, err
			}
		}
		if len(rule.Require) == 0 {
			return Rule{}, r.errorf(pairs[i].value, "nobody is required to sign")
		}
	}
	return rule, nil
}

func (r *planReader) class(rule *Rule, member string, c pair) error {
	class, err := r.id(c.name, "class")
	if err != nil {
		return err
	}
	if member == "require" {
		if _, ok := r.plan.Meaning[class]; !ok {
			return r.errorf(c.name, "class %q has no meaning: say above what its signature means", class)
		}
		count, err := r.integer(c.value, 1, metadata.MaxKeys)
		if err != nil && c.value.Tag == "!!int" && !strings.HasPrefix(c.value.Value, "-") && c.value.Value != "0" {
			count, err = metadata.MaxKeys, r.strands(ClassTooSmall, err)
		}
		rule.Require[class] = int(count)
		return err
	}
	if _, ok := rule.Require[class]; !ok {
		return r.errorf(c.name, "class %q is not required", class)
	}
	ids, err := r.persons(c.value)
	for i, id := range ids {
		for _, other := range sortedKeys(rule.People) {
			if slices.Contains(rule.People[other], id) {
				return r.errorf(c.value.Content[i], "%q is of class %q and %q, a person has one class in a role", id, other, class)
			}
		}
	}
	rule.People[class] = ids
	return err
}

func (r *planReader) persons(n *yaml.Node) ([]string, error) {
	names, err := r.texts(n)
	if err != nil {
		return nil, err
	}
	ids := names[:0]
	for i, id := range names {
		if r.plan.People[id] != nil {
			ids = append(ids, id)
			continue
		}
		if err := r.strands(PersonUnknown, r.errorf(n.Content[i], "%q is not among the plan's people", id)); err != nil {
			return nil, err
		}
	}
	return ids, nil
}

func (r *planReader) products(n *yaml.Node) error {
	pairs, err := r.mapping(n)
	if err != nil {
		return err
	}
	for _, p := range pairs {
		id, err := r.id(p.name, "product")
		if err != nil {
			return err
		}
		if r.plan.Products[id], err = r.product(p.value); err != nil {
			return err
		}
	}
	return nil
}

func (r *planReader) product(n *yaml.Node) (ProductPlan, error) {
	pairs, err := r.mapping(n, "require", "people", "stop", "bins", "sbom", "retired")
	if err != nil {
		return ProductPlan{}, err
	}
	p := ProductPlan{SBOM: metadata.SBOMRequired}
	if p.Rule, err = r.rule(n, pairs); err != nil {
		return ProductPlan{}, err
	}
	for _, class := range sortedKeys(p.People) {
		p.Stop = append(p.Stop, p.People[class]...)
	}
	for _, m := range pairs {
		switch m.key {
		case "stop":
			p.Stop, err = r.persons(m.value)
			if err == nil && len(p.Stop) == 0 {
				err = r.strands(StopNobody, r.errorf(m.value, "nobody may stop the product"))
			}
		case "bins":
			p.Bins, err = r.bins(m.value)
		case "retired":
			p.Retired, err = r.boolean(m.value)
		case "sbom":
			p.SBOM, err = r.text(m.value)
			if err == nil && p.SBOM != metadata.SBOMRequired && p.SBOM != metadata.SBOMNone {
				err = r.errorf(m.value, "sbom is %q, wanted %s or %s", p.SBOM, metadata.SBOMRequired, metadata.SBOMNone)
			}
		}
		if err != nil {
			return ProductPlan{}, err
		}
	}
	if _, ok := r.plan.Meaning[stopClass]; !ok {
		return ProductPlan{}, r.errorf(n, "class %q has no meaning: say above what its signature means", stopClass)
	}
	slices.Sort(p.Stop)
	p.Stop = slices.Compact(p.Stop)
	return p, nil
}

func (r *planReader) bins(n *yaml.Node) (int, error) {
	bins, err := r.integer(n, 0, metadata.MaxBins)
	if err != nil {
		return 0, err
	}
	if bins != 0 && (bins < 1<<metadata.MinBitLength || bins&(bins-1) != 0) {
		return 0, r.errorf(n, "%d bins: wanted 0, or a power of two from %d to %d", bins, 1<<metadata.MinBitLength, metadata.MaxBins)
	}
	return int(bins), nil
}
