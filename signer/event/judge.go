package event

import (
	"time"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/statement"
)

// Options of a judgement. The zero value judges with no memory, at no time, as a reader.
type Options struct {
	// Now is the time by which expiry is judged. Required.
	Now time.Time
	// Memory may be nil.
	Memory Memory
	// Online are the server's own keys; nil on a person's machine, which cannot know them.
	Online *OnlineKeys
	// Opening is set when the event is opened on the server: versions and counters must be the next
	// ones after those in force and those used up. Later the event's own signatures use them up.
	Opening bool
	// AllowExample lets keys of keys-example count. Only the tool sets it, and warns.
	AllowExample bool
}

// OnlineKeys are what a server holds itself.
type OnlineKeys struct {
	// Image signs the image repository's snapshot and timestamp, Director the director's online roles.
	Image, Director *metadata.Key
	// TLS are the SPKI hashes (SHA-256, hex) of its TLS anchors.
	TLS []string
}

// Judgement is an event that may be signed, and how far its quorum is.
type Judgement struct {
	// Event holds the signatures and approvals that count. It is a copy of the judged one.
	Event *Event
	// Files are the proposed files, in their order.
	Files []FileJudgement
	// Refused are signatures and approvals that do not count, with the reason.
	Refused []Outcome
	// Complete says that every file has its quorum.
	Complete bool
	// Example says that a key of keys-example is among the people's keys.
	Example bool
}

// FileJudgement is one proposed file.
type FileJudgement struct {
	Repository metadata.Repository
	Role       string
	// OldVersion is 0, and OldExpires zero, for a new role.
	OldVersion, NewVersion int64
	OldExpires, Expires    time.Time
	Digest                 [32]byte
	// Signers are the delegations that must be satisfied: one, for a root with a predecessor two.
	Signers []Signers
}

// Signers is one delegation that a file must satisfy, and how far it is.
type Signers struct {
	// By says whose people they are: "root 3", "this root", "targets 5", "gw-100 31".
	By         string
	Delegation *metadata.Delegation
	Tally      metadata.Tally
}

// Outcome says what became of one signature or approval.
type Outcome struct {
	// File is the index of the file; -1 for an approval.
	File int
	// KeyID is empty for an approval that does not parse.
	KeyID string
	// Person is the id of the person, if known.
	Person string
	// Err is nil when it counts.
	Err error
}

// Judge applies every rule of DESIGN 1.1 to 1.5, 3 and 6 to the proposal of e against s. An error
// means that nobody may sign or publish the proposal. Signatures and approvals that do not count do
// not fail it; they are in Refused.
func Judge(e *Event, s *State, o Options) (*Judgement, error) { panic("event: being written") }

// Add judges further signatures and approvals, and takes those that count. The outcomes have the
// order of sigs, then approvals. A signature counts only with its person's approval, so both come in
// one call.
func (j *Judgement) Add(sigs []Signature, approvals []statement.Envelope) []Outcome {
	panic("event: being written")
}

// Publishable returns nil when every file has its quorum, else quorum-open, naming who still can sign.
func (j *Judgement) Publishable() error { panic("event: being written") }

// PublishedFile returns file i as it is published: with all signatures that count.
func (j *Judgement) PublishedFile(i int) ([]byte, error) { panic("event: being written") }

// Use is a version, and for a product a counter, that signatures use up (DESIGN 1.5).
type Use struct {
	Repository metadata.Repository
	Role       string
	Version    int64
	// Counter is 0 unless the role is a product.
	Counter int64
}

// Uses returns what the signatures that count use up. Root is not among them: its version is always
// the next one.
func (j *Judgement) Uses() []Use { panic("event: being written") }
