// Package enroll holds what a one-time token is: the file in which it travels to a person or a
// device, and the MAC that proves it to the server (DESIGN 4.3).
//
// The secret never crosses the wire on the way back: who holds the token makes a key, and sends the
// public half with HMAC-SHA-256 under the secret. The file also names the server, its identity CA and
// the image root, so that nothing is trusted on first use. It is a secret until it was used: write it
// 0600 and delete it afterwards. Start with ParseTokenFile and MAC.
package enroll

import (
	"crypto/hmac"
	"crypto/sha256"

	"github.com/countersign-ota/countersign/proto/reason"
)

// Kind says for whom a token is.
type Kind string

// The kinds. They are part of the MAC, so a device's token never makes an operator.
const (
	Operator Kind = "operator"
	Device   Kind = "device"
)

// SecretSize is the length of a token's secret in bytes.
const SecretSize = 32

// Check returns malformed for a kind that does not exist.
func (k Kind) Check() error {
	if k != Operator && k != Device {
		return reason.Errorf(reason.Malformed, "token kind %q is neither %q nor %q", string(k), Operator, Device)
	}
	return nil
}

// MAC returns HMAC-SHA-256 under secret over
//
//	kind ‖ 0x00 ‖ id ‖ 0x00 ‖ spki
//
// where id is the operator or device and spki the DER SubjectPublicKeyInfo of its key. Neither kind
// nor an id that metadata.CheckID accepts holds a zero byte, so no two triples have the same bytes.
func MAC(secret []byte, kind Kind, id string, spki []byte) [32]byte {
	h := hmac.New(sha256.New, secret)
	h.Write([]byte(kind))
	h.Write([]byte{0})
	h.Write([]byte(id))
	h.Write([]byte{0})
	h.Write(spki)
	var sum [32]byte
	h.Sum(sum[:0])
	return sum
}

// VerifyMAC reports in constant time whether mac is the one of MAC.
func VerifyMAC(secret []byte, kind Kind, id string, spki, mac []byte) bool {
	want := MAC(secret, kind, id, spki)
	return hmac.Equal(want[:], mac)
}
