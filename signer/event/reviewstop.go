package event

import (
	"encoding/hex"
	"slices"

	"github.com/countersign-ota/countersign/proto/metadata"
)

// stops reviews what a stop does.
func (v *reviewer) stops() {
	c := v.t.stop
	if c == nil {
		return
	}
	for _, s := range c.added {
		r := stopReview(s.StopEntry)
		switch {
		case s.target != nil:
			r.Target, r.Component, r.Hardware = StopListed, s.firmware.Component, s.firmware.Hardware
		case s.unseen:
			r.Target = StopUnseen
			v.warn("the base does not show that %s was ever listed; the server judges", s.Path)
		default:
			r.Target = StopWithdrawn
		}
		v.r.Stops = append(v.r.Stops, r)
		v.follows("%s is not installed any more; where it waits or is staged it is dropped, on trial the device goes back, where it is confirmed it runs on and is reported", s.Path)
	}
	for _, s := range c.left {
		r := stopReview(s.StopEntry)
		r.Leaves = true
		v.r.Stops = append(v.r.Stops, r)
		if s.unseen {
			v.warn("the stop of %s ends: nothing here shows that its target left 90 days ago or more; the server judges", s.Path)
			continue
		}
		v.follows("the stop of %s ends: its target has been withdrawn for more than 90 days", s.Path)
	}
	v.rest(c)
	added := map[stopImage]bool{}
	for _, s := range c.added {
		added[imageOf(s.StopEntry)] = true
	}
	v.left(c.file.product, func(i stopImage) bool { return added[i] })
}

// rest warns of targets of the release that go on, as far as they are visible.
func (v *reviewer) rest(c *stopChange) {
	p, err := metadata.ParseTargetPath(c.added[0].Path)
	if err != nil {
		return
	}
	list := map[stopImage]bool{}
	for _, e := range c.list {
		list[imageOf(e)] = true
	}
	var paths []string
	err = v.t.state.everyFile(c.file.product, func(role string, file *targetsFile) error {
		entries, err := ofRelease(file, role, p.Version)
		for _, e := range entries {
			if !list[stopImage{e.path, hex.EncodeToString(e.target.Hashes["sha256"]), e.firmware.Counter}] {
				paths = append(paths, e.path)
			}
		}
		return err
	})
	if err != nil {
		v.warn("what else %s lists cannot be read: %v", c.name(), err)
	}
	slices.Sort(paths)
	for _, path := range paths {
		v.warn("%s is of the same release and not stopped", path)
	}
}

func stopReview(e metadata.StopEntry) StopReview {
	return StopReview{Path: e.Path, Counter: e.Counter, SHA256: e.SHA256, At: e.At, Reason: e.Reason}
}

// left says what devices may still install of a flat product, for each hardware and component that
// loses an image by the event: what is listed and not stopped. Of a product with bins the event does
// not show all.
func (v *reviewer) left(product string, gone func(stopImage) bool) {
	file, err := v.t.state.role(product)
	if err != nil || file == nil || succinctOf(file) != nil {
		return
	}
	was := map[stopImage]bool{}
	if stops, err := v.t.state.role(metadata.StopRole(product)); err == nil && stops != nil {
		list, err := stopsOf(stops)
		if err != nil {
			return
		}
		for _, e := range list {
			was[imageOf(e)] = true
		}
	}
	type place struct{ component, hardware string }
	best, lost := map[place]*metadata.Firmware{}, map[place]bool{}
	for _, path := range sortedKeys(file.Signed.Targets) {
		f, err := metadata.ParseFirmware(path, file.Signed.Targets[path], false)
		if err != nil {
			continue
		}
		image := stopImage{path, hex.EncodeToString(file.Signed.Targets[path].Hashes["sha256"]), f.Counter}
		out := gone(image)
		for _, h := range f.Hardware {
			p := place{f.Component, h}
			switch {
			case out:
				lost[p] = true
			case was[image]:
			case best[p] == nil || best[p].Counter < f.Counter:
				best[p] = f
			}
		}
	}
	var places []place
	for p := range lost {
		places = append(places, p)
	}
	slices.SortFunc(places, func(a, b place) int {
		if a.hardware != b.hardware {
			if a.hardware < b.hardware {
				return -1
			}
			return 1
		}
		if a.component < b.component {
			return -1
		}
		return 1
	})
	for _, p := range places {
		if f := best[p]; f != nil {
			v.follows("%s, component %s: counter %d (%s) is the highest that is left", p.hardware, p.component, f.Counter, f.Version)
			continue
		}
		v.warn("%s, component %s: nothing is left to install; devices keep what runs and wait for the next release", p.hardware, p.component)
	}
}

// nearlyFull is from which share of its bound on a file is said to be near it, in percent.
const nearlyFull = 80

// nearLimit warns of a flat product that comes near the bound of its file (DESIGN 6).
func (v *reviewer) nearLimit() {
	c := v.t.release
	if c == nil || len(c.added) == 0 || succinctOf(c.file.targets) != nil {
		return
	}
	limit := metadata.MaxSize(metadata.Profile, c.file.role)
	size := sizeOf(c.file)
	if size*100 < limit*nearlyFull {
		return
	}
	v.warn("%s has %d targets and %d %% of the %d bytes that its file may have: %s", c.product, len(c.file.targets.Signed.Targets), size*100/limit, limit, fullHint)
}

// fullHint is the way out of a flat product that is full.
const fullHint = "withdraw old releases, or let the next ones go to a new product with bins"
