package event

import (
	"bytes"
	"slices"
	"time"

	"github.com/countersign-ota/countersign/proto/metadata"
)

// Opening is what the opener of an event brings besides the plan or spec.
type Opening struct {
	// Now is the time from which expiry counts. Required.
	Now time.Time
	// Memory gives used versions and counters; may be nil. The server knows more of them, and says so.
	Memory Memory
	// AllowExample lets keys of keys-example be planned; see Options.
	AllowExample bool
}

// draft is an event in the making.
type draft struct {
	e *Event
	o Opening
	s *State
	// past may be nil.
	past Past
}

// addRoot takes the signed part of a root; old may be nil.
func (d *draft) addRoot(r metadata.Repository, signed metadata.RootRole, old *rootFile) error {
	signed.Version, signed.Expires = 1, d.o.expires()
	var base *BaseRef
	if old != nil {
		signed.Version, signed.Expires = old.Signed.Version+1, d.noShorter(signed.Expires, old.Signed.Expires)
		base = &BaseRef{old.Signed.Version, hexOf(old.Digest())}
	}
	canonical, err := metadata.Signed(signed)
	if err != nil {
		return err
	}
	d.e.Proposal.Files = append(d.e.Proposal.Files, ProposedFile{r, metadata.Root, base, canonical})
	return nil
}

// addTargets takes the signed part of an image role; old may be nil.
func (d *draft) addTargets(role string, signed metadata.TargetsRole, old *targetsFile) error {
	var base *BaseRef
	current := int64(0)
	if old != nil {
		current = old.Signed.Version
		base = &BaseRef{current, hexOf(old.Digest())}
	}
	signed.Version, signed.Expires = d.o.next(metadata.Image, role, current), d.o.expires()
	if old != nil {
		signed.Expires = d.noShorter(signed.Expires, old.Signed.Expires)
	}
	canonical, err := metadata.Signed(signed)
	if err != nil {
		return err
	}
	d.e.Proposal.Files = append(d.e.Proposal.Files, ProposedFile{metadata.Image, role, base, canonical})
	return nil
}

// noShorter returns when a file expires. A refresh and a stop never bring it closer, also where the clock
// of who opened the one in force goes ahead.
func (d *draft) noShorter(expires, old time.Time) time.Time {
	if k := d.e.Proposal.Kind; (k == Refresh || k == Stop) && old.After(expires) {
		return old
	}
	return expires
}

// finish sorts the files, derives the subject, adds the base and judges the result: what cannot be
// signed is not opened.
func (d *draft) finish() (*Event, error) {
	if err := d.settle(); err != nil {
		return nil, err
	}
	base, err := BaseOf(d.e, d.s.files)
	if err != nil {
		return nil, err
	}
	d.e.Base = base
	return d.e, nil
}

// settle sorts the files, judges them and derives the subject.
func (d *draft) settle() error {
	p := &d.e.Proposal
	slices.SortFunc(p.Files, compareFiles)
	slices.SortFunc(p.Blobs, func(a, b Blob) int { return bytes.Compare([]byte(a.Path), []byte(b.Path)) })
	p.Blobs = slices.CompactFunc(p.Blobs, func(a, b Blob) bool { return a == b })
	t := &trial{event: d.e, state: d.s, opts: Options{Now: d.o.Now, Memory: d.o.Memory, Past: d.past, AllowExample: d.o.AllowExample}}
	if err := t.run(); err != nil {
		return err
	}
	p.Subject = t.subject()
	return nil
}

// NewInit returns the event that founds the deployment of the plan: both roots, image targets, and
// version 1 of every product and stop role.
func NewInit(p *Plan, o Opening) (*Event, error) {
	if err := p.sound(); err != nil {
		return nil, err
	}
	s, err := StateOf(nil, p.Deployment)
	if err != nil {
		return nil, err
	}
	d, err := draftInit(p, s, o)
	if err != nil {
		return nil, err
	}
	return d.finish()
}

// draftInit returns the draft of NewInit.
func draftInit(p *Plan, s *State, o Opening) (*draft, error) {
	d := newDraft(Init, s, o)
	for _, r := range []metadata.Repository{metadata.Director, metadata.Image} {
		root, err := p.root(r)
		if err != nil {
			return nil, err
		}
		if err := d.addRoot(r, root, nil); err != nil {
			return nil, err
		}
	}
	targets, err := p.targets()
	if err != nil {
		return nil, err
	}
	if err := d.addTargets(metadata.Targets, targets, nil); err != nil {
		return nil, err
	}
	for _, product := range sortedKeys(p.Products) {
		if err := d.newProduct(p, product); err != nil {
			return nil, err
		}
	}
	return d, nil
}

func newDraft(kind string, s *State, o Opening) *draft {
	return &draft{e: &Event{Proposal: Proposal{Deployment: s.deployment, Kind: kind}}, o: o, s: s}
}

// newProduct adds version 1 of a product and of its stop role.
func (d *draft) newProduct(p *Plan, product string) error {
	file, err := p.product(product)
	if err != nil {
		return err
	}
	if err := d.addTargets(product, file, nil); err != nil {
		return err
	}
	return d.addTargets(metadata.StopRole(product), p.stop(product), nil)
}

// Successor returns the event that follows a cancelled one of which somebody signed a file: the old
// content under versions above all used ones, of kind refresh (DESIGN 1.5). Until it is published, a
// thief of the server could publish the cancelled one, once its quorum is complete. It is nil when
// nothing is used up: no signatures, or only roots and roles that do not exist yet. With a bin comes the
// product's own file.
func Successor(e *Event, s *State, o Opening) (*Event, error) {
	var roles []string
	for i, f := range e.Proposal.Files {
		signed := slices.ContainsFunc(e.Signatures, func(sig Signature) bool { return sig.File == i })
		if !signed || f.Role == metadata.Root {
			continue
		}
		product, kind, err := metadata.SplitRole(f.Role)
		if err != nil {
			return nil, err
		}
		old, err := s.role(f.Role)
		if err != nil {
			return nil, err
		}
		if old == nil {
			continue
		}
		roles = append(roles, f.Role)
		if kind == metadata.RoleBin {
			roles = append(roles, product)
		}
	}
	if len(roles) == 0 {
		return nil, nil
	}
	d := newDraft(Refresh, s, o)
	slices.Sort(roles)
	for _, role := range slices.Compact(roles) {
		old, err := s.parent(role)
		if err != nil {
			return nil, err
		}
		if err := d.addTargets(role, old.Signed, old); err != nil {
			return nil, err
		}
	}
	return d.finish()
}
