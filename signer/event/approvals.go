package event

import (
	"slices"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/proto/statement"
)

// addApproval judges one approval (DESIGN 1.7): signed with a key that the person has in the event, of
// this event, and saying of each file what the signed delegation says of it. A person gives one; only
// who signs with two keys, as while one is replaced, gives one with each.
func (s *signatures) addApproval(e statement.Envelope) Outcome {
	out := Outcome{File: -1}
	// The payload is read before it is verified only to learn whose keys to try.
	claim, err := statement.ParseApproval(e.Payload)
	if err != nil {
		out.Err = err
		return out
	}
	out.Person = claim.Person
	if claim.Event != s.j.id {
		out.Err = reason.Errorf(reason.Malformed, "approval of %s is of event %.12s", claim.Person, claim.Event)
		return out
	}
	if out.KeyID, out.Err = s.approver(e, claim); out.Err != nil {
		return out
	}
	if !slices.Contains(s.j.namesOf(claim.Person), claim.Name) {
		out.Err = reason.Errorf(reason.Malformed, "approval of %s gives the name %q, the quorum has %q", claim.Person, claim.Name, s.j.namesOf(claim.Person))
		return out
	}
	for _, f := range claim.Files {
		if out.Err = s.approved(claim, f); out.Err != nil {
			return out
		}
	}
	for _, a := range s.approvals {
		if a.keyid != out.KeyID {
			continue
		}
		if compareApprovals(a.envelope, e) != 0 {
			out.Err = reason.Errorf(reason.KeyTwice, "%s approved event %.12s already with key %.12s", claim.Person, s.j.id, out.KeyID)
		}
		return out
	}
	s.approvals = append(s.approvals, approval{e, claim, out.KeyID})
	return out
}

// approver returns the id of the key that signed the approval. Which keys are tried follows from the
// signed delegations, not from the envelope.
func (s *signatures) approver(e statement.Envelope, claim *statement.Approval) (string, error) {
	keys := s.j.keysOf(claim.Person)
	if len(keys) == 0 {
		return "", reason.Errorf(reason.KeyNotInRole, "%s may sign nothing in event %.12s", claim.Person, s.j.id)
	}
	var err error
	for _, k := range keys {
		if _, err = e.Verify(statement.KindApproval, k.key); err == nil {
			return k.id, nil
		}
	}
	return "", reason.Wrap(err, "approval of %s", claim.Person)
}

// namesOf returns the printed names that the quorums of the event have for a person: one, unless the
// event changes it.
func (j *Judgement) namesOf(person string) []string {
	var names []string
	for _, f := range j.trial.files {
		for _, s := range f.signers {
			for _, p := range s.Delegation.Quorum.People {
				if p.ID == person && !slices.Contains(names, p.Name) {
					names = append(names, p.Name)
				}
			}
		}
	}
	return names
}

// personKey is a key of a person in an event.
type personKey struct {
	id  string
	key *metadata.Key
}

// keysOf returns the keys of a person in the event, sorted by id.
func (j *Judgement) keysOf(person string) []personKey {
	var keys []personKey
	for _, f := range j.trial.files {
		for _, s := range f.signers {
			for _, p := range s.Delegation.Quorum.People {
				if p.ID == person {
					keys = append(keys, personKey{p.KeyID, s.Delegation.Keys[p.KeyID]})
				}
			}
		}
	}
	slices.SortFunc(keys, func(a, b personKey) int {
		if a.id < b.id {
			return -1
		}
		if a.id > b.id {
			return 1
		}
		return 0
	})
	return slices.CompactFunc(keys, func(a, b personKey) bool { return a.id == b.id })
}

// approved compares what an approval says of a file with the file and its delegations.
func (s *signatures) approved(claim *statement.Approval, f statement.ApprovedFile) error {
	p := s.j.trial.find(f.Repository, f.Role)
	if p == nil || p.version != f.Version || hexOf(p.digest) != f.Digest {
		return reason.Errorf(reason.Malformed, "approval of %s is of %s, which is not in event %.12s", claim.Person, f.Name(), s.j.id)
	}
	for _, signers := range p.signers {
		q := signers.Delegation.Quorum
		for _, person := range q.People {
			if person.ID == claim.Person && person.Class == f.Class && q.Meaning[f.Class] == f.Meaning {
				return nil
			}
		}
	}
	return reason.Errorf(reason.Malformed, "approval of %s signs %s as %q, %q, which is not what the quorum says", claim.Person, f.Name(), f.Class, f.Meaning)
}
