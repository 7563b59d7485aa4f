package event

import (
	"time"

	"github.com/sigstore/sigstore/pkg/signature"

	"github.com/countersign-ota/countersign/proto/metadata"
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

// Person returns who holds the keys, by the delegations of the event; key-not-in-role when nobody.
func (j *Judgement) Person(keys map[metadata.Repository]signature.Signer) (metadata.Person, error) {
	panic("event: being written")
}

// Sign signs every file of the judged event that the person's keys may sign, and makes the approval.
// It verifies what it made. It changes neither j nor its event: give the result to Judgement.Add.
// Reasons: key-not-in-role, key-twice (signed already), version-used, and the signer's own.
func Sign(j *Judgement, keys map[metadata.Repository]signature.Signer, o SignOptions) ([]Signature, *statement.Envelope, error) {
	panic("event: being written")
}
