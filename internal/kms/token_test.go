package kms_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"os"
	"path/filepath"
	"strings"
	"testing"

	sigkms "github.com/sigstore/sigstore/pkg/signature/kms"

	"github.com/countersign-ota/countersign/integration/softhsm"
	"github.com/countersign-ota/countersign/internal/kms"
	"github.com/countersign-ota/countersign/proto/reason"
)

func pkcs11(pin string) kms.Options {
	return kms.Options{Allow: []string{"pkcs11"}, Timeout: patient, PIN: func(context.Context) ([]byte, error) { return []byte(pin), nil }}
}

// The real plug-in, SoftHSM2 behind it, and both clients.
func TestToken(t *testing.T) {
	k := softhsm.New(t)
	softhsm.Plugin(t)
	for name, algorithm := range map[string]string{"sign": softhsm.P256, "sign ed": softhsm.Ed25519} {
		if err := k.Make(name, "0"+map[string]string{"sign": "1", "sign ed": "2"}[name], algorithm); err != nil {
			t.Fatal(err)
		}
		uri := k.URI(name)
		key, err := kms.Open(t.Context(), uri, kms.Options{Allow: []string{"pkcs11"}, Timeout: patient}) // no PIN
		if err != nil {
			t.Fatal(err)
		}
		switch key.Public().(type) {
		case *ecdsa.PublicKey:
			if algorithm != softhsm.P256 {
				t.Errorf("%s is a P-256 key", name)
			}
		case ed25519.PublicKey:
			if algorithm != softhsm.Ed25519 {
				t.Errorf("%s is an Ed25519 key", name)
			}
		}
		if key, err = kms.Open(t.Context(), uri, pkcs11(softhsm.PIN)); err != nil {
			t.Fatal(err)
		}
		verifies(t, key.Public(), key.Signer(t.Context()))

		// The library's client: the PIN comes by the URI.
		lib, err := sigkms.Get(t.Context(), uri+"&pin-source=file:"+pinFile(t, softhsm.PIN), crypto.SHA256)
		if err != nil {
			t.Fatal(err)
		}
		pub, err := lib.PublicKey()
		if err != nil {
			t.Fatal(err)
		}
		if !key.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(pub) {
			t.Errorf("%s: the library sees another key", name)
		}
		verifies(t, pub, lib)
		sig, err := lib.SignMessage(strings.NewReader("m"))
		if err != nil {
			t.Fatal(err)
		}
		if err := lib.VerifySignature(bytes.NewReader(sig), strings.NewReader("m")); err != nil {
			t.Error(err)
		}
		if err := lib.VerifySignature(bytes.NewReader(sig), strings.NewReader("n")); err == nil {
			t.Error("the plug-in verifies a signature over another message")
		}
		if a, all := lib.DefaultAlgorithm(), lib.SupportedAlgorithms(); a != "ecdsa-p256" || len(all) != 2 {
			t.Errorf("algorithms %q of %q", a, all)
		}
		cs, opts, err := lib.CryptoSigner(t.Context(), func(err error) { t.Error(err) })
		if err != nil {
			t.Fatal(err)
		}
		digest := crypto.SHA256.New().Sum(nil)
		if algorithm == softhsm.P256 { // by digest
			sig, err := cs.Sign(nil, digest, opts)
			if err != nil || !ecdsa.VerifyASN1(pub.(*ecdsa.PublicKey), digest, sig) {
				t.Errorf("a digest signed by the library's signer: %v", err)
			}
		}
	}
}

func pinFile(t *testing.T, pin string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pin")
	if err := os.WriteFile(path, []byte(pin+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCreateInAToken(t *testing.T) {
	k := softhsm.New(t)
	softhsm.Plugin(t)
	for _, algorithm := range []string{"ed25519", "p256"} {
		key, err := kms.Create(t.Context(), k.URI(algorithm), algorithm, pkcs11(softhsm.PIN))
		if err != nil {
			t.Fatal(err)
		}
		verifies(t, key.Public(), key.Signer(t.Context()))
		other := map[string]string{"ed25519": "p256", "p256": "ed25519"}[algorithm]
		_, err = kms.Create(t.Context(), k.URI(algorithm), other, pkcs11(softhsm.PIN))
		refused(t, err, reason.Exists)
		again, err := kms.Open(t.Context(), k.URI(algorithm), pkcs11(softhsm.PIN))
		if err != nil || !again.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(key.Public()) {
			t.Errorf("the key is another one afterwards (%v)", err)
		}
	}
	// Half a key counts as one that is there.
	if err := k.Make("half", "07", softhsm.P256); err != nil {
		t.Fatal(err)
	}
	if err := k.DropHalf("half", "pubkey"); err != nil {
		t.Fatal(err)
	}
	_, err := kms.Create(t.Context(), k.URI("half"), "p256", pkcs11(softhsm.PIN))
	refused(t, err, reason.Exists, `token "chen-yubi" has a private key "half" already`)
}

func TestTokenRefuses(t *testing.T) {
	k := softhsm.New(t)
	softhsm.Plugin(t)
	for i, name := range []string{"sign", "twin", "twin"} {
		if err := k.Make(name, "0"+string(rune('1'+i)), softhsm.P256); err != nil {
			t.Fatal(err)
		}
	}
	if err := k.Make("wide", "09", "EC:secp384r1"); err != nil {
		t.Fatal(err)
	}
	if err := k.Make("rsa", "0a", "rsa:2048"); err != nil {
		t.Fatal(err)
	}
	if _, err := softhsm.In(k.Dir, "chen-yubi"); err != nil { // a token of the same name, seen by "many"
		t.Fatal(err)
	}
	uri := func(object string) string { // one of the two tokens
		return strings.Replace(k.URI(object), "token=chen-yubi", "serial="+k.Serial, 1)
	}
	rubbish := filepath.Join(t.TempDir(), "rubbish.so")
	if err := os.WriteFile(rubbish, []byte("not a library"), 0o755); err != nil {
		t.Fatal(err)
	}
	exposed := pinFile(t, softhsm.PIN)
	if err := os.Chmod(exposed, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, uri string
		want      reason.Reason
		says      string
	}{
		{"missing token", strings.Replace(k.URI("sign"), "chen-yubi", "okafor-yubi", 1), reason.NotFound, `token "okafor-yubi" is not plugged in; there are "chen-yubi"`},
		{"missing serial", strings.Replace(uri("sign"), k.Serial, "0000", 1), reason.NotFound, `token with serial "0000" is not plugged in`},
		{"two tokens", k.URI("sign"), reason.Config, "the URI fits 2 tokens"},
		{"missing object", uri("stop"), reason.NotFound, `shows no public key "stop"`},
		{"two objects", uri("twin"), reason.Config, `more than one public key "twin": add id=BYTES to the URI, one of %02, %03`},
		{"another curve", uri("wide"), reason.KeyMalformed, "want ECDSA P-256 or Ed25519"},
		{"RSA", uri("rsa"), reason.KeyMalformed, "want ECDSA P-256 or Ed25519"},
		{"missing module", strings.Replace(uri("sign"), k.Module, "/nowhere/p11.so", 1), reason.Config, "/nowhere/p11.so"},
		{"rubbish module", strings.Replace(uri("sign"), k.Module, rubbish, 1), reason.Config, "is no PKCS#11 module"},
		{"folder as module", strings.Replace(uri("sign"), k.Module, "/usr", 1), reason.Config, "is not a file"},
		{"relative module", strings.Replace(uri("sign"), k.Module, "p11.so", 1), reason.Config, "not an absolute path"},
		{"no module", "pkcs11://token=chen-yubi;object=sign", reason.Config, "names no module"},
		{"exposed PIN file", uri("stop") + "&pin-source=file:" + exposed, reason.SecretExposed, "mode 0644"},
		{"missing PIN file", uri("stop") + "&pin-source=file:/nowhere/pin", reason.Config, "/nowhere/pin"},
		{"empty PIN file", uri("stop") + "&pin-source=file:" + pinFile(t, ""), reason.Config, "want a PIN"},
		{"PIN in two lines", uri("stop") + "&pin-source=file:" + pinFile(t, softhsm.PIN+"\n"), reason.Config, "control character"},
		{"PIN with a carriage return", uri("stop") + "&pin-source=file:" + pinFile(t, softhsm.PIN+"\r"), reason.Config, "control character"},
		{"PIN in a folder", uri("stop") + "&pin-source=file:/usr", reason.Config, "neither a file nor a pipe"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := kms.Open(t.Context(), c.uri, pkcs11(softhsm.PIN))
			refused(t, err, c.want, c.says)
		})
	}
	// The id tells twins apart.
	key, err := kms.Open(t.Context(), strings.Replace(uri("twin"), "object=twin", "object=twin;id=%03", 1), pkcs11(softhsm.PIN))
	if err != nil {
		t.Fatal(err)
	}
	verifies(t, key.Public(), key.Signer(t.Context()))
}

func TestWrongPINOfAToken(t *testing.T) {
	k := softhsm.New(t)
	softhsm.Plugin(t)
	if err := k.Make("sign", "01", softhsm.P256); err != nil {
		t.Fatal(err)
	}
	key, err := kms.Open(t.Context(), k.URI("sign"), pkcs11("000000"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = key.Signer(t.Context()).SignMessage(strings.NewReader("m"))
	refused(t, err, reason.WrongPIN, `token "chen-yubi" refused the PIN, 2 or more tries left; nothing was signed`)

	if key, err = kms.Open(t.Context(), k.URI("sign"), kms.Options{Allow: []string{"pkcs11"}, Timeout: patient}); err != nil {
		t.Fatal(err)
	}
	_, err = key.Signer(t.Context()).SignMessage(strings.NewReader("m"))
	refused(t, err, reason.WrongPIN, `token "chen-yubi" wants a PIN: none was given`)
}

// Between Open and a signature another token of the same name is plugged in.
func TestTokenIsSwapped(t *testing.T) {
	k := softhsm.New(t)
	softhsm.Plugin(t)
	if err := k.Make("sign", "01", softhsm.P256); err != nil {
		t.Fatal(err)
	}
	key, err := kms.Open(t.Context(), k.URI("sign"), pkcs11(softhsm.PIN))
	if err != nil {
		t.Fatal(err)
	}
	verifies(t, key.Public(), key.Signer(t.Context()))
	tokens := filepath.Join(k.Dir, "tokens")
	if err := os.RemoveAll(tokens); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(tokens, 0o700); err != nil {
		t.Fatal(err)
	}
	_, err = key.Signer(t.Context()).SignMessage(strings.NewReader("m"))
	refused(t, err, reason.NotFound, `token "chen-yubi" is not plugged in`)
	other, err := softhsm.In(k.Dir, "chen-yubi")
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Make("sign", "01", softhsm.P256); err != nil {
		t.Fatal(err)
	}
	_, err = key.Signer(t.Context()).SignMessage(strings.NewReader("m"))
	refused(t, err, reason.SignatureBad, "not by the key it showed before; nothing was signed")
}

// The service manager gives a credential to one user by an access list, whose mask shows as the group's
// bits.
func TestPINAsACredential(t *testing.T) {
	k := softhsm.New(t)
	softhsm.Plugin(t)
	if err := k.Make("sign", "01", softhsm.P256); err != nil {
		t.Fatal(err)
	}
	pin := pinFile(t, softhsm.PIN)
	sign := func() error {
		key, err := kms.Open(t.Context(), k.URI("sign")+"&pin-source=file:"+pin, kms.Options{Allow: []string{"pkcs11"}, Timeout: patient})
		if err != nil {
			t.Fatal(err)
		}
		_, err = key.Signer(t.Context()).SignMessage(strings.NewReader("m"))
		return err
	}
	if err := os.Chmod(pin, 0o640); err != nil {
		t.Fatal(err)
	}
	refused(t, sign(), reason.SecretExposed, "mode 0640")
	t.Setenv("CREDENTIALS_DIRECTORY", filepath.Dir(pin))
	if err := sign(); err != nil {
		t.Error(err)
	}
	if err := os.Chmod(pin, 0o644); err != nil {
		t.Fatal(err)
	}
	refused(t, sign(), reason.SecretExposed, "mode 0644")
}
