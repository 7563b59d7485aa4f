//go:build cgo

package token

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"testing"
)

// The two forms of a point, and what is neither.
func FuzzPoint(f *testing.F) {
	k, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), bytes.Repeat([]byte{7}, 32))
	if err != nil {
		f.Fatal(err)
	}
	point, err := k.PublicKey.Bytes()
	if err != nil {
		f.Fatal(err)
	}
	ed := bytes.Repeat([]byte{4}, 32)
	f.Add(true, point)
	f.Add(true, append([]byte{4, 65}, point...))
	f.Add(true, append([]byte{4, 0x81, 65}, point...)) // not DER
	f.Add(true, append(append([]byte{4, 65}, point...), 0))
	f.Add(false, ed)
	f.Add(false, append([]byte{4, 32}, ed...))
	f.Add(false, append([]byte{4, 30}, ed[:30]...)) // 32 bytes: the bare form
	f.Fuzz(func(t *testing.T, onP256 bool, data []byte) {
		k := ed255
		if onP256 {
			k = p256
		}
		pub, err := parsePoint(k, data)
		if err != nil {
			if pub != nil {
				t.Error("a key beside an error")
			}
			return
		}
		var bare []byte
		switch pub := pub.(type) {
		case ed25519.PublicKey:
			bare = pub
		case *ecdsa.PublicKey:
			if bare, err = pub.Bytes(); err != nil {
				t.Fatal(err)
			}
		}
		if onP256 != (len(bare) == 65) || !bytes.Equal(data, bare) && !bytes.Equal(data, append([]byte{4, byte(len(bare))}, bare...)) {
			t.Errorf("%x was read as %x", data, bare)
		}
	})
}
