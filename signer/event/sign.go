package event

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/sigstore/sigstore/pkg/signature"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/proto/statement"
)

// SignOptions are what a person says while signing.
type SignOptions struct {
	// Reason goes into the approval, at most statement.MaxReason bytes.
	Reason string
	// Now is the time by the clock of this machine.
	Now time.Time
	// Memory refuses a second content for one version; may be nil.
	Memory Memory
	// ReplaceRoot allows to sign another content for a root version that was signed here before. Set
	// it only after the person has seen both (DESIGN 1.5).
	ReplaceRoot bool
}

// Signing is what a person's keys can do in an event: made by MaySign, before any question is asked.
type Signing struct {
	// Person has the name of the quorum; Class and KeyID are those of the first file.
	Person metadata.Person
	// Files are the indices of the files that the keys may sign, in order.
	Files []int
	// ReplacesRoot says that this machine signed another content for a root version of the event.
	ReplacesRoot bool

	keys []*metadata.Key
}

// KeyIDs returns the ids of the keys that will sign, sorted.
func (s *Signing) KeyIDs() []string {
	var ids []string
	for _, k := range s.keys {
		// It was recomputed when the delegation that names it was parsed.
		id, err := metadata.KeyID(k)
		if err == nil && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// MaySign finds out which files of the event a person may sign, from the public halves of the keys
// alone: the keys may still be locked. Reasons: key-not-in-role, key-twice (all is signed already).
func (j *Judgement) MaySign(public map[metadata.Repository]*metadata.Key, m Memory) (*Signing, error) {
	s := &Signing{}
	signed := false
	touched := map[metadata.Repository]*metadata.Key{}
	for i, f := range j.trial.files {
		touched[f.repository] = public[f.repository]
		key := public[f.repository]
		if key == nil {
			continue
		}
		id, err := metadata.KeyID(key)
		if err != nil {
			return nil, err
		}
		person, own := f.member(id)
		if own == nil {
			continue
		}
		if s.Person.ID != "" && s.Person.ID != person.ID {
			return nil, reason.Errorf(reason.KeyTwice, "the keys belong to %s and %s", s.Person.ID, person.ID)
		}
		if s.Person.ID == "" {
			s.Person = person
		}
		if _, ok := j.tally.by[i][id]; ok {
			signed = true
			continue
		}
		other, err := signedOther(m, f)
		if err != nil {
			return nil, err
		}
		s.ReplacesRoot = s.ReplacesRoot || other
		s.Files, s.keys = append(s.Files, i), append(s.keys, own)
	}
	switch {
	case signed:
		return nil, reason.Errorf(reason.KeyTwice, "%s signed event %.12s already", s.Person.ID, j.id).
			WithHint("countersign event show %.4s says who still can", j.id)
	case len(s.Files) == 0:
		return nil, reason.Errorf(reason.KeyNotInRole, "%s not in %s; %s", publicNames(touched), j.roleNames(), j.trial.files[0].members()).
			WithHint("countersign key show lists your roles")
	}
	return s, nil
}

// signedOther looks for another content that was signed here under the same version (DESIGN 1.5): an
// error for all roles but root, where the person must be shown both.
func signedOther(m Memory, f *proposed) (bool, error) {
	if m == nil {
		return false, nil
	}
	digest, ok := m.Signed(f.repository, f.role, f.version)
	if !ok || digest == f.digest {
		return false, nil
	}
	if f.role == metadata.Root {
		return true, nil
	}
	return false, reason.Errorf(reason.VersionUsed, "%s version %d was signed here before with other content: %.12x, this is %.12x", f, f.version, digest, f.digest).
		WithHint("no version has two contents: have it opened anew, with the next version")
}

// publicNames names the keys that might have signed: those of the repositories that the event touches.
func publicNames(public map[metadata.Repository]*metadata.Key) string {
	var names []string
	for _, r := range slices.Sorted(maps.Keys(public)) {
		if id, err := metadata.KeyID(public[r]); err == nil {
			names = append(names, id[:12])
		}
	}
	switch len(names) {
	case 0:
		return "a person without keys is"
	case 1:
		return "key " + names[0] + " is"
	}
	return "keys " + enumerate(names, "and") + " are"
}

// roleNames names the roles of the event, the first few of many.
func (j *Judgement) roleNames() string {
	const few = 4
	var names []string
	for i, f := range j.trial.files {
		if i == few {
			names = append(names, strconv.Itoa(len(j.trial.files)-few)+" more")
			break
		}
		names = append(names, f.String())
	}
	if len(names) == 1 {
		return "role " + names[0]
	}
	return "roles " + enumerate(names, "and")
}

// Sign signs every file of the judged event that the person's keys may sign, and makes the approval.
// It verifies what it made. It changes neither j nor its event: give the result to Judgement.Add, and
// record it in the History before it leaves the machine. Reasons: those of MaySign, version-used, and
// the signer's own.
func Sign(j *Judgement, keys map[metadata.Repository]signature.Signer, o SignOptions) ([]Signature, *statement.Envelope, error) {
	public := map[metadata.Repository]*metadata.Key{}
	for _, r := range slices.Sorted(maps.Keys(keys)) {
		pub, err := keys[r].PublicKey()
		if err != nil {
			return nil, nil, reason.Wrap(err, "public key for the %s repository", r)
		}
		if public[r], err = metadata.NewKey(pub); err != nil {
			return nil, nil, err
		}
	}
	s, err := j.MaySign(public, o.Memory)
	if err != nil {
		return nil, nil, err
	}
	if s.ReplacesRoot && !o.ReplaceRoot {
		return nil, nil, reason.Errorf(reason.VersionUsed, "another root of this version was signed here before; look at both").
			WithHint("countersign sign --expect with the full id of the one that shall count")
	}
	approval := &statement.Approval{Person: s.Person.ID, Name: s.Person.Name, At: o.Now.UTC().Truncate(time.Second), Reason: o.Reason, Event: j.id}
	var sigs []Signature
	var by signature.Signer
	for n, i := range s.Files {
		f := j.trial.files[i]
		sig, err := metadata.Sign(f.signed, keys[f.repository], s.keys[n])
		if err != nil {
			return nil, nil, reason.Wrap(err, "%s", f)
		}
		sigs = append(sigs, Signature{File: i, KeyID: sig.KeyID, Sig: sig.Signature})
		approval.Files = append(approval.Files, j.approvedFile(f, sig.KeyID))
		// The image key signs the approval, the director's only where it signs alone.
		if by == nil || f.repository == metadata.Image {
			by = keys[f.repository]
		}
	}
	payload, err := approval.Payload()
	if err != nil {
		return nil, nil, err
	}
	envelope, err := statement.Sign(statement.KindApproval, payload, by)
	if err != nil {
		return nil, nil, reason.Wrap(err, "approval")
	}
	return sigs, envelope, nil
}

// approvedFile says what the signature of that key means for a file.
func (j *Judgement) approvedFile(f *proposed, keyid string) statement.ApprovedFile {
	a := statement.ApprovedFile{Repository: f.repository, Role: f.role, Version: f.version, Digest: hexOf(f.digest)}
	for _, s := range f.signers {
		if p, ok := s.Delegation.PersonOf(keyid); ok {
			a.Class, a.Meaning = p.Class, s.Delegation.Quorum.Meaning[p.Class]
		}
	}
	return a
}
