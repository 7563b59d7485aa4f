package event

import (
	"bytes"
	"maps"
	"slices"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// entry is one target of a product, before or after an event.
type entry struct {
	path string
	// role is the file that lists it: the product's, or a bin.
	role     string
	target   *metadata.TargetFile
	firmware *metadata.Firmware
}

// change is what an event does to the targets of one product.
type change struct {
	product string
	// file is the product's own file.
	file  *proposed
	old   *metadata.High
	added []entry
	// removed are sorted by path, as added are.
	removed []entry
}

func (c *change) name() string {
	if all := slices.Concat(c.added, c.removed); len(all) > 0 {
		return c.product + "/" + all[0].firmware.Version
	}
	return c.product
}

// changeOf compares the targets of a product's files in the event with those in force. An entry that
// changes is refused: what was signed for a path stays.
func (t *trial) changeOf(product string) (*change, error) {
	c := &change{product: product, file: t.find(metadata.Image, product)}
	var err error
	if c.old, err = highOf(c.file.oldTargets); err != nil {
		return nil, err
	}
	for _, p := range t.files {
		if p.product != product || (p.kind != metadata.RoleProduct && p.kind != metadata.RoleBin) {
			continue
		}
		if err := c.compare(p); err != nil {
			return nil, reason.Wrap(err, "%s", p)
		}
	}
	slices.SortFunc(c.added, byPath)
	slices.SortFunc(c.removed, byPath)
	for _, p := range t.files {
		in := func(e entry) bool { return e.role == p.role }
		if p.product == product && p.kind == metadata.RoleBin && !slices.ContainsFunc(c.added, in) && !slices.ContainsFunc(c.removed, in) {
			return nil, reason.Errorf(reason.Profile, "%s does not change: the event may not hold it", p)
		}
	}
	return c, nil
}

func (c *change) compare(p *proposed) error {
	var old map[string]*metadata.TargetFile
	if p.oldTargets != nil {
		old = p.oldTargets.Signed.Targets
	}
	for path, target := range p.targets.Signed.Targets {
		before, ok := old[path]
		if ok {
			if err := sameEntry(path, before, target); err != nil {
				return err
			}
			continue
		}
		firmware, err := metadata.ParseFirmware(path, target, true)
		if err != nil {
			return err
		}
		c.added = append(c.added, entry{path, p.role, target, firmware})
	}
	for path, target := range old {
		if _, ok := p.targets.Signed.Targets[path]; ok {
			continue
		}
		firmware, err := metadata.ParseFirmware(path, target, false)
		if err != nil {
			return err
		}
		c.removed = append(c.removed, entry{path, p.role, target, firmware})
	}
	return nil
}

// sameEntry compares length, hash and custom; entries of this kind have nothing else.
func sameEntry(path string, a, b *metadata.TargetFile) error {
	ca, err := metadata.CustomCanonical(a)
	if err != nil {
		return reason.Wrap(err, "target %q", path)
	}
	cb, err := metadata.CustomCanonical(b)
	if err != nil {
		return reason.Wrap(err, "target %q", path)
	}
	if a.Length != b.Length || !bytes.Equal(a.Hashes["sha256"], b.Hashes["sha256"]) || !bytes.Equal(ca, cb) {
		return reason.Errorf(reason.Profile, "target %q changes: a release adds entries, and what was signed for a path stays", path)
	}
	return nil
}

// productChange compares old and new content of the one product that the event is about.
func (t *trial) productChange() (*change, error) {
	var product string
	for _, p := range t.files {
		if p.kind == metadata.RoleProduct {
			product = p.product
		}
	}
	c, err := t.changeOf(product)
	t.release = c
	return c, err
}

// contentOfRelease carries out DESIGN 1.3 between a product as it is and with one more release.
func contentOfRelease(t *trial) error {
	c, err := t.productChange()
	if err != nil {
		return err
	}
	product := c.product
	policy, err := t.policyOf(product)
	if err != nil {
		return err
	}
	switch {
	case policy.Retired:
		return retired(product)
	case len(c.added) == 0:
		return reason.Errorf(reason.Profile, "a release of %s adds no target", product)
	case len(c.added) > metadata.MaxStops:
		return reason.Errorf(reason.Limit, "a release of %s adds %d targets, at most %d can be stopped", product, len(c.added), metadata.MaxStops).
			WithHint("make two releases of it")
	case len(c.removed) > 0:
		return reason.Errorf(reason.Profile, "a release of %s removes %q: to withdraw is an event of its own", product, c.removed[0].path)
	}
	if err := t.sameProduct(c.file); err != nil {
		return reason.Wrap(err, "%s", c.file)
	}
	if err := t.counters(c); err != nil {
		return err
	}
	if err := t.floors(c); err != nil {
		return err
	}
	return t.requires(c)
}

// sameProduct: of the product's own file only targets and the high marks change.
func (t *trial) sameProduct(p *proposed) error {
	s := likeOld(p)
	s.Targets = p.oldTargets.Signed.Targets
	s.UnrecognizedFields = maps.Clone(s.UnrecognizedFields)
	s.UnrecognizedFields[metadata.HighField] = p.oldTargets.Signed.UnrecognizedFields[metadata.HighField]
	again, err := metadata.Signed(s)
	return sameBytes(again, p.oldTargets.Canonical(), err)
}

// counters: one version and one counter for all targets of a release, above every earlier one; a
// component and hardware have one target.
func (t *trial) counters(c *change) error {
	first := c.added[0].firmware
	if err := t.nextCounter(c.file, c.old.Counter, first.Counter); err != nil {
		return err
	}
	type place struct{ component, hardware string }
	taken := map[place]string{}
	for _, e := range c.added {
		f := e.firmware
		if f.Counter != first.Counter || f.Version != first.Version {
			return reason.Errorf(reason.Profile, "%q has version %s and counter %d, %q has %s and %d: a release has one of each", e.path, f.Version, f.Counter, c.added[0].path, first.Version, first.Counter)
		}
		for _, h := range f.Hardware {
			if other, ok := taken[place{f.Component, h}]; ok {
				return reason.Errorf(reason.CounterUsed, "%q and %q are both counter %d of component %s on %s", other, e.path, f.Counter, f.Component, h)
			}
			taken[place{f.Component, h}] = e.path
		}
	}
	if c.file.high.Counter != first.Counter {
		return reason.Errorf(reason.Profile, "%s: %s says counter %d, the release has %d", c.file, metadata.HighField, c.file.high.Counter, first.Counter)
	}
	return nil
}

// floors: no floor falls, and the high marks say what the targets say.
func (t *trial) floors(c *change) error {
	want := maps.Clone(c.old.Floors)
	if want == nil {
		want = map[string]int64{}
	}
	for _, e := range c.added {
		f := e.firmware
		if old := c.old.Floors[f.Component]; f.Floor < old {
			return reason.Errorf(reason.FloorFalls, "%q has floor %d, component %s has %d", e.path, f.Floor, f.Component, old)
		}
		want[f.Component] = max(want[f.Component], f.Floor)
	}
	if err := c.old.CheckRise(c.file.high); err != nil {
		return reason.Wrap(err, "%s", c.file)
	}
	if !maps.Equal(want, c.file.high.Floors) {
		return reason.Errorf(reason.Profile, "%s: %s says floors %v, the targets make %v", c.file, metadata.HighField, c.file.high.Floors, want)
	}
	return nil
}

// requires keeps requirements free of cycles: each must be met by a counter that was published before,
// so none can lead back to this release. What is not visible here, the server sees.
func (t *trial) requires(c *change) error {
	targets, err := t.delegator(metadata.Targets)
	if err != nil {
		return err
	}
	for _, e := range c.added {
		for _, q := range e.firmware.Requires {
			if _, err := metadata.TargetsDelegation(targets, q.Product, metadata.Profile); err != nil {
				return reason.Errorf(reason.Requires, "%q requires product %q, which does not exist", e.path, q.Product)
			}
			file, err := t.state.role(q.Product)
			if err != nil {
				return err
			}
			if file == nil {
				continue
			}
			high, err := highOf(file)
			if err != nil {
				return reason.Wrap(err, "image %s", q.Product)
			}
			if q.MinCounter > high.Counter {
				return reason.Errorf(reason.Requires, "%q requires %s counter %d, of which %d is the highest", e.path, q.Product, q.MinCounter, high.Counter).
					WithHint("publish that release of %s first", q.Product)
			}
		}
	}
	return nil
}
