package metadata_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"

	"github.com/sigstore/sigstore/pkg/signature"
	tuf "github.com/theupdateframework/go-tuf/v2/metadata"
	"pgregory.net/rapid"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/metadata/metadatatest"
	"github.com/countersign-ota/countersign/proto/reason"
)

func newECDSA(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newRSA(t testing.TB, bits int) *rsa.PrivateKey {
	t.Helper()
	t.Setenv("GODEBUG", "rsa1024min=0")
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func pemOf(t testing.TB, pub crypto.PublicKey) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func keyOf(keytype, scheme, public string) *metadata.Key {
	return &metadata.Key{Type: keytype, Scheme: scheme, Value: tuf.KeyVal{PublicKey: public}}
}

func idOf(t testing.TB, k *metadata.Key) string {
	t.Helper()
	id, err := metadata.KeyID(k)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestNewKey(t *testing.T) {
	p256 := newECDSA(t, elliptic.P256())
	ed := metadatatest.NewKey(t, "rivera", metadata.Image)
	for _, pub := range []crypto.PublicKey{ed.Private.Public(), &p256.PublicKey} {
		k, err := metadata.NewKey(pub)
		if err != nil {
			t.Fatal(err)
		}
		want, err := tuf.KeyFromPublicKey(pub)
		if err != nil {
			t.Fatal(err)
		}
		id, err := want.ID()
		if err != nil {
			t.Fatal(err)
		}
		if got := idOf(t, k); got != id {
			t.Errorf("id %s, go-tuf's is %s", got, id)
		}
		if _, err := metadata.CheckKey(id, k, metadata.Profile); err != nil {
			t.Error(err)
		}
	}
	for _, pub := range []crypto.PublicKey{&newECDSA(t, elliptic.P384()).PublicKey, &newRSA(t, 2048).PublicKey, ed25519.PublicKey{1}, nil} {
		_, err := metadata.NewKey(pub)
		wantReason(t, err, reason.KeyMalformed)
	}
}

// Ids are those of go-tuf, with and without further members.
func TestKeyIDEqualsGoTUF(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := keyOf(rapid.String().Draw(t, "type"), rapid.String().Draw(t, "scheme"), rapid.String().Draw(t, "public"))
		k.UnrecognizedFields = members().Draw(t, "members")
		k.Value.UnrecognizedFields = members().Draw(t, "value members")
		fresh := *k
		want, err := fresh.ID()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := metadata.KeyID(k); err != nil || got != want {
			t.Fatalf("got %s, %v, want %s", got, err, want)
		}
	})
}

// KeyID sees a changed key; go-tuf's ID answers what it saw first.
func TestKeyIDIsRecomputed(t *testing.T) {
	k := keyOf("ed25519", "ed25519", hexKey)
	before := idOf(t, k)
	if _, err := k.ID(); err != nil {
		t.Fatal(err)
	}
	k.UnrecognizedFields = map[string]any{"owner": "x"}
	if idOf(t, k) == before {
		t.Error("the id does not cover all members")
	}
}

func TestCheckKey(t *testing.T) {
	p256 := pemOf(t, &newECDSA(t, elliptic.P256()).PublicKey)
	p384 := pemOf(t, &newECDSA(t, elliptic.P384()).PublicKey)
	rsa2048 := pemOf(t, &newRSA(t, 2048).PublicKey)
	rsa1024 := pemOf(t, &newRSA(t, 1024).PublicKey)
	ok, bad := reason.Reason(""), reason.KeyMalformed
	for _, tt := range []struct {
		name           string
		key            *metadata.Key
		profile, plain reason.Reason
	}{
		{"ed25519", keyOf("ed25519", "ed25519", hexKey), ok, ok},
		{"ed25519 in upper case", keyOf("ed25519", "ed25519", strings.ToUpper(hexKey)), bad, ok},
		{"ed25519 too short", keyOf("ed25519", "ed25519", hexKey[2:]), bad, bad},
		{"ed25519 too long", keyOf("ed25519", "ed25519", hexKey+"00"), bad, bad},
		{"ed25519 empty", keyOf("ed25519", "ed25519", ""), bad, bad},
		{"ed25519 as PEM", keyOf("ed25519", "ed25519", p256), bad, bad},
		{"ed25519 with another scheme", keyOf("ed25519", "ed25519ph", hexKey), bad, bad},
		{"ecdsa", keyOf("ecdsa", "ecdsa-sha2-nistp256", p256), ok, ok},
		{"ecdsa without the last newline", keyOf("ecdsa", "ecdsa-sha2-nistp256", strings.TrimSpace(p256)), ok, ok},
		{"ecdsa with spaces behind", keyOf("ecdsa", "ecdsa-sha2-nistp256", p256+"  "), bad, ok},
		{"ecdsa with a second block", keyOf("ecdsa", "ecdsa-sha2-nistp256", p256+p256), bad, bad},
		{"ecdsa with text before", keyOf("ecdsa", "ecdsa-sha2-nistp256", "x\n"+p256), bad, ok},
		{"ecdsa by its old name", keyOf("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256", p256), bad, ok},
		{"P-384 under a P-256 scheme", keyOf("ecdsa", "ecdsa-sha2-nistp256", p384), bad, bad},
		{"P-384", keyOf("ecdsa", "ecdsa-sha2-nistp384", p384), bad, bad},
		{"ecdsa holding RSA", keyOf("ecdsa", "ecdsa-sha2-nistp256", rsa2048), bad, bad},
		{"ecdsa in hex", keyOf("ecdsa", "ecdsa-sha2-nistp256", hexKey), bad, bad},
		{"RSA", keyOf("rsa", "rsassa-pss-sha256", rsa2048), bad, ok},
		{"RSA of 1024 bits", keyOf("rsa", "rsassa-pss-sha256", rsa1024), bad, bad},
		{"RSA PKCS 1.5", keyOf("rsa", "rsa-pkcs1v15-sha256", rsa2048), bad, bad},
		{"RSA holding ECDSA", keyOf("rsa", "rsassa-pss-sha256", p256), bad, bad},
		{"unknown", keyOf("sphincs", "sphincs", hexKey), bad, bad},
	} {
		t.Run(tt.name, func(t *testing.T) {
			id := idOf(t, tt.key)
			for m, want := range map[metadata.Mode]reason.Reason{metadata.Profile: tt.profile, metadata.Plain: tt.plain} {
				pub, err := metadata.CheckKey(id, tt.key, m)
				wantReason(t, err, want)
				if (pub == nil) != (want != "") {
					t.Errorf("mode %v: key %v beside %v", m, pub, err)
				}
				if want == "" {
					_, err := metadata.CheckKey(strings.Repeat("0", 64), tt.key, m)
					wantReason(t, err, reason.KeyIDMismatch)
				}
			}
		})
	}
	_, err := metadata.CheckKey("x", nil, metadata.Profile)
	wantReason(t, err, reason.KeyMalformed)
}

// securesystemslib adds members to keys and leaves their ids.
func TestCheckKeyWithLaterMembers(t *testing.T) {
	k := keyOf("ed25519", "ed25519", hexKey)
	bare := idOf(t, k)
	k.UnrecognizedFields = map[string]any{"x-owner": "me"}
	_, err := metadata.CheckKey(bare, k, metadata.Plain)
	wantReason(t, err, "")
	_, err = metadata.CheckKey(idOf(t, k), k, metadata.Plain)
	wantReason(t, err, "")
	_, err = metadata.CheckKey(bare, k, metadata.Profile)
	wantReason(t, err, reason.KeyIDMismatch)
}

func TestRawKey(t *testing.T) {
	p256 := pemOf(t, &newECDSA(t, elliptic.P256()).PublicKey)
	same := [][2]*metadata.Key{
		{keyOf("ed25519", "ed25519", hexKey), keyOf("ed25519", "ed25519", strings.ToUpper(hexKey))},
		{keyOf("ecdsa", "ecdsa-sha2-nistp256", p256), keyOf("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256", p256+"\n")},
	}
	for _, pair := range same {
		a, errA := metadata.RawKey(pair[0])
		b, errB := metadata.RawKey(pair[1])
		if errA != nil || errB != nil || a != b {
			t.Errorf("%q, %v and %q, %v", a, errA, b, errB)
		}
		if idOf(t, pair[0]) == idOf(t, pair[1]) {
			t.Error("the ids are equal, so this tests nothing")
		}
	}
	_, err := metadata.RawKey(keyOf("x", "y", "z"))
	wantReason(t, err, reason.KeyMalformed)
	_, err = metadata.RawKey(nil)
	wantReason(t, err, reason.KeyMalformed)
}

func TestSign(t *testing.T) {
	canonical := []byte(`{"_type":"targets"}`)
	ed := metadatatest.NewKey(t, "rivera", metadata.Image)
	p256 := newECDSA(t, elliptic.P256())
	p256Key, err := metadata.NewKey(&p256.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	p256Signer, err := signature.LoadECDSASigner(p256, crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	// A KMS adds members of its own to keys.
	extra := *ed.Public
	extra.UnrecognizedFields = map[string]any{"x-uri": "kms://1"}
	for _, tt := range []struct {
		name   string
		signer metadata.Signer
		want   *metadata.Key
	}{{"ed25519", ed.Signer, ed.Public}, {"P-256", p256Signer, p256Key}, {"with extra members", ed.Signer, &extra}} {
		t.Run(tt.name, func(t *testing.T) {
			sig, err := metadata.Sign(canonical, tt.signer, tt.want)
			if err != nil {
				t.Fatal(err)
			}
			if sig.KeyID != idOf(t, tt.want) {
				t.Errorf("key id %s", sig.KeyID)
			}
			wantReason(t, metadata.VerifySignature(tt.want, canonical, sig.Signature), "")
			wantReason(t, metadata.VerifySignature(tt.want, []byte(`{"_type":"root"}`), sig.Signature), reason.SignatureBad)
			wantReason(t, metadata.VerifySignature(tt.want, canonical, sig.Signature[1:]), reason.SignatureBad)
			wantReason(t, metadata.VerifySignature(tt.want, canonical, nil), reason.SignatureBad)
		})
	}
	other := metadatatest.NewKey(t, "chen", metadata.Image)
	_, err = metadata.Sign(canonical, other.Signer, ed.Public)
	wantReason(t, err, reason.SignatureBad)
	p384 := newECDSA(t, elliptic.P384())
	_, err = metadata.Sign(canonical, ed.Signer, keyOf("ecdsa", "ecdsa-sha2-nistp384", pemOf(t, &p384.PublicKey)))
	wantReason(t, err, reason.KeyMalformed)
}

func TestVerifyRSA(t *testing.T) {
	k := newRSA(t, 2048)
	sum := sha256.Sum256([]byte("data"))
	sig, err := rsa.SignPSS(rand.Reader, k, crypto.SHA256, sum[:], nil)
	if err != nil {
		t.Fatal(err)
	}
	key := keyOf("rsa", "rsassa-pss-sha256", pemOf(t, &k.PublicKey))
	wantReason(t, metadata.VerifySignature(key, []byte("data"), sig), "")
	wantReason(t, metadata.VerifySignature(key, []byte("date"), sig), reason.SignatureBad)
}

func TestExampleKeys(t *testing.T) {
	for _, who := range []string{"rivera", "chen", "okafor", "online"} {
		for _, r := range []metadata.Repository{metadata.Image, metadata.Director} {
			seed := sha256.Sum256(fmt.Appendf(nil, "countersign example key: %s %s", who, r))
			public := ed25519.NewKeyFromSeed(seed[:]).Public().(ed25519.PublicKey)
			for _, text := range []string{hex.EncodeToString(public), strings.ToUpper(hex.EncodeToString(public))} {
				if !metadata.ExampleKey(keyOf("ed25519", "ed25519", text)) {
					t.Errorf("%s %s is not known", who, r)
				}
			}
		}
	}
	if metadata.ExampleKey(metadatatest.NewKey(t, "rivera", metadata.Image).Public) || metadata.ExampleKey(nil) {
		t.Error("another key passes for an example")
	}
	d := deployment(t)
	f, err := metadata.ParseRoot(d.File(metadata.Image, metadata.Root), metadata.Profile)
	if err != nil {
		t.Fatal(err)
	}
	wantReason(t, metadata.CheckNoExampleKeys(f), "")
	seed := sha256.Sum256([]byte("countersign example key: chen image"))
	key, err := metadata.NewKey(ed25519.NewKeyFromSeed(seed[:]).Public())
	if err != nil {
		t.Fatal(err)
	}
	f.Signed.Keys[idOf(t, key)] = key
	wantReason(t, metadata.CheckNoExampleKeys(f), reason.KeyExample)
}
