package statement

import (
	"encoding/hex"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/proto/strict"
)

// Names in an in-toto Statement.
const (
	// StatementType is in-toto's type of a Statement v1.
	StatementType = "https://in-toto.io/Statement/v1"
	// ApprovalType is the predicate type of an approval.
	ApprovalType = "https://countersign-ota.github.io/approval/v1"
)

// MaxReason bounds the reason that a person gives, in bytes.
const MaxReason = 1024

// Approval is what a person states by signing an event: who, when, why, and for each role file what
// it is and what the signature means (21 CFR 11.50; DESIGN 1.7). It travels as an in-toto Statement
// v1 whose subjects are the signed parts of the role files.
type Approval struct {
	// Person is the id of the person.
	Person string
	// Name is the person's printed name, as the quorum has it; may be empty.
	Name string
	// At is when the person signed by the clock of their machine: whole seconds, UTC.
	At time.Time
	// Reason is what the person said, at most MaxReason bytes; may be empty.
	Reason string
	// Event is the id of the event: SHA-256 of its proposal, 64 hex digits.
	Event string
	// Files are the files that the person signed, in the order of the event, at least one.
	Files []ApprovedFile
}

// ApprovedFile is one signed role file of an approval.
type ApprovedFile struct {
	Repository metadata.Repository
	Role       string
	Version    int64
	// Digest is the SHA-256 of the canonical signed part, 64 hex digits.
	Digest string
	// Class is the person's class in the role, Meaning what a signature of that class means there.
	Class, Meaning string
}

// Name returns the name under which the file is a subject: "image/gw-100/31".
func (f ApprovedFile) Name() string {
	return string(f.Repository) + "/" + f.Role + "/" + strconv.FormatInt(f.Version, 10)
}

// statementJSON is the form on the wire.
type statementJSON struct {
	Type          string        `json:"_type"`
	Subject       []subjectJSON `json:"subject"`
	PredicateType string        `json:"predicateType"`
	Predicate     predicateJSON `json:"predicate"`
}

type subjectJSON struct {
	Name   string     `json:"name"`
	Digest digestJSON `json:"digest"`
}

type digestJSON struct {
	SHA256 string `json:"sha256"`
}

type predicateJSON struct {
	Person string     `json:"person"`
	Name   string     `json:"name"`
	At     string     `json:"at"`
	Reason string     `json:"reason"`
	Event  string     `json:"event"`
	Files  []fileJSON `json:"files"`
}

type fileJSON struct {
	Repository metadata.Repository `json:"repository"`
	Role       string              `json:"role"`
	Version    int64               `json:"version"`
	Class      string              `json:"class"`
	Meaning    string              `json:"meaning"`
}

// Payload returns the approval as a payload for Sign: compact JSON, the same approval gives the same
// bytes.
func (a *Approval) Payload() ([]byte, error) {
	s := statementJSON{Type: StatementType, PredicateType: ApprovalType, Predicate: predicateJSON{
		Person: a.Person, Name: a.Name, At: a.At.UTC().Format(time.RFC3339), Reason: a.Reason, Event: a.Event,
	}}
	for _, f := range a.Files {
		s.Subject = append(s.Subject, subjectJSON{Name: f.Name(), Digest: digestJSON{f.Digest}})
		s.Predicate.Files = append(s.Predicate.Files, fileJSON{f.Repository, f.Role, f.Version, f.Class, f.Meaning})
	}
	canonical, err := metadata.Canonical(s)
	if err != nil {
		return nil, err
	}
	payload, err := metadata.FromCanonical(canonical)
	if err != nil {
		return nil, err
	}
	if _, err := ParseApproval(payload); err != nil {
		return nil, err
	}
	return payload, nil
}

// ParseApproval reads the payload of an approval strictly. It says nothing about who signed it.
func ParseApproval(payload []byte) (*Approval, error) {
	var s statementJSON
	if err := strict.Unmarshal(payload, &s, MaxPayload, "approval"); err != nil {
		return nil, err
	}
	p := s.Predicate
	at, err := time.Parse(time.RFC3339, p.At)
	switch {
	case s.Type != StatementType || s.PredicateType != ApprovalType:
		return nil, reason.Errorf(reason.Malformed, "approval is a %q about %q, wanted %q about %q", s.Type, s.PredicateType, StatementType, ApprovalType)
	case err != nil || at.UTC().Format(time.RFC3339) != p.At:
		return nil, reason.Errorf(reason.Malformed, "approval is of %q, wanted whole seconds as 2006-01-02T15:04:05Z", p.At)
	case len(p.Reason) > MaxReason || !utf8.ValidString(p.Reason):
		return nil, reason.Errorf(reason.Malformed, "approval's reason has %d bytes, wanted at most %d", len(p.Reason), MaxReason)
	case !isDigest(p.Event):
		return nil, reason.Errorf(reason.Malformed, "approval is of event %q, wanted 64 hex digits", p.Event)
	case len(p.Files) == 0 || len(p.Files) != len(s.Subject):
		return nil, reason.Errorf(reason.Malformed, "approval has %d files and %d subjects, wanted the same number above 0", len(p.Files), len(s.Subject))
	}
	if err := metadata.CheckID("person", p.Person); err != nil {
		return nil, reason.Wrap(err, "approval")
	}
	a := &Approval{Person: p.Person, Name: p.Name, At: at.UTC(), Reason: p.Reason, Event: p.Event}
	for i, f := range p.Files {
		file := ApprovedFile{f.Repository, f.Role, f.Version, s.Subject[i].Digest.SHA256, f.Class, f.Meaning}
		if s.Subject[i].Name != file.Name() || !isDigest(file.Digest) {
			return nil, reason.Errorf(reason.Malformed, "approval's subject %d is %q with sha256 %q, wanted %q and 64 hex digits", i, s.Subject[i].Name, file.Digest, file.Name())
		}
		a.Files = append(a.Files, file)
	}
	return a, nil
}

func isDigest(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == 32 && hex.EncodeToString(b) == s
}
