package metadata_test

import (
	"crypto/ed25519"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"testing"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// smallOrder are all encodings of the points of small order that crypto/ed25519 takes for public keys.
var smallOrder = []string{
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0000000000000000000000000000000000000000000000000000000000000080",
	"0100000000000000000000000000000000000000000000000000000000000000",
	"0100000000000000000000000000000000000000000000000000000000000080",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
}

// forge signs something under a key of small order without any private key: S is 0, and R one of the
// points of small order, of which one fits every eighth message or more.
func forge(t *testing.T, pub ed25519.PublicKey) (canonical, sig []byte) {
	t.Helper()
	for n := range uint32(10_000) {
		canonical = binary.BigEndian.AppendUint32([]byte("forged "), n)
		for _, point := range smallOrder {
			r, err := hex.DecodeString(point)
			if err != nil {
				t.Fatal(err)
			}
			if sig = slices.Concat(r, make([]byte, 32)); ed25519.Verify(pub, canonical, sig) {
				return canonical, sig
			}
		}
	}
	return nil, nil
}

// A key under which everybody can sign counts for nobody, whoever is said to hold it.
func TestKeysOfSmallOrderAreRefused(t *testing.T) {
	for _, text := range smallOrder {
		t.Run(text, func(t *testing.T) {
			pub, err := hex.DecodeString(text)
			if err != nil {
				t.Fatal(err)
			}
			canonical, sig := forge(t, pub)
			if canonical == nil {
				t.Fatal("no signature can be forged, so the key need not be refused")
			}
			_, err = metadata.NewKey(ed25519.PublicKey(pub))
			wantReason(t, err, reason.KeyMalformed)
			k := keyOf("ed25519", "ed25519", text)
			for _, m := range []metadata.Mode{metadata.Profile, metadata.Plain} {
				_, err = metadata.CheckKey(idOf(t, k), k, m)
				wantReason(t, err, reason.KeyMalformed)
			}
			wantReason(t, metadata.VerifySignature(k, canonical, sig), reason.KeyMalformed)
			d := &metadata.Delegation{Role: "gw-100", Keys: map[string]*metadata.Key{idOf(t, k): k}, KeyIDs: []string{idOf(t, k)}, Threshold: 1}
			wantReason(t, d.Verify(canonical, []metadata.Signature{{KeyID: idOf(t, k), Signature: sig}}), reason.Threshold)
		})
	}
}
