package event

import (
	"github.com/countersign-ota/countersign/proto/metadata"
)

// Memory is what a machine knows of a deployment besides the base of an event: on a person's machine
// a History, on the server what was used up. It makes rollback and double signing visible (DESIGN
// 1.5, 3).
type Memory interface {
	// Seen returns the highest version of a role that was verified here, and its digest; 0 if none.
	Seen(r metadata.Repository, role string) (version int64, digest [32]byte)
	// Signed returns the digest of what was signed here as this version of a role.
	Signed(r metadata.Repository, role string, version int64) (digest [32]byte, ok bool)
	// Used returns up to where versions of a role, and counters if it is a product, are used up.
	Used(r metadata.Repository, role string) (version, counter int64)
}

// History is the Memory of a person's machine for one deployment. The zero value is empty. It is a
// value in memory; the caller keeps its Bytes durably, before a signature leaves the machine.
type History struct{}

var _ Memory = (*History)(nil)

// ParseHistory reads what Bytes wrote.
func ParseHistory(data []byte) (*History, error) { panic("event: being written") }

// Bytes returns the history as JSON; the same history gives the same bytes.
func (h *History) Bytes() []byte { panic("event: being written") }

// Saw records all that a verified state holds. A lower version than the recorded one changes nothing.
func (h *History) Saw(s *State) { panic("event: being written") }

// Sign records that signatures are about to be made over these files of the judged event.
func (h *History) Sign(j *Judgement, sigs []Signature) { panic("event: being written") }

// Pins returns the pinned roots.
func (h *History) Pins() Pins { panic("event: being written") }

// Seen implements Memory.
func (h *History) Seen(r metadata.Repository, role string) (int64, [32]byte) {
	panic("event: being written")
}

// Signed implements Memory.
func (h *History) Signed(r metadata.Repository, role string, version int64) ([32]byte, bool) {
	panic("event: being written")
}

// Used implements Memory: what was signed here.
func (h *History) Used(r metadata.Repository, role string) (version, counter int64) {
	panic("event: being written")
}
