//go:build cgo

package token

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"encoding/asn1"
	"encoding/binary"
	"fmt"

	"github.com/miekg/pkcs11"

	"github.com/countersign-ota/countersign/proto/reason"
)

// What PKCS#11 3.0 added and the bindings do not name.
const (
	ckkECEdwards           = 0x40
	ckmECEdwardsKeyPairGen = 0x1055
	ckmEdDSA               = 0x1057
)

// CKA_EC_PARAMS of the two curves, DER. Ed25519 has three forms in the field: the OID of RFC 8410, the
// name as a PrintableString, and the OID from before RFC 8410.
var (
	p256Params    = []byte{0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07}
	ed25519Params = append([]byte{0x13, 12}, "edwards25519"...)
	ed25519Others = [][]byte{
		{0x06, 3, 0x2b, 0x65, 0x70},
		{0x06, 9, 0x2b, 0x06, 0x01, 0x04, 0x01, 0xda, 0x47, 0x0f, 0x01},
	}
)

// kind is what a key signs with.
type kind int

const (
	p256 kind = iota + 1
	ed255
)

// kindOf reads the type of a key, either half.
func (t *Token) kindOf(o pkcs11.ObjectHandle) (kind, error) {
	value, err := t.attribute(o, pkcs11.CKA_KEY_TYPE)
	if err != nil {
		return 0, err
	}
	params, err := t.attribute(o, pkcs11.CKA_EC_PARAMS)
	if err != nil {
		params = nil // not a key on a curve
	}
	switch number := ulong(value); {
	case number == pkcs11.CKK_EC && bytes.Equal(params, p256Params):
		return p256, nil
	case number == ckkECEdwards && isEd25519(params):
		return ed255, nil
	default:
		return 0, reason.Errorf(reason.KeyMalformed, "%s: key %s has type %#x and curve %x: want ECDSA P-256 or Ed25519", t.name, t.object(), number, params)
	}
}

func isEd25519(params []byte) bool {
	for _, p := range ed25519Others {
		if bytes.Equal(params, p) {
			return true
		}
	}
	return bytes.Equal(params, ed25519Params)
}

// ulong reads a CK_ULONG; one of another width is no known type.
func ulong(b []byte) uint64 {
	switch len(b) {
	case 8:
		return binary.NativeEndian.Uint64(b)
	case 4:
		return uint64(binary.NativeEndian.Uint32(b))
	}
	return 1<<64 - 1
}

// publicKey reads the point of a public key object.
func (t *Token) publicKey(o pkcs11.ObjectHandle) (crypto.PublicKey, error) {
	k, err := t.kindOf(o)
	if err != nil {
		return nil, err
	}
	point, err := t.attribute(o, pkcs11.CKA_EC_POINT)
	if err != nil {
		return nil, err
	}
	pub, err := parsePoint(k, point)
	if err != nil {
		return nil, reason.Errorf(reason.KeyMalformed, "%s: key %s: %v", t.name, t.object(), err)
	}
	return pub, nil
}

// parsePoint reads CKA_EC_POINT: an OCTET STRING by the standard, the bare bytes in older modules. The
// two differ in length.
func parsePoint(k kind, point []byte) (crypto.PublicKey, error) {
	size := 65
	if k == ed255 {
		size = ed25519.PublicKeySize
	}
	if len(point) != size {
		var inner []byte
		rest, err := asn1.Unmarshal(point, &inner)
		if err != nil || len(rest) != 0 || len(inner) != size {
			return nil, fmt.Errorf("its point has %d bytes: want %d, or an OCTET STRING of them", len(point), size)
		}
		point = inner
	}
	if k == ed255 {
		return ed25519.PublicKey(bytes.Clone(point)), nil
	}
	pub, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		return nil, fmt.Errorf("its point is not on the curve")
	}
	return pub, nil
}
