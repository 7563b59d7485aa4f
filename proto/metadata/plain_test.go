package metadata_test

import (
	"crypto"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"testing"
	"time"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// plainRoot makes a root in which RSA and an ECDSA key by its old name sign timestamp, and parses it.
func plainRoot(t *testing.T, edit func(*metadata.RootRole)) (*metadata.File[metadata.RootRole], error) {
	t.Helper()
	root := tuf.Root(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)).Signed
	edit(&root)
	canonical, err := metadata.Signed(root)
	if err != nil {
		t.Fatal(err)
	}
	data, err := metadata.Encode[metadata.RootRole](canonical, nil)
	if err != nil {
		t.Fatal(err)
	}
	return metadata.ParseRoot(data, metadata.Plain)
}

func TestPlainKeys(t *testing.T) {
	rsaKey, ecKey := newRSA(t, 2048), newECDSA(t, elliptic.P256())
	keys := []*metadata.Key{
		keyOf("rsa", "rsassa-pss-sha256", pemOf(t, &rsaKey.PublicKey)),
		keyOf("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256", pemOf(t, &ecKey.PublicKey)),
		keyOf("ecdsa", "ecdsa-sha2-nistp256", pemOf(t, &ecKey.PublicKey)),
		keyOf("sphincs", "sphincs", hexKey),
	}
	root, err := plainRoot(t, func(r *metadata.RootRole) {
		for _, k := range keys {
			id := idOf(t, k)
			r.Keys[id] = k
			r.Roles["timestamp"].KeyIDs = append(r.Roles["timestamp"].KeyIDs, id)
		}
		// Known to nobody, and listed twice.
		r.Roles["timestamp"].KeyIDs = append(r.Roles["timestamp"].KeyIDs, "missing", "missing")
		// The right key under the id of another does not count.
		r.Keys["00"] = keys[0]
		r.Roles["snapshot"].KeyIDs = []string{"00"}
		r.Roles["timestamp"].Threshold = 2
	})
	if err != nil {
		t.Fatal(err)
	}
	d, err := metadata.RootDelegation(root, metadata.Timestamp, metadata.Plain)
	if err != nil {
		t.Fatal(err)
	}
	wantReason(t, d.Check(metadata.Plain), "")
	data := []byte("canonical")
	sum := sha256.Sum256(data)
	rsaSig, err := rsa.SignPSS(rand.Reader, rsaKey, crypto.SHA256, sum[:], nil)
	if err != nil {
		t.Fatal(err)
	}
	ecSig, err := ecKey.Sign(rand.Reader, sum[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	sigs := []metadata.Signature{{KeyID: idOf(t, keys[1]), Signature: ecSig}, {KeyID: idOf(t, keys[2]), Signature: ecSig}, {KeyID: "missing", Signature: ecSig}, {KeyID: idOf(t, keys[3])}}
	// The same ECDSA key under two ids is one key.
	wantReason(t, d.Verify(data, sigs), reason.Threshold)
	wantReason(t, d.Verify(data, append(sigs, metadata.Signature{KeyID: idOf(t, keys[0]), Signature: rsaSig})), "")

	if d, err = metadata.RootDelegation(root, metadata.Snapshot, metadata.Plain); err != nil {
		t.Fatal(err)
	}
	wantReason(t, d.Verify(data, []metadata.Signature{{KeyID: "00", Signature: rsaSig}}), reason.Threshold)
}

func TestPlainRefusesKeysThatCrash(t *testing.T) {
	small := newRSA(t, 1024)
	for _, tt := range []struct {
		name string
		key  *metadata.Key
		want reason.Reason
	}{
		{"RSA of 1024 bits", keyOf("rsa", "rsassa-pss-sha256", pemOf(t, &small.PublicKey)), reason.KeyMalformed},
		{"RSA of 1024 bits with another scheme", keyOf("rsa", "rsa-pkcs1v15-sha256", pemOf(t, &small.PublicKey)), reason.KeyMalformed},
		{"short ed25519 with another scheme", keyOf("ed25519", "x", "00"), reason.KeyMalformed},
		{"RSA that does not parse", keyOf("rsa", "rsassa-pss-sha256", "x"), ""},
		{"unknown type", keyOf("x", "y", "z"), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := plainRoot(t, func(r *metadata.RootRole) { r.Keys["00"] = tt.key })
			wantReason(t, err, tt.want)
		})
	}
}

func TestPlainTakesSHA512(t *testing.T) {
	d := deployment(t)
	file := replace(t, d.File(metadata.Image, "gw-100"), `"hashes":{`, `"hashes":{"sha512":"`+someSHA256+someSHA256+`",`)
	wantReason(t, parseAs(file, "gw-100", metadata.Plain), "")
}
