package secret

import (
	"context"
	"crypto"
	"time"

	"github.com/sigstore/sigstore/pkg/signature"

	"github.com/countersign-ota/countersign/internal/kms"
)

// pluginTimeout bounds one call of a plug-in: nobody stands there to touch a token, and a server that is
// told to stop waits for it.
const pluginTimeout = 20 * time.Second

// Online is the key that signs snapshot and timestamp. It is safe for concurrent use.
type Online struct {
	signature.Signer
	public crypto.PublicKey
}

// Public returns the public half.
func (o *Online) Public() crypto.PublicKey { return o.public }

// CheckOnline judges a name for Online without reading anything: reason config.
func (s Source) CheckOnline(ref string) error {
	if kms.IsURI(ref) {
		return kms.Check(ref, s.KMS)
	}
	_, err := s.Path(ref)
	return err
}

// Online returns the key that ref names: a file or credential as Load takes it, or the URI of a key in a
// plug-in, whose PIN lies at the URI's pin-source. It may be used after ctx has ended; each signature of a
// plug-in was verified. Reasons: those of Load and of kms.Open; signing also ends in those of kms.Key.
func (s Source) Online(ctx context.Context, ref string) (*Online, error) {
	if kms.IsURI(ref) {
		k, err := kms.Open(ctx, ref, kms.Options{Allow: s.KMS, Timeout: pluginTimeout})
		if err != nil {
			return nil, err
		}
		// A publication that runs while the server is told to stop is finished.
		return &Online{Signer: k.Signer(context.WithoutCancel(ctx)), public: k.Public()}, nil
	}
	k, err := s.Load(ref)
	if err != nil {
		return nil, err
	}
	signer, err := signature.LoadSigner(k, crypto.SHA256)
	return &Online{Signer: signer, public: k.Public()}, err
}
