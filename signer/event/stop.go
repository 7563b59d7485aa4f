package event

import (
	"bytes"
	"encoding/hex"
	"maps"
	"slices"
	"time"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// StopKeeps is how long an entry stays in a stop list after its target left the product's role (DESIGN
// 1.8).
const StopKeeps = 90 * 24 * time.Hour

// stopImage is what an entry of a stop list stops.
type stopImage struct {
	path, sha256 string
	counter      int64
}

func imageOf(e metadata.StopEntry) stopImage { return stopImage{e.Path, e.SHA256, e.Counter} }

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
	// unseen says that it is not listed and that nobody here knows whether it ever was.
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
	if err := checkReason(why, metadata.MaxStopReason); err != nil {
		return nil, reason.Errorf(reason.UsageError, "%v", err)
	}
	targets, err := s.listed(product, version)
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

// makeRoom drops the oldest entries that may leave, as far as n more need it.
func (s *State) makeRoom(product string, list []metadata.StopEntry, n int, past Past, now time.Time) ([]metadata.StopEntry, error) {
	list = slices.Clone(list)
	for i := 0; len(list)+n > metadata.MaxStops && i < len(list); {
		kept, err := s.mayLeave(product, list[i], past, now)
		if err != nil {
			return nil, err
		}
		if kept != nil {
			i++
			continue
		}
		list = slices.Delete(list, i, i+1)
	}
	if len(list)+n > metadata.MaxStops {
		return nil, reason.Errorf(reason.Limit, "the stop list of %s has %d entries, of which none may leave, and %d come: at most %d are allowed", product, len(list), n, metadata.MaxStops).
			WithHint("withdraw what is stopped: its entry may leave 90 days later")
	}
	return list, nil
}

// mayLeave returns why an entry may not leave its list: its target is listed, or left too late. Without
// past, when it left is not known, and the server judges.
func (s *State) mayLeave(product string, e metadata.StopEntry, past Past, now time.Time) (refused, err error) {
	target, _, err := s.target(product, imageOf(e))
	if err != nil {
		return nil, err
	}
	if target != nil {
		return reason.Errorf(reason.StopKept, "the stop of %q leaves the list while the product lists the target", e.Path).
			WithHint("countersign withdraw first; the entry may leave 90 days later"), nil
	}
	if past == nil {
		return nil, nil
	}
	was, left, err := s.everListed(product, imageOf(e), past)
	if err != nil || !was {
		return nil, err
	}
	if now.Before(left.Add(StopKeeps)) {
		return reason.Errorf(reason.StopKept, "the stop of %q leaves the list on %s, wanted not before %s: its target left on %s", e.Path, day(now), day(left.Add(StopKeeps)), day(left)), nil
	}
	return nil, nil
}

// target returns the listed target that an entry stops, nil when the product lists none.
func (s *State) target(product string, image stopImage) (*metadata.TargetFile, *metadata.Firmware, error) {
	role, err := s.listsIn(product, image.path)
	if err != nil || role == "" {
		return nil, nil, err
	}
	file, err := s.role(role)
	if err != nil || file == nil {
		return nil, nil, err
	}
	return targetIn(file, image)
}

// listsIn returns the file in which a product lists a path: its own, or a bin; "" for no product.
func (s *State) listsIn(product, path string) (string, error) {
	file, err := s.role(product)
	if err != nil || file == nil {
		return "", err
	}
	if succinct := succinctOf(file); succinct != nil {
		return metadata.BinOf(succinct, path), nil
	}
	return product, nil
}

func targetIn(file *targetsFile, image stopImage) (*metadata.TargetFile, *metadata.Firmware, error) {
	target := file.Signed.Targets[image.path]
	if target == nil || hex.EncodeToString(target.Hashes["sha256"]) != image.sha256 {
		return nil, nil, nil
	}
	firmware, err := metadata.ParseFirmware(image.path, target, false)
	if err != nil || firmware.Counter != image.counter {
		return nil, nil, err
	}
	return target, firmware, nil
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
	was := map[stopImage]metadata.StopEntry{}
	for _, e := range old {
		was[imageOf(e)] = e
	}
	for _, e := range c.list {
		before, ok := was[imageOf(e)]
		delete(was, imageOf(e))
		switch {
		case !ok:
			if err := t.comes(c, e); err != nil {
				return reason.Wrap(err, "%s", p)
			}
		case !before.At.Equal(e.At) || before.Reason != e.Reason:
			return reason.Errorf(reason.Profile, "%s changes its entry of %q: what was stopped stays as it was said", p, e.Path)
		}
	}
	for _, e := range old {
		if _, ok := was[imageOf(e)]; !ok {
			continue
		}
		refused, err := t.state.mayLeave(p.product, e, t.opts.Past, t.opts.Now)
		if err == nil {
			err = refused
		}
		if err != nil {
			return reason.Wrap(err, "%s", p)
		}
		c.left = append(c.left, stopped{StopEntry: e})
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
	if err := checkReason(e.Reason, metadata.MaxStopReason); err != nil {
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
		was := false
		if t.opts.Past != nil {
			if was, _, err = t.state.everListed(p.Product, imageOf(e), t.opts.Past); err != nil {
				return err
			}
			if !was {
				return reason.Errorf(reason.NeverListed, "%q with counter %d and sha256 %.12s is no image that product %q ever listed", e.Path, e.Counter, e.SHA256, p.Product)
			}
		}
		s.unseen = !was
	}
	c.added = append(c.added, s)
	return nil
}

// shapeStop: one stop list that exists.
func shapeStop(t *trial) error {
	if len(t.files) != 1 || t.files[0].kind != metadata.RoleStop || t.files[0].base == nil {
		return reason.Errorf(reason.Profile, "the event must hold one stop list that exists, and nothing else")
	}
	return nil
}

// stoppedBins returns the bins that list what a proposed stop list stops anew: a signer without network
// must see that it stops what the product lists. A file that does not parse stops nothing: Judge
// refuses it.
func stoppedBins(f ProposedFile, product string, files Source) ([]string, error) {
	data, err := files.Current(metadata.Image, product)
	if err != nil || len(data) == 0 {
		return nil, err
	}
	file, err := metadata.ParseTargets(data, metadata.Profile)
	if err != nil {
		return nil, reason.Wrap(err, "base: image %s", product)
	}
	succinct := succinctOf(file)
	next, perr := parseTargets(f)
	if succinct == nil || perr != nil {
		return nil, nil //nolint:nilerr // Judge refuses the file
	}
	if data, err = files.Current(metadata.Image, f.Role); err != nil || len(data) == 0 {
		return nil, err
	}
	current, err := metadata.ParseTargets(data, metadata.Profile)
	if err != nil {
		return nil, reason.Wrap(err, "base: image %s", f.Role)
	}
	old, err := stopsOf(current)
	if err != nil {
		return nil, reason.Wrap(err, "base: image %s", f.Role)
	}
	list, err := stopsOf(next)
	if err != nil {
		return nil, nil //nolint:nilerr // Judge refuses the file
	}
	var bins []string
	for _, e := range list {
		if !slices.ContainsFunc(old, func(o metadata.StopEntry) bool { return imageOf(o) == imageOf(e) }) {
			bins = append(bins, metadata.BinOf(succinct, e.Path))
		}
	}
	slices.Sort(bins)
	return slices.Compact(bins), nil
}

// byPath orders entries.
func byPath(a, b entry) int { return bytes.Compare([]byte(a.path), []byte(b.path)) }
