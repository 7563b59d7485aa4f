//go:build cgo

package token

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/asn1"
	"errors"
	"io"
	"math/big"

	"github.com/miekg/pkcs11"

	"github.com/countersign-ota/countersign/proto/reason"
)

// maxMessage bounds what an Ed25519 key signs, in bytes: the token takes it in one piece.
const maxMessage = 64 << 20

// Sign signs what message holds, or the SHA-256 digest if that is not nil: with ECDSA P-256 in DER, or
// with Ed25519, which signs messages only. Reasons: not-found, config, wrong-pin, key-malformed,
// plugin-failed; ErrPINWanted.
func (t *Token) Sign(message io.Reader, digest []byte) ([]byte, error) {
	if err := t.login(); err != nil {
		return nil, err
	}
	o, err := t.one(pkcs11.CKO_PRIVATE_KEY)
	if err != nil {
		return nil, err
	}
	k, err := t.kindOf(o)
	if err != nil {
		return nil, err
	}
	if k == ed255 {
		if digest != nil {
			return nil, reason.Errorf(reason.Config, "%s: key %s is Ed25519 and signs messages, not digests", t.name, t.object())
		}
		data, err := io.ReadAll(io.LimitReader(message, maxMessage+1))
		if err != nil {
			return nil, err
		}
		if len(data) > maxMessage {
			return nil, reason.Errorf(reason.Config, "more than %d bytes to sign", maxMessage)
		}
		return t.sign(o, ckmEdDSA, data, ed25519.SignatureSize)
	}
	if digest == nil {
		h := sha256.New()
		if _, err := io.Copy(h, message); err != nil {
			return nil, err
		}
		digest = h.Sum(nil)
	}
	if len(digest) != sha256.Size {
		return nil, reason.Errorf(reason.Config, "a digest of %d bytes: want SHA-256", len(digest))
	}
	raw, err := t.sign(o, pkcs11.CKM_ECDSA, digest, 64)
	if err != nil {
		return nil, err
	}
	r, s := new(big.Int).SetBytes(raw[:32]), new(big.Int).SetBytes(raw[32:])
	return asn1.Marshal(struct{ R, S *big.Int }{r, s})
}

// sign is one operation of the token, whose result has size bytes.
func (t *Token) sign(o pkcs11.ObjectHandle, mechanism uint, data []byte, size int) ([]byte, error) {
	err := t.module.SignInit(t.session, []*pkcs11.Mechanism{pkcs11.NewMechanism(mechanism, nil)}, o)
	if err != nil {
		return nil, t.failed("sign", err)
	}
	if t.is(o, pkcs11.CKA_ALWAYS_AUTHENTICATE) {
		if err := t.again(); err != nil {
			return nil, err
		}
	}
	sig, err := t.module.Sign(t.session, data)
	if err != nil {
		return nil, t.failed("sign", err)
	}
	if len(sig) != size {
		return nil, t.failed("sign", errors.New("the signature has the wrong length"))
	}
	return sig, nil
}
