package metadata

import (
	"time"

	"github.com/countersign-ota/countersign/proto/reason"
)

// StopField is the member of a stop role's signed part that lists what is stopped (DESIGN 1.8).
const StopField = "x-countersign-stop"

// MaxStops is how many entries a stop list may hold.
const MaxStops = 256

// MaxStopReason bounds the reason of a stop, in bytes, so that a full list stays within the bound of its
// file (DESIGN 6).
const MaxStopReason = 200

// StopEntry stops one image: the device applies it to every image it has with this counter and
// SHA-256 (lower-case hex). At is whole seconds, UTC.
type StopEntry struct {
	Path    string
	Counter int64
	SHA256  string
	At      time.Time
	Reason  string
}

// ParseStops reads the value of StopField. Entries are unique by path, counter and SHA-256.
func ParseStops(raw any) ([]StopEntry, error) {
	list, err := object{map[string]any{StopField: raw}}.array(StopField, MaxStops)
	if err != nil {
		return nil, err
	}
	type image struct {
		path, sha256 string
		counter      int64
	}
	seen := map[image]bool{}
	stops := make([]StopEntry, 0, len(list))
	for i, v := range list {
		e, err := parseStop(v)
		if err != nil {
			return nil, reason.Wrap(err, "%s: entry %d", StopField, i)
		}
		key := image{e.Path, e.SHA256, e.Counter}
		if seen[key] {
			return nil, reason.Errorf(reason.Malformed, "%s: %q with counter %d stands twice", StopField, e.Path, e.Counter)
		}
		seen[key] = true
		stops = append(stops, e)
	}
	return stops, nil
}

func parseStop(raw any) (StopEntry, error) {
	o, err := asObject(raw, "path", "counter", "sha256", "at", "reason")
	if err != nil {
		return StopEntry{}, err
	}
	var e StopEntry
	if e.Path, err = o.text("path", maxID+2*maxFile+2); err != nil {
		return StopEntry{}, err
	}
	if _, err := ParseTargetPath(e.Path); err != nil {
		return StopEntry{}, err
	}
	if e.Counter, err = o.integer("counter", 1, MaxInteger); err != nil {
		return StopEntry{}, err
	}
	if e.SHA256, err = o.text("sha256", 64); err != nil {
		return StopEntry{}, err
	}
	if !isSHA256(e.SHA256) {
		return StopEntry{}, reason.Errorf(reason.Malformed, "sha256 %q: want 64 lower-case hex digits", e.SHA256)
	}
	at, err := o.text("at", maxName)
	if err != nil {
		return StopEntry{}, err
	}
	if err := acceptTime(at); err != nil {
		return StopEntry{}, err
	}
	if e.At, err = time.Parse(time.RFC3339, at); err != nil {
		return StopEntry{}, reason.Errorf(reason.Malformed, "at: %v", err)
	}
	if e.Reason, err = o.text("reason", MaxStopReason); err != nil {
		return StopEntry{}, err
	}
	return e, nil
}

// StopsField returns the value to put under StopField; times are cut to whole seconds in UTC.
func StopsField(stops []StopEntry) any {
	list := make([]any, 0, len(stops))
	for _, e := range stops {
		list = append(list, map[string]any{
			"path": e.Path, "counter": float64(e.Counter), "sha256": e.SHA256,
			"at": e.At.UTC().Truncate(time.Second).Format(time.RFC3339), "reason": e.Reason,
		})
	}
	return list
}
