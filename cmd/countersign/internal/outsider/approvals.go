package outsider

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/countersign-ota/countersign/agent/trust"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/proto/statement"
)

// maxApprovals bounds the approvals of one event, as the server does.
const maxApprovals = 64

// subject is a verified role file, and the delegations under which people signed it: one, or two for a
// root with a predecessor.
type subject struct {
	role        string
	version     int64
	digest      [32]byte
	delegations []*metadata.Delegation
	// signed are the ids of the keys whose signatures of it are valid.
	signed []string
	// orphan is a root whose predecessor is not at hand. People of that one signed it too, perhaps with
	// another key.
	orphan bool
}

func (s *subject) String() string { return fmt.Sprintf("%s version %d", s.role, s.version) }

// approval is one that is authentic, and the key that signed it.
type approval struct {
	keyid string
	*statement.Approval
	// file is what it says of the subject.
	file statement.ApprovedFile
}

// judgment says of an approval whether it counts: nil when it is passed over. The envelope is not verified.
type judgment func(*statement.Envelope, *statement.Approval) (*approval, error)

// keptFor reads the approvals that a repository keeps for a role file, and judges each. Without such a
// file it returns none. One that is not what it claims is an error of subject.judge: a repository that
// forges words of people is not to be believed in anything else it says about them.
func keptFor(ctx context.Context, source Source, s *subject, judge judgment) ([]approval, error) {
	path := fmt.Sprintf("approvals/%d.%s.jsonl", s.version, s.role)
	r, err := source.Open(ctx, path)
	if errors.Is(err, trust.ErrNotFound) || errors.Is(err, ErrNotGiven) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	approvals, err := readApprovals(r, judge)
	return approvals, reason.Wrap(err, "%s", path)
}

// readApprovals reads envelopes, one a line, and returns those that count. All must be of one event. Those
// of other files of that event are signed by keys that the subject's delegations do not name; they are
// not looked at. Reasons: malformed, too-large, those of strict JSON, and those of judge.
func readApprovals(r io.Reader, judge judgment) ([]approval, error) {
	lines := bufio.NewReaderSize(r, 64<<10)
	var approvals []approval
	event := ""
	for n := 1; ; n++ {
		line, err := readLine(lines)
		if errors.Is(err, io.EOF) {
			return approvals, nil
		}
		if err == nil && n > maxApprovals {
			err = reason.Errorf(reason.TooLarge, "more than %d approvals", maxApprovals)
		}
		if err != nil {
			return nil, err
		}
		e, err := statement.ParseEnvelope(line)
		if err != nil {
			return nil, reason.Wrap(err, "line %d", n)
		}
		// The payload is read before it is verified only to learn whose keys to try.
		claim, err := statement.ParseApproval(e.Payload)
		if err != nil {
			return nil, reason.Wrap(err, "line %d", n)
		}
		if event == "" {
			event = claim.Event
		}
		if claim.Event != event {
			return nil, reason.Errorf(reason.Malformed, "line %d is of event %.12s, line 1 of %.12s: want those of one event", n, claim.Event, event)
		}
		a, err := judge(e, claim)
		if err != nil {
			return nil, reason.Wrap(err, "line %d", n)
		}
		if a == nil {
			continue
		}
		if slices.ContainsFunc(approvals, func(other approval) bool { return other.keyid == a.keyid }) {
			return nil, reason.Errorf(reason.Malformed, "line %d: %s approves a second time with key %.12s", n, a.Person, a.keyid)
		}
		approvals = append(approvals, *a)
	}
}

// readLine reads a line of at most statement.MaxEnvelope bytes, which ends with a newline; io.EOF when
// nothing is left.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > statement.MaxEnvelope+1:
			return nil, reason.Errorf(reason.TooLarge, "a line has more than %d bytes", statement.MaxEnvelope)
		case err == nil:
			return bytes.TrimSuffix(line, []byte("\n")), nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && len(line) > 0:
			return nil, reason.Errorf(reason.Malformed, "it is cut off in mid-line")
		default:
			return nil, err
		}
	}
}

// approvedIn returns what an approval says of the role, of whatever version; nil if nothing.
func (s *subject) approvedIn(claim *statement.Approval) *statement.ApprovedFile {
	at := slices.IndexFunc(claim.Files, func(f statement.ApprovedFile) bool {
		return f.Repository == metadata.Image && f.Role == s.role
	})
	if at < 0 {
		return nil
	}
	return &claim.Files[at]
}

// judge verifies an approval that is about the subject: it is of these bytes, and signed with a key with
// which its person signed them. It returns nil for one of other files, and for one of somebody whose
// signature does not count now: who has left the role since, or has another key, approved rightly then,
// and nobody can tell any more. What the person said of their name, class and meaning is theirs: the
// delegation may say it otherwise by now.
func (s *subject) judge(e *statement.Envelope, claim *statement.Approval) (*approval, error) {
	file := s.approvedIn(claim)
	if file == nil {
		return nil, nil
	}
	switch {
	case file.Version != s.version:
		return nil, reason.Errorf(reason.Malformed, "%s approves %s version %d, this is version %d", claim.Person, s.role, file.Version, s.version)
	case file.Digest != hex.EncodeToString(s.digest[:]):
		return nil, reason.Errorf(reason.HashMismatch, "%s approves another %s: sha256 %s, this is %x", claim.Person, s, file.Digest, s.digest)
	}
	var err error
	for _, d := range s.delegations {
		for _, p := range d.Quorum.People {
			if p.ID != claim.Person || !slices.Contains(s.signed, p.KeyID) {
				continue
			}
			if _, err = e.Verify(statement.KindApproval, d.Keys[p.KeyID]); err == nil {
				return &approval{p.KeyID, claim, *file}, nil
			}
		}
	}
	if s.orphan {
		return nil, nil
	}
	return nil, reason.Wrap(err, "approval of %s", claim.Person)
}
