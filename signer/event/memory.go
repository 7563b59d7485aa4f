package event

import (
	"cmp"
	"encoding/hex"
	"encoding/json"
	"slices"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/proto/strict"
)

// Memory is what a machine knows of a deployment besides the base of an event: on a person's machine
// a History, on the server what was used up. It makes rollback and double signing visible (DESIGN
// 1.5, 3).
type Memory interface {
	// Seen returns the highest version of a role that was verified here, and its digest; 0 if none.
	Seen(r metadata.Repository, role string) (version int64, digest [32]byte)
	// Signed returns the digest of what was last signed here as this version of a role.
	Signed(r metadata.Repository, role string, version int64) (digest [32]byte, ok bool)
	// Used returns up to where versions of a role, and counters if it is a product, are used up.
	Used(r metadata.Repository, role string) (version, counter int64)
}

// MaxHistory bounds a history file in bytes.
const MaxHistory = 16 << 20

// History is the Memory of a person's machine for one deployment. The zero value is empty. It lives in
// memory: the caller writes Bytes durably before a signature leaves the machine. Not safe for
// concurrent use.
type History struct {
	seen   map[historyKey]historyRole
	signed []historyRole
}

var _ Memory = (*History)(nil)

type historyKey struct {
	repository metadata.Repository
	role       string
}

// historyRole is one version of a role.
type historyRole struct {
	Repository metadata.Repository `json:"repository"`
	Role       string              `json:"role"`
	Version    int64               `json:"version"`
	SHA256     string              `json:"sha256"`
	// Counter is set for what was signed of a product.
	Counter int64 `json:"counter,omitempty"`
}

func (h historyRole) key() historyKey { return historyKey{h.Repository, h.Role} }

// historyJSON is the form on disk. Raise countersign_history when older readers must refuse.
type historyJSON struct {
	Version int           `json:"countersign_history"`
	Seen    []historyRole `json:"seen"`
	Signed  []historyRole `json:"signed"`
}

// ParseHistory reads what Bytes wrote.
func ParseHistory(data []byte) (*History, error) {
	var w historyJSON
	if err := strict.Unmarshal(data, &w, MaxHistory, "history"); err != nil {
		return nil, reason.Errorf(reason.StateDamaged, "%v", err)
	}
	if w.Version != 1 {
		return nil, reason.Errorf(reason.StateDamaged, "history has format %d, this program reads 1", w.Version)
	}
	h := &History{seen: map[historyKey]historyRole{}, signed: w.Signed}
	for _, list := range [][]historyRole{w.Seen, w.Signed} {
		for _, r := range list {
			if checkRole(r.Repository, r.Role) != nil || r.Version < 1 || !isDigest(r.SHA256) {
				return nil, reason.Errorf(reason.StateDamaged, "history: %s %q version %d is malformed", r.Repository, r.Role, r.Version)
			}
		}
	}
	for _, r := range w.Seen {
		h.seen[r.key()] = r
	}
	return h, nil
}

// Bytes returns the history as JSON; the same history gives the same bytes.
func (h *History) Bytes() ([]byte, error) {
	w := historyJSON{Version: 1, Seen: []historyRole{}, Signed: slices.Clone(h.signed)}
	for _, r := range h.seen {
		w.Seen = append(w.Seen, r)
	}
	if w.Signed == nil {
		w.Signed = []historyRole{}
	}
	slices.SortFunc(w.Seen, compareHistory)
	slices.SortStableFunc(w.Signed, compareHistory)
	data, err := json.Marshal(w)
	if err != nil {
		return nil, err
	}
	return append(data, '\n'), nil
}

func compareHistory(a, b historyRole) int {
	return cmp.Or(cmp.Compare(a.Repository, b.Repository), cmp.Compare(a.Role, b.Role), cmp.Compare(a.Version, b.Version))
}

// Saw records all that a verified state has read. A lower version than the recorded one changes
// nothing, so call it only after Judge, which refuses that.
func (h *History) Saw(s *State) {
	for _, v := range s.Seen() {
		h.see(historyRole{Repository: v.Repository, Role: v.Role, Version: v.Version, SHA256: hexOf(v.Digest)})
	}
}

func (h *History) see(r historyRole) {
	if h.seen == nil {
		h.seen = map[historyKey]historyRole{}
	}
	if r.Version > h.seen[r.key()].Version {
		h.seen[r.key()] = r
	}
}

// Sign records that these signatures are about to leave the machine. The first roots that a person
// signs, those of an init event, are pinned by it.
func (h *History) Sign(j *Judgement, sigs []Signature) {
	for _, s := range sigs {
		f := j.trial.files[s.File]
		r := historyRole{Repository: f.repository, Role: f.role, Version: f.version, SHA256: hexOf(f.digest)}
		if f.high != nil {
			r.Counter = f.high.Counter
		}
		if !slices.Contains(h.signed, r) {
			h.signed = append(h.signed, r)
		}
		// Another root 1 can only be the founding proposed anew: the person chose between the two.
		if f.root != nil && f.version == 1 && h.seen[r.key()].Version <= 1 {
			delete(h.seen, r.key())
			h.see(r)
		}
	}
}

// Pin records roots that the person compared with a fingerprint from elsewhere.
func (h *History) Pin(p Pins) {
	for r, pin := range map[metadata.Repository]Pin{metadata.Image: p.Image, metadata.Director: p.Director} {
		if pin.Version > 0 {
			h.see(historyRole{Repository: r, Role: metadata.Root, Version: pin.Version, SHA256: hexOf(pin.Digest)})
		}
	}
}

// Pins returns the pinned roots: the newest that were verified here.
func (h *History) Pins() Pins {
	pin := func(r metadata.Repository) Pin {
		v, d := h.Seen(r, metadata.Root)
		return Pin{v, d}
	}
	return Pins{Image: pin(metadata.Image), Director: pin(metadata.Director)}
}

// Seen implements Memory.
func (h *History) Seen(r metadata.Repository, role string) (int64, [32]byte) {
	seen := h.seen[historyKey{r, role}]
	return seen.Version, digestOf(seen.SHA256)
}

// Signed implements Memory.
func (h *History) Signed(r metadata.Repository, role string, version int64) ([32]byte, bool) {
	for _, s := range slices.Backward(h.signed) {
		if s.Repository == r && s.Role == role && s.Version == version {
			return digestOf(s.SHA256), true
		}
	}
	return [32]byte{}, false
}

// Used implements Memory: what was signed here.
func (h *History) Used(r metadata.Repository, role string) (version, counter int64) {
	for _, s := range h.signed {
		if s.Repository == r && s.Role == role {
			version, counter = max(version, s.Version), max(counter, s.Counter)
		}
	}
	return version, counter
}

func digestOf(s string) (d [32]byte) {
	// Parsed or made by hexOf; the zero digest of an unknown role decodes nothing.
	_, _ = hex.Decode(d[:], []byte(s))
	return d
}
