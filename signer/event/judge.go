package event

import (
	"strings"
	"time"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/proto/statement"
)

// Options of a judgement.
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
	// Past are earlier versions of product files and bins; nil on a machine that cannot know them. With
	// it, entries of a stop list are judged against all that the product ever listed, and an entry that
	// leaves against when its target did (DESIGN 1.8).
	Past Past
	// AllowExample lets keys of keys-example count. Only the tool sets it, and warns.
	AllowExample bool
}

// Past gives earlier files of the image repository.
type Past interface {
	// Version returns one version of a product's file or of a bin and when it was published; nil if there
	// is none. The time is zero where it is not known. The file need not be verified.
	Version(role string, version int64) (file []byte, published time.Time, err error)
}

// OnlineKeys are what a server holds itself.
type OnlineKeys struct {
	// Image signs the image repository's snapshot and timestamp, Director the director's online roles.
	Image, Director *metadata.Key
	// TLS are the SPKI hashes (SHA-256, hex) of its TLS anchors.
	TLS []string
}

// Judgement is an event that may be signed, and how far its quorum is. Not safe for concurrent use.
type Judgement struct {
	// Event holds the signatures and approvals that count. It is a copy of the judged one, its base
	// included.
	Event *Event
	// Files are the proposed files, in their order.
	Files []FileJudgement
	// Refused are signatures and approvals of the judged event that do not count.
	Refused []Outcome
	// Complete says that every file has its quorum.
	Complete bool
	// Example says that a key of keys-example is among those that sign.
	Example bool

	id    string
	trial *trial
	tally *signatures
}

// FileJudgement is one proposed file.
type FileJudgement struct {
	Repository metadata.Repository
	Role       string
	// OldVersion is 0, and OldExpires zero, for a new role.
	OldVersion, NewVersion int64
	OldExpires, Expires    time.Time
	Digest                 [32]byte
	// Signers are the delegations that must be satisfied: one, or two for a root with a predecessor.
	Signers []Signers
}

// Signers is one delegation that a file must satisfy, and how far it is.
type Signers struct {
	// By says whose people they are: "root 3", "this root", "targets 5", "gw-100 31".
	By         string
	Delegation *metadata.Delegation
	Tally      metadata.Tally
}

// Complete says that the file has its quorum.
func (f *FileJudgement) Complete() bool {
	for _, s := range f.Signers {
		if !s.Tally.Complete {
			return false
		}
	}
	return true
}

// Outcome says what became of one signature or approval.
type Outcome struct {
	// File is the index of the file; -1 for an approval.
	File int
	// KeyID is empty for an approval whose signer is not known.
	KeyID string
	// Person is the id of the person, if known.
	Person string
	// Err is nil when it counts.
	Err error
}

// Judge applies every rule of DESIGN 1.1 to 1.5, 3 and 6 to the proposal of e against s. An error
// means that nobody may sign or publish the proposal. Signatures and approvals that do not count do
// not fail it; they are in Refused.
func Judge(e *Event, s *State, o Options) (*Judgement, error) {
	id := e.ID()
	t := &trial{event: e, state: s, opts: o}
	err := t.run()
	if err == nil {
		err = t.checkSubject()
	}
	if err != nil {
		return nil, ofEvent(id, err)
	}
	j := &Judgement{
		Event: &Event{Proposal: e.Proposal, Base: e.Base},
		id:    id, trial: t, Example: t.example,
	}
	for _, f := range t.files {
		j.Files = append(j.Files, FileJudgement{
			Repository: f.repository, Role: f.role,
			OldVersion: f.oldVersion, NewVersion: f.version,
			OldExpires: f.oldExpires, Expires: f.expires,
			Digest: f.digest, Signers: f.signers,
		})
	}
	j.tally = newSignatures(j)
	for _, out := range j.Add(e.Signatures, e.Approvals) {
		if out.Err != nil {
			j.Refused = append(j.Refused, out)
		}
	}
	return j, nil
}

// ofEvent puts the event in front of an error: as its subject where the text goes on as a sentence.
func ofEvent(id string, err error) error {
	for _, verb := range []string{"is ", "builds ", "says "} {
		if strings.HasPrefix(err.Error(), verb) {
			return reason.Errorf(reason.Of(err), "event %.12s %v", id, err).WithHint("%s", reason.HintOf(err))
		}
	}
	return reason.Wrap(err, "event %.12s", id)
}

// ID returns the id of the judged event.
func (j *Judgement) ID() string { return j.id }

// trial is one judgement in the making.
type trial struct {
	event   *Event
	state   *State
	opts    Options
	files   []*proposed
	example bool
	// release is what a release adds or a withdrawal removes; nil for other kinds.
	release *change
	// stop is what a stop does; nil for other kinds.
	stop *stopChange
}

// run carries out the rules in the order in which a person would want to hear of them: is it about
// what is in force, does it lead on from that, is each file well made, do they keep the rules between
// files, who must sign them.
func (t *trial) run() error {
	p := &t.event.Proposal
	if p.Deployment != t.state.deployment {
		return reason.Errorf(reason.ScopeMismatch, "is of deployment %q, wanted %q", p.Deployment, t.state.deployment)
	}
	k, ok := kinds[p.Kind]
	if !ok {
		return reason.Errorf(reason.Malformed, "kind %q is not known", p.Kind)
	}
	if (p.Reason != "") != (p.Kind == Withdraw) {
		return reason.Errorf(reason.Malformed, "kind %s with reason %.40q: a withdrawal has one, no other kind does", p.Kind, p.Reason)
	}
	if err := t.parse(); err != nil {
		return err
	}
	for _, step := range []func() error{
		func() error { return t.shape(k) },
		t.remember, t.bases, t.versions,
		func() error { return k.content(t) },
		t.static, t.rootRules, t.people, t.delegated, t.blobs, t.whoSigns, t.sizes,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// subject returns what the event is about. It is known once the event was run.
func (t *trial) subject() string { return kinds[t.event.Proposal.Kind].subject(t) }

// checkSubject compares what the proposal says to people with what it is about.
func (t *trial) checkSubject() error {
	if got, want := t.event.Proposal.Subject, t.subject(); got != want {
		return reason.Errorf(reason.Malformed, "says that it is about %q, it is about %q", got, want)
	}
	return nil
}

// Use is a version, and for a product a counter, that signatures use up (DESIGN 1.5).
type Use struct {
	Repository metadata.Repository
	Role       string
	Version    int64
	// Counter is 0 unless the role is a product.
	Counter int64
}

// Uses returns what the signatures that count use up, for the server's records. Roots are not among
// them: their version is always the next one.
func (j *Judgement) Uses() []Use {
	var uses []Use
	for i, f := range j.trial.files {
		if f.role == metadata.Root || !j.tally.any(i) {
			continue
		}
		u := Use{Repository: f.repository, Role: f.role, Version: f.version}
		if f.kind == metadata.RoleProduct {
			u.Counter = f.high.Counter
		}
		uses = append(uses, u)
	}
	return uses
}

// Add judges further signatures and approvals, and takes those that count. The outcomes have the
// order of sigs, then approvals. A signature counts only with its person's approval, so both come in
// one call.
func (j *Judgement) Add(sigs []Signature, approvals []statement.Envelope) []Outcome {
	outcomes := j.tally.add(sigs, approvals)
	j.Event.Signatures, j.Event.Approvals = j.tally.taken()
	j.Complete = true
	for i := range j.Files {
		for k := range j.Files[i].Signers {
			s := &j.Files[i].Signers[k]
			s.Tally = s.Delegation.TallyOf(j.tally.valid(i, s.Delegation))
		}
		j.Complete = j.Complete && j.Files[i].Complete()
	}
	return outcomes
}
