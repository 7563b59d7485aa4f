// Package statement holds what is signed outside TUF (DESIGN 1.7): DSSE envelopes with exactly one
// signature, whose payload type is application/vnd.countersign.<kind>.v1+json.
//
// The verifier chooses the key and the kind. An envelope carries neither a key id nor a choice of
// algorithm, so it cannot steer either. Start with Sign and Envelope.Verify; Approval is what a person
// states beside the signatures of a signing event. Whether the time, the sequence or the subject of a
// statement is plausible is for the caller to judge.
package statement

import (
	"bytes"
	"crypto"
	"strconv"

	"github.com/sigstore/sigstore/pkg/signature"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/proto/strict"
)

// Kind says what a statement states.
type Kind string

// KindApproval is a person's approval of an event.
const KindApproval Kind = "approval"

// Bounds of an envelope, in bytes.
const (
	// MaxPayload bounds the payload.
	MaxPayload = 512 << 10
	// MaxEnvelope bounds the envelope as JSON; base64 makes 4 bytes of 3.
	MaxEnvelope = MaxPayload/3*4 + 4096
	// maxSignature bounds the signature; a P-256 signature has at most 72.
	maxSignature = 256
)

// PayloadType returns the payload type of a kind.
func PayloadType(k Kind) string { return "application/vnd.countersign." + string(k) + ".v1+json" }

// Envelope is a DSSE envelope with one signature. One that was parsed is not verified.
type Envelope struct {
	PayloadType string      `json:"payloadType"`
	Payload     []byte      `json:"payload"`
	Signatures  []Signature `json:"signatures"`
}

// Signature is the signature of an envelope. DSSE's optional keyid is refused: see the package comment.
type Signature struct {
	Sig []byte `json:"sig"`
}

// ParseEnvelope reads an envelope of at most MaxEnvelope bytes strictly. The kind is not judged.
func ParseEnvelope(data []byte) (*Envelope, error) {
	var e Envelope
	if err := strict.Unmarshal(data, &e, MaxEnvelope, "statement"); err != nil {
		return nil, err
	}
	if err := e.Check(); err != nil {
		return nil, err
	}
	return &e, nil
}

// Check makes sure that the envelope has one signature and a payload, both within their bounds.
func (e *Envelope) Check() error {
	switch {
	case len(e.Signatures) != 1:
		return reason.Errorf(reason.TooManySignatures, "statement has %d signatures, wanted 1", len(e.Signatures))
	case len(e.Signatures[0].Sig) == 0 || len(e.Signatures[0].Sig) > maxSignature:
		return reason.Errorf(reason.Malformed, "statement's signature has %d bytes, wanted 1 to %d", len(e.Signatures[0].Sig), maxSignature)
	case len(e.Payload) == 0:
		return reason.Errorf(reason.Malformed, "statement has no payload")
	case len(e.Payload) > MaxPayload:
		return reason.Errorf(reason.TooLarge, "statement's payload has more than %d bytes", MaxPayload)
	}
	return nil
}

// Bytes returns the envelope as compact JSON; the same envelope gives the same bytes. Canonical JSON
// would not do: it is no JSON once a string holds a newline (DESIGN 1.4).
func (e *Envelope) Bytes() ([]byte, error) {
	canonical, err := metadata.Canonical(e)
	if err != nil {
		return nil, err
	}
	return metadata.FromCanonical(canonical)
}

// PAE returns DSSE's pre-authentication encoding, which is what the signature covers:
//
//	"DSSEv1" SP LEN(type) SP type SP LEN(payload) SP payload     LEN in decimal ASCII, in bytes
func PAE(payloadType string, payload []byte) []byte {
	b := make([]byte, 0, len(payloadType)+len(payload)+48)
	b = append(b, "DSSEv1 "...)
	b = strconv.AppendInt(b, int64(len(payloadType)), 10)
	b = append(b, ' ')
	b = append(b, payloadType...)
	b = append(b, ' ')
	b = strconv.AppendInt(b, int64(len(payload)), 10)
	b = append(b, ' ')
	return append(b, payload...)
}

// Sign signs payload as a statement of kind k and verifies the result with the signer's public key
// before it is returned, so that a broken token is found here and not by the reader.
func Sign(k Kind, payload []byte, s signature.Signer) (*Envelope, error) {
	pub, err := s.PublicKey()
	if err != nil {
		return nil, reason.Wrap(err, "public key of the signer")
	}
	key, err := metadata.NewKey(pub)
	if err != nil {
		return nil, err
	}
	sig, err := s.SignMessage(bytes.NewReader(PAE(PayloadType(k), payload)))
	if err != nil {
		return nil, reason.Wrap(err, "sign statement of kind %q", k)
	}
	e := &Envelope{PayloadType: PayloadType(k), Payload: payload, Signatures: []Signature{{Sig: sig}}}
	if _, err := e.Verify(k, key); err != nil {
		return nil, err
	}
	return e, nil
}

// Verify makes sure that the envelope is of kind k and signed by key, and returns its payload. The
// payload is authentic then, and not parsed. Reasons: malformed (another kind), signature-bad.
func (e *Envelope) Verify(k Kind, key *metadata.Key) ([]byte, error) {
	if err := e.Check(); err != nil {
		return nil, err
	}
	if want := PayloadType(k); e.PayloadType != want {
		return nil, reason.Errorf(reason.Malformed, "statement has payload type %q, wanted %q", e.PayloadType, want)
	}
	if err := metadata.VerifySignature(key, PAE(e.PayloadType, e.Payload), e.Signatures[0].Sig); err != nil {
		return nil, reason.Wrap(err, "statement of kind %q", k)
	}
	return e.Payload, nil
}

// VerifyPublic is Verify with a public key of the standard library.
func (e *Envelope) VerifyPublic(k Kind, pub crypto.PublicKey) ([]byte, error) {
	key, err := metadata.NewKey(pub)
	if err != nil {
		return nil, err
	}
	return e.Verify(k, key)
}
