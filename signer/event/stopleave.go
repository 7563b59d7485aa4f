package event

import (
	"slices"
	"time"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// StopKeeps is how long an entry stays in a stop list after its target left the product's role (DESIGN
// 1.8).
const StopKeeps = 90 * 24 * time.Hour

// makeRoom drops entries that may leave, as far as n more need it: those whose targets left first.
func (s *State) makeRoom(product string, list []metadata.StopEntry, n int, past Past, now time.Time) ([]metadata.StopEntry, error) {
	list = slices.Clone(list)
	if len(list)+n <= metadata.MaxStops {
		return list, nil
	}
	var may []leaving
	for _, e := range list {
		l, err := s.mayLeave(product, e, past, now)
		if err != nil {
			return nil, err
		}
		if l.refused == nil {
			l.image = imageOf(e)
			may = append(may, *l)
		}
	}
	slices.SortStableFunc(may, func(a, b leaving) int { return a.about.Compare(b.about) })
	for _, l := range may {
		if len(list)+n <= metadata.MaxStops {
			break
		}
		list = slices.DeleteFunc(list, func(e metadata.StopEntry) bool { return imageOf(e) == l.image })
	}
	if len(list)+n > metadata.MaxStops {
		return nil, reason.Errorf(reason.Limit, "the stop list of %s has %d entries, of which none may leave, and %d come: at most %d are allowed", product, len(list), n, metadata.MaxStops).
			WithHint("withdraw what is stopped: its entry may leave 90 days later")
	}
	return list, nil
}

// leaving says whether an entry may leave its list.
type leaving struct {
	image stopImage
	// refused is why it may not.
	refused error
	// about is about when its target left the product; by the entry's own time where nothing shows it.
	about time.Time
	// known says that it is known here that it left long enough ago.
	known bool
}

// mayLeave judges an entry that leaves: its target is not listed, and has not been for 90 days. Without past,
// or one with times, when it left is not known, and the server judges. Where past does not show it, as
// after a recovery, the time counts from the entry on.
func (s *State) mayLeave(product string, e metadata.StopEntry, past Past, now time.Time) (*leaving, error) {
	l := &leaving{about: e.At}
	target, _, err := s.target(product, imageOf(e))
	if err != nil {
		return nil, err
	}
	if target != nil {
		l.refused = reason.Errorf(reason.StopKept, "the stop of %q leaves the list while the product lists the target", e.Path).
			WithHint("countersign withdraw first; the entry may leave 90 days later")
		return l, nil
	}
	if past == nil {
		return l, nil
	}
	last, err := s.everListed(product, imageOf(e), past)
	if err != nil {
		return nil, err
	}
	left := e.At
	if last != nil {
		left, l.about = last.next, last.gone()
	}
	if now.Before(left.Add(StopKeeps)) {
		l.refused = reason.Errorf(reason.StopKept, "the stop of %q leaves the list on %s, wanted not before %s: its target left on %s", e.Path, day(now), day(left.Add(StopKeeps)), day(left))
	}
	l.known = !left.IsZero() && !s.verify
	return l, nil
}

// leave returns the entries of old that list does without, and refuses those that may not leave or are
// said anew. Reasons: stop-kept, profile, and those of reading.
func (s *State) leave(product string, old, list []metadata.StopEntry, past Past, now time.Time) ([]stopped, error) {
	kept := map[stopImage]metadata.StopEntry{}
	for _, e := range list {
		kept[imageOf(e)] = e
	}
	var left []stopped
	for _, e := range old {
		if n, ok := kept[imageOf(e)]; ok {
			if !n.At.Equal(e.At) || n.Reason != e.Reason {
				return nil, reason.Errorf(reason.Profile, "the entry of %q changes: what was stopped stays as it was said", e.Path)
			}
			continue
		}
		l, err := s.mayLeave(product, e, past, now)
		if err == nil {
			err = l.refused
		}
		if err != nil {
			return nil, err
		}
		left = append(left, stopped{StopEntry: e, unseen: !l.known})
	}
	return left, nil
}

// KeepsStops judges a genuine stop list of a product that takes the place of old otherwise than by an event,
// such as one that somebody shows to a server which lost its own: one person signs it, so it keeps what an
// event would have kept. The files of the product in the state are those beside which it shall be in force.
// Reasons: stop-kept, profile, and those of reading.
func (s *State) KeepsStops(product string, old, list []metadata.StopEntry, past Past, now time.Time) error {
	_, err := s.leave(product, old, list, past, now)
	return err
}
