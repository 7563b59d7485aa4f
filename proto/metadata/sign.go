package metadata

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"

	"github.com/sigstore/sigstore/pkg/signature"

	"github.com/countersign-ota/countersign/proto/reason"
)

// Signer makes signatures with a private key that may lie in a file, a token or a KMS.
type Signer = signature.Signer

// Sign signs canonical (a signed part, as File.Canonical and Signed return it) and checks the result
// with the public key want, whose recomputed id it states. Ed25519 signs the bytes, ECDSA P-256 their
// SHA-256, in DER. A signer with another key ends in signature-bad, so a wrong signature never leaves.
func Sign(canonical []byte, s Signer, want *Key) (Signature, error) {
	if _, err := publicKey(want, Profile); err != nil {
		return Signature{}, err
	}
	id, err := KeyID(want)
	if err != nil {
		return Signature{}, err
	}
	sig, err := s.SignMessage(bytes.NewReader(canonical))
	if err != nil {
		return Signature{}, reason.Wrap(err, "sign with key %s", short(id))
	}
	if err := VerifySignature(want, canonical, sig); err != nil {
		return Signature{}, reason.Wrap(err, "sign with key %s: the signer holds another key", short(id))
	}
	return Signature{KeyID: id, Signature: sig}, nil
}

// VerifySignature checks one signature over canonical. It returns signature-bad, or key-malformed. It
// takes the keys of plain mode too, since the mode of a file decided which keys it may name; it says
// nothing about the key's id or role: Delegation.Verify does.
func VerifySignature(k *Key, canonical, sig []byte) error {
	pub, err := publicKey(k, Plain)
	if err != nil {
		return err
	}
	if !verify(pub, canonical, sig) {
		return reason.Errorf(reason.SignatureBad, "the signature does not verify with the %s key", k.Type)
	}
	return nil
}

func verify(pub crypto.PublicKey, canonical, sig []byte) bool {
	switch pub := pub.(type) {
	case ed25519.PublicKey: // RFC 8032 5.1.7
		return ed25519.Verify(pub, canonical, sig)
	case *ecdsa.PublicKey:
		sum := sha256.Sum256(canonical)
		return ecdsa.VerifyASN1(pub, sum[:], sig)
	case *rsa.PublicKey:
		sum := sha256.Sum256(canonical)
		return rsa.VerifyPSS(pub, crypto.SHA256, sum[:], sig, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthAuto}) == nil
	}
	return false
}
