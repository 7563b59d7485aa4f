package event

import (
	"slices"
	"strings"
	"time"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// kindRules is what sets one kind of event apart. All other rules hang on the files, whatever the
// kind: a new kind is a row in kinds.
type kindRules struct {
	// shape says which files the event may and must hold.
	shape func(t *trial) error
	// content compares old and new content of the files.
	content func(t *trial) error
	// subject returns what the event is about.
	subject func(t *trial) string
}

var kinds = map[string]kindRules{
	Init:     {shapeInit, contentOfChange, func(t *trial) string { return t.state.deployment }},
	Root:     {shapeRoot, contentOfChange, subjectRoles},
	Product:  {shapeProduct, contentOfChange, subjectRoles},
	Release:  {shapeRelease, contentOfRelease, func(t *trial) string { return t.release.name() }},
	Withdraw: {shapeRelease, contentOfWithdraw, func(t *trial) string { return t.release.name() }},
	Stop:     {shapeStop, contentOfStop, func(t *trial) string { return t.stop.name() }},
	Refresh:  {shapeRefresh, contentOfRefresh, subjectRoles},
}

// shape makes sure that the event holds the files of its kind.
func (t *trial) shape(k kindRules) error {
	err := k.shape(t)
	if reason.Is(err, reason.Profile) {
		return reason.Wrap(err, "kind %s", t.event.Proposal.Kind)
	}
	return err
}

func (t *trial) must(r metadata.Repository, role string) error {
	if t.find(r, role) == nil {
		return reason.Errorf(reason.Profile, "the event must hold %s %s", r, role)
	}
	return nil
}

// only refuses files for which ok is false.
func (t *trial) only(ok func(p *proposed) bool) error {
	for _, p := range t.files {
		if !ok(p) {
			return reason.Errorf(reason.Profile, "the event may not hold %s", p)
		}
	}
	return nil
}

// An init event founds the deployment: there is nothing before it.
func shapeInit(t *trial) error {
	for _, r := range []metadata.Repository{metadata.Image, metadata.Director} {
		if err := t.must(r, metadata.Root); err != nil {
			return err
		}
		root, err := t.state.root(r)
		if err != nil {
			return err
		}
		if root != nil {
			return reason.Errorf(reason.EventStale, "is stale: deployment %q has %s root %d already", t.state.deployment, r, root.Signed.Version)
		}
	}
	if err := t.must(metadata.Image, metadata.Targets); err != nil {
		return err
	}
	return t.only(func(p *proposed) bool { return p.base == nil && p.kind != metadata.RoleBin })
}

// A root event has a root in front, and may hold all that a product event holds.
func shapeRoot(t *trial) error {
	if t.find(metadata.Image, metadata.Root) == nil && t.find(metadata.Director, metadata.Root) == nil {
		return reason.Errorf(reason.Profile, "the event must hold a root")
	}
	return t.only(mayFollow)
}

func shapeProduct(t *trial) error {
	if err := t.must(metadata.Image, metadata.Targets); err != nil {
		return err
	}
	return t.only(func(p *proposed) bool { return p.role != metadata.Root && mayFollow(p) })
}

// mayFollow takes changes of what exists, and new products with their stop roles.
func mayFollow(p *proposed) bool {
	return p.base != nil || p.kind == metadata.RoleProduct || p.kind == metadata.RoleStop
}

// A release, or its withdrawal, holds one product's own file, and the bins that it touches.
func shapeRelease(t *trial) error {
	product := ""
	for _, p := range t.files {
		if p.kind == metadata.RoleProduct && p.base != nil && product == "" {
			product = p.product
		}
	}
	if product == "" {
		return reason.Errorf(reason.Profile, "the event must hold the file of a product that exists")
	}
	return t.only(func(p *proposed) bool {
		return p.product == product && (p.kind == metadata.RoleProduct || p.kind == metadata.RoleBin)
	})
}

// A refresh holds what exists; with a bin the product's own file (DESIGN 1.3).
func shapeRefresh(t *trial) error {
	for _, p := range t.files {
		if p.kind != metadata.RoleBin {
			continue
		}
		if err := t.must(metadata.Image, p.product); err != nil {
			return err
		}
	}
	return t.only(func(p *proposed) bool { return p.base != nil })
}

// subjectRoles names what an event of several files is about: the roots and the products.
func subjectRoles(t *trial) string {
	var names []string
	for _, p := range t.files {
		switch p.kind {
		case metadata.RoleTop:
			if p.role == metadata.Root {
				names = append(names, string(p.repository)+"-root")
			} else if t.event.Proposal.Kind == Refresh {
				names = append(names, p.role)
			}
		case metadata.RoleStop:
			// Of the kinds that have several files, only a refresh may hold a stop list without its product.
			if t.event.Proposal.Kind == Refresh {
				names = append(names, p.role)
			} else {
				names = append(names, p.product)
			}
		case metadata.RoleProduct, metadata.RoleBin:
			names = append(names, p.product)
		}
	}
	if len(names) == 0 {
		names = append(names, metadata.Targets)
	}
	slices.Sort(names)
	return strings.Join(slices.Compact(names), ",")
}

// contentOfChange: an event that changes who may sign changes nothing of what was signed. New products
// are empty.
func contentOfChange(t *trial) error {
	for _, p := range t.files {
		var err error
		switch {
		case p.kind == metadata.RoleTop:
			continue
		case p.base == nil:
			err = isEmpty(p)
		default:
			err = sameContent(p, true)
		}
		if err != nil {
			return reason.Wrap(err, "%s", p)
		}
	}
	return nil
}

// contentOfRefresh: the same content, a later expiry.
func contentOfRefresh(t *trial) error {
	for _, p := range t.files {
		if err := sameContent(p, false); err != nil {
			return reason.Wrap(err, "%s", p)
		}
		if err := p.noShorter(); err != nil {
			return err
		}
	}
	return nil
}

// noShorter refuses an expiry before that of what is in force.
func (p *proposed) noShorter() error {
	if p.expires.Before(p.oldExpires) {
		return reason.Errorf(reason.Profile, "%s expires at %s, before %s", p, p.expires.Format(time.RFC3339), p.oldExpires.Format(time.RFC3339))
	}
	return nil
}

// isEmpty makes sure that the first version of a product or stop list names nothing (DESIGN 1.8): it
// only proves that its people hold their keys.
func isEmpty(p *proposed) error {
	if len(p.targets.Signed.Targets) > 0 {
		return reason.Errorf(reason.Profile, "a new role holds %d targets, wanted none", len(p.targets.Signed.Targets))
	}
	if p.high != nil && (p.high.Counter != 0 || len(p.high.Floors) != 0) {
		return reason.Errorf(reason.Profile, "a new product begins at counter %d with %d floors, wanted 0 and none", p.high.Counter, len(p.high.Floors))
	}
	if p.kind == metadata.RoleStop {
		stops, err := metadata.ParseStops(p.targets.Signed.UnrecognizedFields[metadata.StopField])
		if err != nil {
			return err
		}
		if len(stops) > 0 {
			return reason.Errorf(reason.Profile, "a new stop list has %d entries, wanted none", len(stops))
		}
	}
	return nil
}
