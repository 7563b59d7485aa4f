//go:build cgo

package token

import (
	"crypto"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/pkcs11"

	"github.com/countersign-ota/countersign/cmd/sigstore-kms-pkcs11/internal/uri"
	"github.com/countersign-ota/countersign/proto/reason"
)

// maxObjects is how many objects of one name are looked at: more than one is an error anyhow.
const maxObjects = 16

// Public returns the public half of the key. It logs in only if the token does not show it without.
// Reasons: not-found, config (ambiguous), key-malformed, those of a log-in.
func (t *Token) Public() (crypto.PublicKey, error) {
	o, err := t.one(pkcs11.CKO_PUBLIC_KEY)
	if reason.Is(err, reason.NotFound) && !t.in {
		if in := t.login(); errors.Is(in, ErrPINWanted) {
			return nil, fmt.Errorf("%v without its PIN: %w", err, ErrPINWanted)
		} else if in != nil {
			return nil, in
		}
		o, err = t.one(pkcs11.CKO_PUBLIC_KEY)
	}
	if err != nil {
		return nil, err
	}
	return t.publicKey(o)
}

// one returns the one object of a class that the URI names.
func (t *Token) one(class uint) (pkcs11.ObjectHandle, error) {
	found, err := t.objects(class)
	switch {
	case err != nil:
		return 0, err
	case len(found) == 0:
		return 0, reason.Errorf(reason.NotFound, "%s shows no %s key %s", t.name, half(class), t.object())
	case len(found) > 1:
		return 0, reason.Errorf(reason.Config, "%s has more than one %s key %s: add id=BYTES to the URI, one of %s",
			t.name, half(class), t.object(), strings.Join(t.ids(found), ", "))
	}
	return found[0], nil
}

func half(class uint) string {
	if class == pkcs11.CKO_PRIVATE_KEY {
		return "private"
	}
	return "public"
}

// object names the key for errors.
func (t *Token) object() string {
	var parts []string
	if t.uri.Object != "" {
		parts = append(parts, fmt.Sprintf("%q", t.uri.Object))
	}
	if t.uri.ID != nil {
		parts = append(parts, fmt.Sprintf("with id %x", t.uri.ID))
	}
	return strings.Join(parts, " ")
}

func (t *Token) objects(class uint) ([]pkcs11.ObjectHandle, error) {
	template := append(t.names(), pkcs11.NewAttribute(pkcs11.CKA_CLASS, class))
	if err := t.module.FindObjectsInit(t.session, template); err != nil {
		return nil, t.failed("look for the key", err)
	}
	var all []pkcs11.ObjectHandle
	for len(all) < maxObjects {
		some, _, err := t.module.FindObjects(t.session, maxObjects)
		if err != nil {
			_ = t.module.FindObjectsFinal(t.session)
			return nil, t.failed("look for the key", err)
		}
		if len(some) == 0 {
			break
		}
		all = append(all, some...)
	}
	if err := t.module.FindObjectsFinal(t.session); err != nil {
		return nil, t.failed("look for the key", err)
	}
	return all, nil
}

// names are the attributes by which the URI names the key.
func (t *Token) names() []*pkcs11.Attribute {
	var as []*pkcs11.Attribute
	if t.uri.Object != "" {
		as = append(as, pkcs11.NewAttribute(pkcs11.CKA_LABEL, t.uri.Object))
	}
	if t.uri.ID != nil {
		as = append(as, pkcs11.NewAttribute(pkcs11.CKA_ID, t.uri.ID))
	}
	return as
}

func (t *Token) ids(objects []pkcs11.ObjectHandle) []string {
	var ids []string
	for _, o := range objects {
		id, err := t.attribute(o, pkcs11.CKA_ID)
		if err != nil || len(id) == 0 {
			ids = append(ids, "(none)")
			continue
		}
		ids = append(ids, uri.EncodeID(id))
	}
	slices.Sort(ids) // a token's own order may change
	return ids
}

func (t *Token) attribute(o pkcs11.ObjectHandle, kind uint) ([]byte, error) {
	as, err := t.module.GetAttributeValue(t.session, o, []*pkcs11.Attribute{pkcs11.NewAttribute(kind, nil)})
	if err != nil {
		return nil, t.failed("read the key's attributes", err)
	}
	if len(as) != 1 {
		return nil, reason.Errorf(reason.PluginFailed, "%s: asked for one attribute, got %d", t.name, len(as))
	}
	return as[0].Value, nil
}

// is reports whether the boolean attribute kind of o is set; one that the token does not know is not.
func (t *Token) is(o pkcs11.ObjectHandle, kind uint) bool {
	v, err := t.attribute(o, kind)
	return err == nil && len(v) == 1 && v[0] != 0
}
