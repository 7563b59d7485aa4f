package kms

import (
	"context"
	"crypto"
	"errors"
	"io"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/kms/cliplugin/common"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// maxMessage bounds what is signed at once, in bytes. Role files are far smaller.
const maxMessage = 16 << 20

// Signer returns a signer whose calls end with ctx. Each signature was verified under Public. Reasons
// of its errors: wrong-pin, plugin-failed, signature-bad, and not-found when the token is gone.
func (k *Key) Signer(ctx context.Context) signature.Signer { return &signer{ctx: ctx, key: k} }

// signer carries a context because signature.Signer has no room for one.
type signer struct {
	ctx context.Context
	key *Key
}

var _ signature.Signer = (*signer)(nil)

// PublicKey returns the public half that Open read.
func (s *signer) PublicKey(...signature.PublicKeyOption) (crypto.PublicKey, error) {
	return s.key.public, nil
}

// SignMessage signs the whole of message. A context in opts ends the call too; a digest and another
// hash than SHA-256 are refused.
func (s *signer) SignMessage(message io.Reader, opts ...signature.SignOption) ([]byte, error) {
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	var other context.Context
	var digest []byte
	var hash crypto.SignerOpts
	for _, o := range opts {
		o.ApplyContext(&other)
		o.ApplyDigest(&digest)
		o.ApplyCryptoSignerOpts(&hash)
	}
	if digest != nil || hash != nil && hash.HashFunc() != crypto.SHA256 && hash.HashFunc() != 0 {
		return nil, errors.New("kms: signs messages, with SHA-256 where the key wants a hash")
	}
	if other != nil {
		defer context.AfterFunc(other, cancel)()
	}
	data, err := io.ReadAll(io.LimitReader(message, maxMessage+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxMessage {
		return nil, reason.Errorf(reason.TooLarge, "more than %d bytes to sign", maxMessage)
	}
	p := s.key.plugin
	a, err := p.call(ctx, common.MethodArgs{MethodName: common.SignMessageMethodName}, data)
	if err != nil {
		return nil, err
	}
	if err := metadata.VerifySignature(s.key.tuf, data, a.signature); err != nil {
		return nil, reason.Errorf(reason.SignatureBad, "plug-in %s returned a signature that is not by the key it showed before; nothing was signed", p.name).
			WithHint("was the token swapped? if not, do not use this plug-in")
	}
	return a.signature, nil
}
