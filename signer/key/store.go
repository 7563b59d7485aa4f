package key

import (
	"context"
	"crypto"
	"crypto/ecdsa"

	"github.com/sigstore/sigstore/pkg/signature"

	"github.com/countersign-ota/countersign/internal/kms"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// Adopted is what InStore did.
type Adopted struct {
	Reference *Reference
	// Found are the repositories whose key was there before.
	Found map[metadata.Repository]bool
}

// InStore adopts a person's keys that are in stores, or makes them there: one for the image repository
// and, if stores has it, one for the director root. Of about, Person, Name and Class count. A key that is
// there is never replaced; if t is not empty it has to be of that type, else a new one is Ed25519.
// On an error a key may have been made; the same call adopts it. Reasons: those of CheckURI, kms.Open and
// kms.Create, key-twice, exists (a key of another type is there).
func InStore(ctx context.Context, about Public, stores map[metadata.Repository]string, t Type, o Options) (*Adopted, error) {
	for _, r := range both {
		if uri, ok := stores[r]; ok || r == metadata.Image {
			if err := CheckURI(uri); err != nil {
				return nil, err
			}
		}
	}
	if stores[metadata.Image] == stores[metadata.Director] {
		return nil, reason.Errorf(reason.KeyTwice, "one key for both repositories: %q", stores[metadata.Image]).
			WithHint("name another object in --director-store")
	}
	a := &Adopted{
		Reference: &Reference{
			Version: referenceVersion, Image: stores[metadata.Image], Director: stores[metadata.Director],
			Public: Public{Person: about.Person, Name: about.Name, Class: about.Class},
		},
		Found: map[metadata.Repository]bool{},
	}
	for _, r := range both {
		uri := stores[r]
		if uri == "" {
			continue
		}
		k, found, err := adopt(ctx, uri, t, o.store(uri))
		if err != nil {
			return nil, reason.Wrap(err, "%s key of %s", r, about.Person)
		}
		a.Found[r] = found
		public, err := metadata.NewKey(k.Public())
		if err != nil {
			return nil, reason.Wrap(err, "%s key of %s", r, about.Person)
		}
		if r == metadata.Image {
			a.Reference.Public.Image = public
		} else {
			a.Reference.Public.Director = public
		}
	}
	if err := a.Reference.check(); err != nil {
		return nil, err
	}
	return a, nil
}

func adopt(ctx context.Context, uri string, t Type, o kms.Options) (k *kms.Key, found bool, err error) {
	k, err = kms.Open(ctx, uri, o)
	switch {
	case reason.Is(err, reason.NotFound):
		if t == "" {
			t = Ed25519
		}
		k, err = kms.Create(ctx, uri, string(t), o)
		return k, false, err
	case err != nil:
		return nil, false, err
	}
	if got := typeOf(k.Public()); t != "" && got != t {
		return nil, false, reason.Errorf(reason.Exists, "%s holds a key of type %s, wanted %s", uri, got, t).
			WithHint("leave --type out to take the key that is there, or name another object")
	}
	return k, true, nil
}

func typeOf(public crypto.PublicKey) Type {
	if _, ok := public.(*ecdsa.PublicKey); ok {
		return P256
	}
	return Ed25519
}

// Stored is a key in a store that no file refers to.
type Stored struct {
	// Key is its public half, as metadata has it.
	Key *metadata.Key
	k   *kms.Key
}

// OpenURI finds a key in its store. Reasons: those of CheckURI, kms.Open, key-malformed.
func OpenURI(ctx context.Context, uri string, o Options) (*Stored, error) {
	if err := CheckURI(uri); err != nil {
		return nil, err
	}
	k, err := kms.Open(ctx, uri, o.store(uri))
	if err != nil {
		return nil, err
	}
	public, err := metadata.NewKey(k.Public())
	if err != nil {
		return nil, reason.Wrap(err, "%s", uri)
	}
	return &Stored{public, k}, nil
}

// Signer returns the key's signer; it ends with ctx.
func (s *Stored) Signer(ctx context.Context) signature.Signer { return s.k.Signer(ctx) }
