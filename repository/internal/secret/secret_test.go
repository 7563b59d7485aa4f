package secret

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign-ota/countersign/proto/reason"
)

func ed(t testing.TB) crypto.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestLoad(t *testing.T) {
	dir, creds := t.TempDir(), t.TempDir()
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]crypto.Signer{filepath.Join(dir, "a.key"): ed(t), filepath.Join(creds, "b"): p256} {
		data, err := Marshal(key)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := Source{Dir: dir, Credentials: creds}
	if err := os.Chmod(filepath.Join(creds, "b"), 0o440); err != nil { // as an access list's mask shows
		t.Fatal(err)
	}
	for _, ref := range []string{"a.key", filepath.Join(dir, "a.key"), "credential:b"} {
		if _, err := s.Load(ref); err != nil {
			t.Errorf("%s: %v", ref, err)
		}
	}
}

func TestLoadRefuses(t *testing.T) {
	dir := t.TempDir()
	good, err := Marshal(ed(t))
	if err != nil {
		t.Fatal(err)
	}
	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	wrongCurve, _ := Marshal(p384)
	rsaKey, _ := rsa.GenerateKey(rand.Reader, 2048)
	rsaPEM, _ := Marshal(rsaKey)
	sec1, _ := x509.MarshalECPrivateKey(p384)
	write := func(name string, data []byte, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), data, mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	write("good", good, 0o600)
	write("group", good, 0o640)
	write("others", good, 0o604)
	write("written", good, 0o602)
	write("empty", nil, 0o600)
	write("curve", wrongCurve, 0o600)
	write("rsa", rsaPEM, 0o600)
	write("twice", append(append([]byte{}, good...), good...), 0o600)
	write("sec1", pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1}), 0o600)
	write("large", make([]byte, maxKeyFile+1), 0o600)
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	with := Source{Dir: dir, Credentials: dir}
	for _, tt := range []struct {
		name string
		s    Source
		ref  string
		want reason.Reason
	}{
		{"nothing named", with, "", reason.Config},
		{"absent", with, "absent", reason.Config},
		{"group can read", with, "group", reason.SecretExposed},
		{"others can read", with, "others", reason.SecretExposed},
		{"others can write", with, "written", reason.SecretExposed},
		{"empty", with, "empty", reason.KeyMalformed},
		{"P-384", with, "curve", reason.KeyMalformed},
		{"RSA", with, "rsa", reason.KeyMalformed},
		{"two blocks", with, "twice", reason.KeyMalformed},
		{"SEC 1", with, "sec1", reason.KeyMalformed},
		{"large", with, "large", reason.TooLarge},
		{"folder", with, "folder", reason.Config},
		{"no credentials", Source{Dir: dir}, "credential:good", reason.Config},
		{"credential that others can read", with, "credential:others", reason.SecretExposed},
		{"credential with path", with, "credential:../good", reason.Config},
		{"credential without name", with, "credential:", reason.Config},
	} {
		t.Run(tt.name, func(t *testing.T) {
			key, err := tt.s.Load(tt.ref)
			if key != nil || reason.Of(err) != tt.want {
				t.Fatalf("got %v, %v; want %s", key, err, tt.want)
			}
		})
	}
}

func TestOnline(t *testing.T) {
	dir := t.TempDir()
	_, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	data, err := Marshal(priv)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "image.key"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	s := Source{Dir: dir, KMS: []string{"pkcs11"}}
	k, err := s.Online(t.Context(), "image.key")
	if err != nil {
		t.Fatal(err)
	}
	sig, err := k.SignMessage(strings.NewReader("m"))
	if err != nil || !ed25519.Verify(k.Public().(ed25519.PublicKey), []byte("m"), sig) {
		t.Errorf("signature %x, %v", sig, err)
	}
	for ref, want := range map[string]reason.Reason{
		"absent.key":  reason.Config,
		"":            reason.Config,
		"awskms://x":  reason.Config,
		"pkcs11://":   reason.Config,
		"pkcs11://x?": reason.PluginFailed, // no program, or one that refuses it
	} {
		t.Setenv("PATH", dir)
		if k, err := s.Online(t.Context(), ref); k != nil || !reason.Is(err, want) {
			t.Errorf("%q: got %v, %v, want %s", ref, k, err, want)
		}
	}
	const withPIN = "pkcs11:token=t;object=o?module-path=/m.so&pin-value=482913" // RFC 7512 has no slashes there
	_, err = s.Online(t.Context(), withPIN)
	if err == nil || strings.Contains(err.Error(), "482913") || !reason.Is(err, reason.Config) {
		t.Errorf("a PIN in a name: %v", err)
	}
	if err := s.CheckOnline(withPIN); err == nil || strings.Contains(err.Error(), "482913") || !reason.Is(err, reason.Config) {
		t.Errorf("a PIN in a name: %v", err)
	}
	if _, err := s.Load("pkcs11://token=t;object=o?module-path=/m.so"); !reason.Is(err, reason.Config) {
		t.Errorf("a key in a plug-in was loaded as a file: %v", err)
	}
}
