package event

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/proto/statement"
	"github.com/countersign-ota/countersign/proto/strict"
)

// formatVersion is the value of countersign_event. It rises only when older readers must refuse.
const formatVersion = 1

// Bounds of an event's parts, beside MaxSize.
const (
	// maxFiles is both roots, targets, 64 products with their stop lists, and all bins.
	maxFiles = 3 + 2*metadata.MaxProducts + metadata.MaxBins
	// maxBlobs is above what one targets file can name.
	maxBlobs = 4096
	// maxApprovals leaves each of the people of a role several, as unjudged copies may bring.
	maxApprovals = 4 * metadata.MaxKeys
)

// The form on disk and wire. Signed and File keep the bytes that they had.
type eventJSON struct {
	Version    int                  `json:"countersign_event"`
	Proposal   proposalJSON         `json:"proposal"`
	Base       []baseJSON           `json:"base"`
	Signatures []signatureJSON      `json:"signatures"`
	Approvals  []statement.Envelope `json:"approvals"`
}

type proposalJSON struct {
	Deployment string     `json:"deployment"`
	Kind       string     `json:"kind"`
	Subject    string     `json:"subject"`
	Reason     *string    `json:"reason,omitempty"`
	Files      []fileJSON `json:"files"`
	Blobs      []blobJSON `json:"blobs"`
}

type fileJSON struct {
	Repository metadata.Repository `json:"repository"`
	Role       string              `json:"role"`
	Base       *baseRefJSON        `json:"base,omitempty"`
	Signed     json.RawMessage     `json:"signed"`
}

type baseRefJSON struct {
	Version int64  `json:"version"`
	SHA256  string `json:"sha256"`
}

type blobJSON struct {
	Path   string `json:"path"`
	Length int64  `json:"length"`
	SHA256 string `json:"sha256"`
}

type baseJSON struct {
	Repository metadata.Repository `json:"repository"`
	Role       string              `json:"role"`
	File       json.RawMessage     `json:"file"`
}

type signatureJSON struct {
	File  int          `json:"file"`
	KeyID string       `json:"keyid"`
	Sig   tuf.HexBytes `json:"sig"`
}

// Parse reads an event file strictly. What it returns is well formed and in the one form that Bytes
// writes: signatures and approvals sorted, one that stands twice once. Nothing is verified, and the
// role files in it are JSON and no more. Reasons: malformed, and those of strict.Unmarshal.
func Parse(data []byte) (*Event, error) {
	var w eventJSON
	if err := strict.Unmarshal(data, &w, MaxSize, "event"); err != nil {
		return nil, err
	}
	if w.Version != formatVersion {
		return nil, reason.Errorf(reason.Malformed, "event has format %d, this program reads %d", w.Version, formatVersion)
	}
	e := &Event{Proposal: Proposal{Deployment: w.Proposal.Deployment, Kind: w.Proposal.Kind, Subject: w.Proposal.Subject}}
	if why := w.Proposal.Reason; why != nil {
		if *why == "" {
			return nil, reason.Errorf(reason.Malformed, "event: an empty reason")
		}
		e.Proposal.Reason = *why
	}
	for _, f := range w.Proposal.Files {
		signed, err := metadata.Canonical(f.Signed)
		if err != nil {
			return nil, reason.Wrap(err, "event: %s %q", f.Repository, f.Role)
		}
		e.Proposal.Files = append(e.Proposal.Files, ProposedFile{f.Repository, f.Role, (*BaseRef)(f.Base), signed})
	}
	for _, b := range w.Proposal.Blobs {
		e.Proposal.Blobs = append(e.Proposal.Blobs, Blob(b))
	}
	for _, b := range w.Base {
		e.Base = append(e.Base, BaseFile{b.Repository, b.Role, b.File})
	}
	for _, s := range w.Signatures {
		e.Signatures = append(e.Signatures, Signature(s))
	}
	e.Approvals = w.Approvals
	if err := e.check(); err != nil {
		return nil, reason.Wrap(err, "event")
	}
	e.normalise()
	return e, nil
}

// check makes sure that the event is well formed.
func (e *Event) check() error {
	p := &e.Proposal
	if err := metadata.CheckID("deployment", p.Deployment); err != nil {
		return err
	}
	if err := checkReason(p.Reason, MaxReason); p.Reason != "" && err != nil {
		return err
	}
	if len(p.Files) == 0 || len(p.Files) > maxFiles || len(p.Blobs) > maxBlobs {
		return reason.Errorf(reason.Malformed, "%d files and %d blobs, wanted 1 to %d and at most %d", len(p.Files), len(p.Blobs), maxFiles, maxBlobs)
	}
	for i, f := range p.Files {
		if i > 0 && compareFiles(p.Files[i-1], f) >= 0 {
			return reason.Errorf(reason.Malformed, "file %d, %s %q, is not in the order of repository and role", i, f.Repository, f.Role)
		}
		if err := f.check(); err != nil {
			return reason.Wrap(err, "%s %q", f.Repository, f.Role)
		}
	}
	for i, b := range p.Blobs {
		if i > 0 && p.Blobs[i-1].Path >= b.Path {
			return reason.Errorf(reason.Malformed, "blob %q is not in the order of paths", b.Path)
		}
		if err := b.check(); err != nil {
			return reason.Wrap(err, "blob")
		}
	}
	for _, b := range e.Base {
		if err := checkRole(b.Repository, b.Role); err != nil {
			return reason.Wrap(err, "base")
		}
	}
	if most := metadata.MaxSignatures * len(p.Files); len(e.Signatures) > most || len(e.Approvals) > maxApprovals {
		return reason.Errorf(reason.TooManySignatures, "%d signatures and %d approvals, wanted at most %d and %d", len(e.Signatures), len(e.Approvals), most, maxApprovals)
	}
	for _, s := range e.Signatures {
		if s.File < 0 || s.File >= len(p.Files) {
			return reason.Errorf(reason.Malformed, "a signature is of file %d, there are %d", s.File, len(p.Files))
		}
		if !isDigest(s.KeyID) || len(s.Sig) == 0 || len(s.Sig) > maxSig {
			return reason.Errorf(reason.Malformed, "a signature of file %d has key id %q and %d bytes, wanted 64 hex digits and 1 to %d", s.File, s.KeyID, len(s.Sig), maxSig)
		}
	}
	for i := range e.Approvals {
		if err := e.Approvals[i].Check(); err != nil {
			return err
		}
	}
	return nil
}

// checkReason takes a reason in words: 1 to most bytes of UTF-8 without control characters.
func checkReason(why string, most int) error {
	if why == "" || len(why) > most || !utf8.ValidString(why) || strings.ContainsFunc(why, unicode.IsControl) {
		return reason.Errorf(reason.Malformed, "reason %.40q: wanted 1 to %d bytes of text in one line", why, most)
	}
	return nil
}

// maxSig bounds a signature in bytes; an ECDSA one over P-256 has at most 72.
const maxSig = 128

func (f ProposedFile) check() error {
	if err := checkRole(f.Repository, f.Role); err != nil {
		return err
	}
	if f.Base != nil && (f.Base.Version < 1 || f.Base.Version > metadata.MaxVersion || !isDigest(f.Base.SHA256)) {
		return reason.Errorf(reason.Malformed, "base is version %d with sha256 %q", f.Base.Version, f.Base.SHA256)
	}
	// What it holds is for Judge, which parses it as a role file.
	if len(f.Signed) == 0 || f.Signed[0] != '{' {
		return reason.Errorf(reason.Malformed, "its signed part is no object")
	}
	return nil
}

// checkRole takes the roles that people sign: the director's root, and all of the image repository but
// snapshot and timestamp.
func checkRole(r metadata.Repository, role string) error {
	if r != metadata.Image && r != metadata.Director {
		return reason.Errorf(reason.Malformed, "repository %q, wanted image or director", r)
	}
	if role == metadata.Snapshot || role == metadata.Timestamp || (r == metadata.Director && role != metadata.Root) {
		return reason.Errorf(reason.Malformed, "%s %q is no role that people sign", r, role)
	}
	_, _, err := metadata.SplitRole(role)
	return err
}

func (b Blob) check() error {
	if _, err := metadata.ParseTargetPath(b.Path); err != nil {
		return err
	}
	if b.Length < 1 || b.Length > metadata.MaxImage || !isDigest(b.SHA256) {
		return reason.Errorf(reason.Malformed, "%q has %d bytes and sha256 %q, wanted 1 to %d and 64 hex digits", b.Path, b.Length, b.SHA256, int64(metadata.MaxImage))
	}
	return nil
}

// normalise sorts signatures and approvals and drops repetitions.
func (e *Event) normalise() {
	slices.SortFunc(e.Signatures, compareSignatures)
	e.Signatures = slices.CompactFunc(e.Signatures, func(a, b Signature) bool { return compareSignatures(a, b) == 0 })
	slices.SortFunc(e.Approvals, compareApprovals)
	e.Approvals = slices.CompactFunc(e.Approvals, func(a, b statement.Envelope) bool { return compareApprovals(a, b) == 0 })
}

func compareFiles(a, b ProposedFile) int {
	// director before image, as the names sort.
	return cmp.Or(cmp.Compare(a.Repository, b.Repository), cmp.Compare(a.Role, b.Role))
}

func compareSignatures(a, b Signature) int {
	return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.KeyID, b.KeyID), bytes.Compare(a.Sig, b.Sig))
}

func compareApprovals(a, b statement.Envelope) int {
	c := cmp.Or(cmp.Compare(a.PayloadType, b.PayloadType), bytes.Compare(a.Payload, b.Payload))
	if c != 0 || len(a.Signatures) != 1 || len(b.Signatures) != 1 {
		return c
	}
	return bytes.Compare(a.Signatures[0].Sig, b.Signatures[0].Sig)
}

// isDigest reports whether s is a SHA-256 in lower-case hex.
func isDigest(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == 32 && hex.EncodeToString(b) == s
}
