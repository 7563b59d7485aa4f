package event

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// stopChange is what an event does to one stop list.
type stopChange struct {
	file *proposed
	// added and left are in the order of their lists.
	added, left []stopped
	// list is the whole new list.
	list []metadata.StopEntry
}

// stopped is an entry that comes or goes, and where its target stands.
type stopped struct {
	metadata.StopEntry
	// target and firmware are set while the product lists it.
	target   *metadata.TargetFile
	firmware *metadata.Firmware
	// unseen says that it is not listed and that nobody here knows whether it ever was or, of one that
	// leaves, since when it is not.
	unseen bool
}

func (c *stopChange) name() string {
	// The path was read with the list.
	p, err := metadata.ParseTargetPath(c.added[0].Path)
	if err != nil {
		return c.file.product
	}
	return p.Product + "/" + p.Version
}

// NewStop returns the event that adds an entry for each target of the release product/version to the
// product's stop list, with why as its reason. A release that the product lists no longer is looked
// for in past, which may be nil. Where the list is full, the oldest entries that may leave do. Reasons:
// not-found (no such release), stopped (it is already), limit, usage, and those of the judgement.
func NewStop(product, version, why string, s *State, past Past, o Opening) (*Event, error) {
	if err := checkStopReason(why); err != nil {
		return nil, reason.Errorf(reason.UsageError, "%v", err)
	}
	targets, err := s.listed(product, version, o.Memory)
	if err != nil {
		return nil, err
	}
	if len(targets) == 0 && past != nil {
		if targets, err = s.listedBefore(product, version, past); err != nil {
			return nil, err
		}
	}
	if len(targets) == 0 {
		return nil, reason.Errorf(reason.NotFound, "product %q lists no release %q", product, version)
	}
	old, err := s.parent(metadata.StopRole(product))
	if err != nil {
		return nil, err
	}
	list, err := stopsOf(old)
	if err != nil {
		return nil, err
	}
	var added []metadata.StopEntry
	for _, e := range targets {
		entry := metadata.StopEntry{
			Path: e.path, Counter: e.firmware.Counter, SHA256: hex.EncodeToString(e.target.Hashes["sha256"]),
			At: o.Now.UTC().Truncate(time.Second), Reason: why,
		}
		if !slices.ContainsFunc(list, func(s metadata.StopEntry) bool { return imageOf(s) == imageOf(entry) }) {
			added = append(added, entry)
		}
	}
	if len(added) == 0 {
		return nil, reason.Errorf(reason.Stopped, "every target of %s/%s is stopped already", product, version)
	}
	if list, err = s.makeRoom(product, list, len(added), past, o.Now); err != nil {
		return nil, err
	}
	d := newDraft(Stop, s, o)
	d.past = past
	signed := old.Signed
	signed.UnrecognizedFields = maps.Clone(old.Signed.UnrecognizedFields)
	signed.UnrecognizedFields[metadata.StopField] = metadata.StopsField(append(list, added...))
	if err := d.addTargets(metadata.StopRole(product), signed, old); err != nil {
		return nil, err
	}
	return d.finish()
}

func stopsOf(t *targetsFile) ([]metadata.StopEntry, error) {
	return metadata.ParseStops(t.Signed.UnrecognizedFields[metadata.StopField])
}

// contentOfStop carries out DESIGN 1.8 between a stop list as it is and as it shall be: entries come,
// for images that the product lists or listed; entries leave when their time is over; none changes.
func contentOfStop(t *trial) error {
	p := t.files[0]
	c := &stopChange{file: p}
	t.stop = c
	old, err := stopsOf(p.oldTargets)
	if err != nil {
		return err
	}
	if c.list, err = stopsOf(p.targets); err != nil {
		return reason.Wrap(err, "%s", p)
	}
	if err := t.onlyStops(p); err != nil {
		return reason.Wrap(err, "%s", p)
	}
	if err := p.noShorter(); err != nil {
		return err
	}
	was := map[stopImage]bool{}
	for _, e := range old {
		was[imageOf(e)] = true
	}
	for _, e := range c.list {
		if was[imageOf(e)] {
			continue
		}
		if err := t.comes(c, e); err != nil {
			return reason.Wrap(err, "%s", p)
		}
	}
	if c.left, err = t.state.leave(p.product, old, c.list, t.opts.Past, t.opts.Now); err != nil {
		return reason.Wrap(err, "%s", p)
	}
	if len(c.added) == 0 {
		return reason.Errorf(reason.Profile, "%s stops nothing new", p)
	}
	return nil
}

// onlyStops: of a stop list only the entries change.
func (t *trial) onlyStops(p *proposed) error {
	s := likeOld(p)
	s.UnrecognizedFields = maps.Clone(s.UnrecognizedFields)
	s.UnrecognizedFields[metadata.StopField] = p.oldTargets.Signed.UnrecognizedFields[metadata.StopField]
	again, err := metadata.Signed(s)
	return sameBytes(again, p.oldTargets.Canonical(), err)
}

// comes judges one new entry.
func (t *trial) comes(c *stopChange, e metadata.StopEntry) error {
	p, err := metadata.ParseTargetPath(e.Path)
	if err != nil {
		return err
	}
	if p.Product != c.file.product {
		return reason.Errorf(reason.ProductMismatch, "%q is none of product %q", e.Path, c.file.product)
	}
	if err := checkStopReason(e.Reason); err != nil {
		return err
	}
	if len(c.added) > 0 {
		first, err := metadata.ParseTargetPath(c.added[0].Path)
		if err != nil || first.Version != p.Version {
			return reason.Errorf(reason.Profile, "%q and %q are of two releases, a stop is of one", c.added[0].Path, e.Path)
		}
	}
	s := stopped{StopEntry: e}
	if s.target, s.firmware, err = t.state.target(p.Product, imageOf(e)); err != nil {
		return err
	}
	if s.target == nil {
		if err := t.noneOther(p.Product, e); err != nil {
			return err
		}
		s.unseen = true
		if t.opts.Past != nil {
			last, err := t.state.everListed(p.Product, imageOf(e), t.opts.Past)
			if err != nil {
				return err
			}
			if last == nil {
				return reason.Errorf(reason.NeverListed, "%q with counter %d and sha256 %.12s is no image that product %q ever listed", e.Path, e.Counter, e.SHA256, p.Product)
			}
			s.unseen = !last.proven
		}
	}
	c.added = append(c.added, s)
	return nil
}

// checkStopReason takes the reason of a stop. Some characters grow sixfold in a file, and a full list must
// fit into one.
func checkStopReason(why string) error {
	if err := checkReason(why, metadata.MaxStopReason); err != nil {
		return err
	}
	if text, err := json.Marshal(why); err != nil || len(text)-2 > 2*metadata.MaxStopReason {
		return reason.Errorf(reason.Malformed, "reason %.40q: wanted fewer of the characters <, > and &", why)
	}
	return nil
}

// shapeStop: one stop list that exists.
func shapeStop(t *trial) error {
	if len(t.files) != 1 || t.files[0].kind != metadata.RoleStop || t.files[0].base == nil {
		return reason.Errorf(reason.Profile, "the event must hold one stop list that exists, and nothing else")
	}
	return nil
}

// byPath orders entries.
func byPath(a, b entry) int { return bytes.Compare([]byte(a.path), []byte(b.path)) }
