package agent

import (
	"bytes"
	"slices"

	"github.com/countersign-ota/countersign/agent/internal/state"
	"github.com/countersign-ota/countersign/proto/metadata"
)

// remember adds stop entries to the record; they bind from then on, whatever the list says later
// (DESIGN 1.8). Entries for images that no rule lets back are forgotten, so that the record of a
// device that lives for 15 years stays small.
func (a *Agent) remember(rec *state.Record, entries []metadata.StopEntry) {
	comp := rec.Components[a.id]
	rec.Stops = slices.DeleteFunc(rec.Stops, func(s *state.Stop) bool {
		return s.Counter < comp.Counter && s.Counter != comp.PreviousCounter
	})
	for _, e := range entries {
		if e.Counter < comp.Counter && e.Counter != comp.PreviousCounter {
			continue
		}
		if !stoppedIn(rec, e.Counter, stopSum(e)) {
			s := stopSum(e)
			rec.Stops = append(rec.Stops, &state.Stop{Path: e.Path, Counter: e.Counter, Sha256: s[:]})
		}
	}
}

// stoppedIn reports whether the image with this counter and hash was stopped.
func stoppedIn(rec *state.Record, counter int64, sha [32]byte) bool {
	for _, s := range rec.Stops {
		if s.Counter == counter && bytes.Equal(s.Sha256, sha[:]) {
			return true
		}
	}
	return false
}

// stopSum returns the hash of a stop entry.
func stopSum(e metadata.StopEntry) [32]byte { return hexSum(e.SHA256) }
