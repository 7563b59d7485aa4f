// Package key makes, protects and loads the keys with which people sign.
//
// A person has two files: ID.key, which never leaves the machine or stick, and ID.pub, which goes into
// the plan. ID.key holds the private keys, encrypted, or is a Reference to keys on a token or in another
// store with a plug-in (package kms), which never leave that. Either may have a second key for the
// director root, since the two roots share no key (DESIGN 1.4). Start with Generate or InStore, and Open.
//
// An encrypted key is a PEM block in the form that cosign reads: PKCS#8 in nacl/secretbox under a key
// that scrypt makes of the passphrase. That protects a stolen file as well as the passphrase does, and
// does not help on a machine that is not the person's own while the passphrase is typed. A token's key
// cannot be taken away, but such a machine may have it sign something else while the token is open.
package key

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"maps"

	"github.com/sigstore/sigstore/pkg/signature"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// Type is the kind of a key.
type Type string

// The types of keys that people sign with (DESIGN 1.4).
const (
	Ed25519 Type = "ed25519"
	P256    Type = "p256"
)

// Private is a person's keys, decrypted or open in their store. Public is their public half.
type Private struct {
	Public Public
	keys   map[metadata.Repository]crypto.Signer
	stored map[metadata.Repository]signature.Signer
}

// New returns the keys of a person that exist already. keys holds one for the image repository and may
// hold one for the director root; of about, Person, Name and Class count.
func New(about Public, keys map[metadata.Repository]crypto.Signer) (*Private, error) {
	p := &Private{Public: Public{Person: about.Person, Name: about.Name, Class: about.Class}, keys: map[metadata.Repository]crypto.Signer{}}
	for _, r := range both {
		s := keys[r]
		if s == nil {
			continue
		}
		k, err := metadata.NewKey(s.Public())
		if err != nil {
			return nil, reason.Wrap(err, "%s key of %s", r, about.Person)
		}
		p.keys[r] = s
		if r == metadata.Image {
			p.Public.Image = k
		} else {
			p.Public.Director = k
		}
	}
	if err := p.Public.check(); err != nil {
		return nil, err
	}
	return p, nil
}

// Generate makes the keys of a person: one for the image repository and, if director is set, one for
// the director root. Of about, Person, Name and Class count.
func Generate(t Type, about Public, director bool) (*Private, error) {
	keys := map[metadata.Repository]crypto.Signer{}
	var err error
	if keys[metadata.Image], err = generate(t); err != nil {
		return nil, err
	}
	if director {
		if keys[metadata.Director], err = generate(t); err != nil {
			return nil, err
		}
	}
	return New(about, keys)
}

func generate(t Type) (crypto.Signer, error) {
	switch t {
	case Ed25519:
		_, k, err := ed25519.GenerateKey(rand.Reader)
		return k, err
	case P256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	return nil, reason.Errorf(reason.UsageError, "key type %q, wanted %s or %s", t, Ed25519, P256)
}

// Signers returns the signers by repository, as event.Sign takes them: of keys in a store those that
// were opened. Each signature of a store was verified under Public before it is returned.
func (p *Private) Signers() (map[metadata.Repository]signature.Signer, error) {
	signers := map[metadata.Repository]signature.Signer{}
	maps.Copy(signers, p.stored)
	for r, k := range p.keys {
		s, err := signature.LoadSigner(k, crypto.SHA256)
		if err != nil {
			return nil, reason.Errorf(reason.KeyMalformed, "%s key of %s: %v", r, p.Public.Person, err)
		}
		signers[r] = s
	}
	return signers, nil
}
