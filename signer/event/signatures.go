package event

import (
	"bytes"
	"slices"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/proto/statement"
)

// signatures holds what counts of one judged event.
type signatures struct {
	j *Judgement
	// by are the signatures that count by file and key id.
	by []map[string]Signature
	// approvals are those that count.
	approvals []approval
}

// approval is one approval that counts.
type approval struct {
	envelope  statement.Envelope
	statement *statement.Approval
	keyid     string
}

// covers reports whether the person approved file i.
func (a approval) covers(f *proposed) bool {
	return slices.ContainsFunc(a.statement.Files, func(s statement.ApprovedFile) bool {
		return s.Repository == f.repository && s.Role == f.role
	})
}

func newSignatures(j *Judgement) *signatures {
	s := &signatures{j: j, by: make([]map[string]Signature, len(j.trial.files))}
	for i := range s.by {
		s.by[i] = map[string]Signature{}
	}
	return s
}

// any reports whether somebody signed file i.
func (s *signatures) any(i int) bool { return len(s.by[i]) > 0 }

// of returns the signatures of file i in TUF's form, sorted by key id.
func (s *signatures) of(i int) []metadata.Signature {
	var sigs []metadata.Signature
	for _, sig := range s.by[i] {
		sigs = append(sigs, metadata.Signature{KeyID: sig.KeyID, Signature: sig.Sig})
	}
	slices.SortFunc(sigs, func(a, b metadata.Signature) int { return bytes.Compare([]byte(a.KeyID), []byte(b.KeyID)) })
	return sigs
}

// valid returns the ids of the delegation's keys whose signature of file i was verified, sorted.
func (s *signatures) valid(i int, d *metadata.Delegation) []string {
	var ids []string
	for _, id := range d.KeyIDs {
		if _, ok := s.by[i][id]; ok {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// taken returns all that counts, in the order of an event.
func (s *signatures) taken() ([]Signature, []statement.Envelope) {
	e := &Event{}
	for _, m := range s.by {
		for _, sig := range m {
			e.Signatures = append(e.Signatures, sig)
		}
	}
	for _, a := range s.approvals {
		e.Approvals = append(e.Approvals, a.envelope)
	}
	e.normalise()
	return e.Signatures, e.Approvals
}

// add judges approvals first, since signatures count only with them. Both are judged in their sorted
// order, so that the same set gives the same result however it came together.
func (s *signatures) add(sigs []Signature, approvals []statement.Envelope) []Outcome {
	outcomes := make([]Outcome, len(sigs)+len(approvals))
	for _, i := range order(approvals, compareApprovals) {
		outcomes[len(sigs)+i] = s.addApproval(approvals[i])
	}
	for _, i := range order(sigs, compareSignatures) {
		outcomes[i] = s.addSignature(sigs[i])
	}
	return outcomes
}

func order[T any](list []T, compare func(a, b T) int) []int {
	index := make([]int, len(list))
	for i := range index {
		index[i] = i
	}
	slices.SortStableFunc(index, func(a, b int) int { return compare(list[a], list[b]) })
	return index
}

func (s *signatures) addSignature(sig Signature) Outcome {
	out := Outcome{File: sig.File, KeyID: sig.KeyID}
	if sig.File < 0 || sig.File >= len(s.by) {
		out.Err = reason.Errorf(reason.Malformed, "a signature is of file %d, there are %d", sig.File, len(s.by))
		return out
	}
	f := s.j.trial.files[sig.File]
	person, key := f.member(sig.KeyID)
	if key == nil {
		out.Err = reason.Errorf(reason.KeyNotInRole, "key %.12s is not in role %s; %s", sig.KeyID, f, f.members())
		return out
	}
	out.Person = person.ID
	if err := metadata.VerifySignature(key, f.signed, sig.Sig); err != nil {
		out.Err = reason.Wrap(err, "signature of %s by key %.12s (%s)", f, sig.KeyID, person.ID)
		return out
	}
	if other, ok := s.by[sig.File][sig.KeyID]; ok {
		if !bytes.Equal(other.Sig, sig.Sig) {
			out.Err = reason.Errorf(reason.KeyTwice, "key %.12s (%s) signed %s already", sig.KeyID, person.ID, f)
		}
		return out
	}
	approved := slices.ContainsFunc(s.approvals, func(a approval) bool { return a.statement.Person == person.ID && a.covers(f) })
	if !approved {
		out.Err = reason.Errorf(reason.ApprovalMissing, "signature of %s by %s comes without an approval of that file", f, person.ID)
		return out
	}
	s.by[sig.File][sig.KeyID] = sig
	return out
}

// member returns the person and key of a key id that may sign the file.
func (p *proposed) member(keyid string) (metadata.Person, *metadata.Key) {
	for _, s := range p.signers {
		if person, ok := s.Delegation.PersonOf(keyid); ok {
			return person, s.Delegation.Keys[keyid]
		}
	}
	return metadata.Person{}, nil
}

// members names the people of the file, for an error text.
func (p *proposed) members() string {
	var names []string
	for _, s := range p.signers {
		for _, person := range s.Delegation.Quorum.People {
			names = append(names, person.ID)
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) == 1 {
		return names[0] + " is"
	}
	return enumerate(names, "and") + " are"
}

// enumerate joins names as people write them.
func enumerate(names []string, word string) string {
	switch len(names) {
	case 0:
		return "nobody"
	case 1:
		return names[0]
	}
	out := names[0]
	for _, n := range names[1 : len(names)-1] {
		out += ", " + n
	}
	return out + " " + word + " " + names[len(names)-1]
}
