// Package event is the signing event (DESIGN 3): one proposal to change signed metadata, frozen when
// it is opened, together with the base that it builds on and the signatures of the people.
//
// One judgement serves review, signing, import, opening and publication, on the signer's machine and
// on the server:
//
//	e, err := event.Parse(data)                  // strict, bounded; nothing is verified
//	s, err := event.StateFromBase(e, pins)       // tool: the base, verified from the pinned roots
//	s, err := event.StateOf(source, deployment)  // server: what is published
//	j, err := event.Judge(e, s, event.Options{Now: now, Memory: history})
//	r := j.Review()                              // what a person must see before signing
//	sigs, approval, err := event.Sign(j, …)
//	err = j.Publishable()                        // nil, or quorum-open with who still can
//
// NewInit, NewChange and NewRelease open events from a plan or a release spec. Files are added by
// kind in kinds.go: a kind says which files an event may hold, all other rules hang on the files.
//
// An event is not a secret and proves nothing by itself: what counts is the judgement against a base
// that the reader verified. The package reads no clock and no network, and no disk except where a
// path is given to it.
package event

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/statement"
)

// MaxSize bounds an event file in bytes.
const MaxSize = 64 << 20

// MaxReason bounds the reason of a proposal in bytes.
const MaxReason = 1000

// Kinds of events.
const (
	// Init founds a deployment: both roots, image targets, and version 1 of each product of the plan.
	Init = "init"
	// Root changes keys, people or quorum of a root, and all that must be signed anew with it.
	Root = "root"
	// Product adds products, or changes people, keys or quorum of some.
	Product = "product"
	// Release adds the targets of one release of one product.
	Release = "release"
	// Withdraw takes the targets of one release out of its product: they can no longer be installed.
	Withdraw = "withdraw"
	// Stop adds entries to the stop list of one product (DESIGN 1.8).
	Stop = "stop"
	// Refresh signs the same content with a later expiry.
	Refresh = "refresh"
)

// Event is a signing event. One that was parsed is well-formed and not yet judged. It is not safe for
// concurrent changes.
type Event struct {
	Proposal Proposal
	// Base are the role files that a signer without network verifies against, ordered by repository,
	// role and version. They do not count for the id, and the server ignores them.
	Base []BaseFile
	// Signatures are ordered by file and key id.
	Signatures []Signature
	// Approvals are DSSE envelopes of kind approval, ordered by their bytes.
	Approvals []statement.Envelope
}

// Proposal is the frozen part: a changed one is another event.
type Proposal struct {
	Deployment string
	// Kind is one of the constants above.
	Kind string
	// Subject says what it is about, such as "gw-100/2.4.1". It follows from the files; a proposal
	// that says otherwise is refused.
	Subject string
	// Reason says in words why a release is withdrawn, 1 to MaxReason bytes in one line; empty for every
	// other kind.
	Reason string
	// Files are ordered by repository and role.
	Files []ProposedFile
	// Blobs are all targets and evidence files that the event makes public, ordered by path.
	Blobs []Blob
}

// ProposedFile is the new content of one role.
type ProposedFile struct {
	Repository metadata.Repository
	Role       string
	// Base is what the content was made from; nil for a role that does not exist yet.
	Base *BaseRef
	// Signed is the signed part in canonical JSON, as signatures cover it. It need not be JSON; see
	// metadata.FromCanonical.
	Signed []byte
}

// Digest returns the SHA-256 of the signed part: the name of this content.
func (f ProposedFile) Digest() [32]byte { return sha256.Sum256(f.Signed) }

// BaseRef names a published file by version and by the SHA-256 of its canonical signed part (hex).
type BaseRef struct {
	Version int64
	SHA256  string
}

// Blob describes a target or evidence file; its bytes do not travel in the event.
type Blob struct {
	// Path is `<product>/<version>/<file>`.
	Path   string
	Length int64
	// SHA256 is in hex.
	SHA256 string
}

// BaseFile is a published role file, byte for byte.
type BaseFile struct {
	Repository metadata.Repository
	Role       string
	File       []byte
}

// Signature is one signature over the signed part of a proposed file.
type Signature struct {
	// File is the index of the file in the proposal.
	File  int
	KeyID string
	Sig   tuf.HexBytes
}

// ID returns the id of the event: SHA-256 of the canonical JSON of the proposal, in hex.
func (e *Event) ID() string {
	sum := sha256.Sum256(e.Proposal.canonical())
	return hex.EncodeToString(sum[:])
}

// Index returns the index of a role among the proposed files, or -1.
func (p *Proposal) Index(r metadata.Repository, role string) int {
	return slices.IndexFunc(p.Files, func(f ProposedFile) bool { return f.Repository == r && f.Role == role })
}
