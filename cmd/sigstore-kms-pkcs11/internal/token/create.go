//go:build cgo

package token

import (
	"crypto"
	"crypto/rand"
	"errors"

	"github.com/miekg/pkcs11"

	"github.com/countersign-ota/countersign/proto/reason"
)

// Names of algorithms as the protocol carries them; the first is the one that nearly every token has.
const (
	P256    = "ecdsa-p256"
	Ed25519 = "ed25519"
)

// idBytes is the length of an id that Create draws.
const idBytes = 16

// Create makes a key pair in the token under the names of the URI, which MUST have a label. The private
// half cannot be read or taken out. A key of these names is never replaced: exists. The token MUST have
// been opened for writing. Other reasons: config, wrong-pin, plugin-failed; ErrPINWanted.
func (t *Token) Create(algorithm string) (crypto.PublicKey, error) {
	var mechanism, keyType uint
	var params []byte
	switch algorithm {
	case P256:
		mechanism, keyType, params = pkcs11.CKM_EC_KEY_PAIR_GEN, pkcs11.CKK_EC, p256Params
	case Ed25519:
		mechanism, keyType, params = ckmECEdwardsKeyPairGen, ckkECEdwards, ed25519Params
	default:
		return nil, reason.Errorf(reason.Config, "algorithm %q: want %s or %s", algorithm, P256, Ed25519)
	}
	if t.uri.Object == "" {
		return nil, reason.Errorf(reason.Config, "a new key wants a label: add object=LABEL to the URI")
	}
	if err := t.login(); err != nil {
		return nil, err
	}
	if err := t.absent(); err != nil {
		return nil, err
	}
	id := t.uri.ID
	if id == nil {
		id = make([]byte, idBytes)
		if _, err := rand.Read(id); err != nil {
			return nil, err
		}
	}
	public, private, err := t.module.GenerateKeyPair(t.session,
		[]*pkcs11.Mechanism{pkcs11.NewMechanism(mechanism, nil)},
		t.template(id, keyType,
			pkcs11.NewAttribute(pkcs11.CKA_EC_PARAMS, params),
			pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, false),
			pkcs11.NewAttribute(pkcs11.CKA_VERIFY, true)),
		t.template(id, keyType,
			pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true),
			pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, true),
			pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, false),
			pkcs11.NewAttribute(pkcs11.CKA_SIGN, true)))
	if err != nil {
		return nil, t.failed("make the key", err)
	}
	pub, err := t.made(public, private)
	if err != nil {
		// What nobody asked for must not stay behind.
		_ = t.module.DestroyObject(t.session, private)
		_ = t.module.DestroyObject(t.session, public)
		return nil, err
	}
	return pub, nil
}

func (t *Token) template(id []byte, keyType uint, more ...*pkcs11.Attribute) []*pkcs11.Attribute {
	return append([]*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true),
		pkcs11.NewAttribute(pkcs11.CKA_LABEL, t.uri.Object),
		pkcs11.NewAttribute(pkcs11.CKA_ID, id),
		pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, keyType),
	}, more...)
}

// absent refuses names that a key, either half of it, has already.
func (t *Token) absent() error {
	for _, class := range []uint{pkcs11.CKO_PUBLIC_KEY, pkcs11.CKO_PRIVATE_KEY} {
		found, err := t.objects(class)
		if err != nil {
			return err
		}
		if len(found) > 0 {
			return reason.Errorf(reason.Exists, "%s has a %s key %s already", t.name, half(class), t.object())
		}
	}
	return nil
}

// made checks a new key: it is what was asked for, and nobody made another of its names meanwhile.
func (t *Token) made(public, private pkcs11.ObjectHandle) (crypto.PublicKey, error) {
	if !t.is(private, pkcs11.CKA_PRIVATE) || !t.is(private, pkcs11.CKA_SENSITIVE) || t.is(private, pkcs11.CKA_EXTRACTABLE) {
		return nil, t.failed("make the key", errors.New("the token would give its private half away"))
	}
	found, err := t.objects(pkcs11.CKO_PRIVATE_KEY)
	if err != nil {
		return nil, err
	}
	if len(found) != 1 {
		return nil, reason.Errorf(reason.Exists, "%s got another key %s at the same time; none was made", t.name, t.object())
	}
	return t.publicKey(public)
}
