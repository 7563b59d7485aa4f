package kms_test

import (
	"bytes"
	"crypto"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sigstore/sigstore/pkg/signature"
	sigkms "github.com/sigstore/sigstore/pkg/signature/kms"
	"github.com/sigstore/sigstore/pkg/signature/options"

	"github.com/countersign-ota/countersign/internal/kms"
	"github.com/countersign-ota/countersign/proto/reason"
)

func TestCreateWithAHostilePlugin(t *testing.T) {
	for _, c := range []struct {
		how  string
		want reason.Reason
		says string
	}{
		{"create-exists", reason.Exists, "there already"},
		{"create-swaps", reason.PluginFailed, "shows another at the second look"},
		{"create-other-type", reason.PluginFailed, "asked for a key of type ed25519 it made one of type ecdsa"},
	} {
		t.Run(c.how, func(t *testing.T) {
			dir := plugins(t)
			_, err := kms.Create(t.Context(), "evil://"+c.how, "ed25519", evil(patient))
			refused(t, err, c.want, c.says)
			_, err = os.Stat(filepath.Join(dir, "created"))
			if made := err == nil; made != (c.how != "create-exists") {
				t.Errorf("createKey was called: %t", made)
			}
		})
	}
	dir := plugins(t)
	if _, err := kms.Create(t.Context(), "evil://create", "ed25519", evil(patient)); err != nil {
		t.Fatal(err)
	}
	if name, err := os.ReadFile(filepath.Join(dir, "created")); err != nil || string(name) != "ED25519" {
		t.Errorf("asked for %q (%v), want the plug-in's own spelling", name, err)
	}
	plugins(t)
	_, err := kms.Create(t.Context(), "evil://create", "p256", evil(patient))
	refused(t, err, reason.Config, "makes no p256 keys; it makes rsa-2048, ED25519")
	plugins(t)
	_, err = kms.Create(t.Context(), "evil://create", "rsa", evil(patient))
	refused(t, err, reason.Config, `key type "rsa"`)
}

// A plug-in that others write, with the library's handler, and our client.
func TestStockPlugin(t *testing.T) {
	dir := plugins(t)
	for _, algorithm := range []string{"ed25519", "p256"} {
		o := kms.Options{Allow: []string{"pkcs11", "stock"}}
		uri := "stock://" + filepath.Join(dir, algorithm)
		_, err := kms.Open(t.Context(), uri, o)
		refused(t, err, reason.NotFound, "no such file")
		made, err := kms.Create(t.Context(), uri, algorithm, o)
		if err != nil {
			t.Fatal(err)
		}
		_, err = kms.Create(t.Context(), uri, algorithm, o)
		refused(t, err, reason.Exists)
		k, err := kms.Open(t.Context(), uri, o)
		if err != nil {
			t.Fatal(err)
		}
		verifies(t, made.Public(), k.Signer(t.Context()))
	}
}

// verifies checks a signature of s with the library.
func verifies(t *testing.T, pub crypto.PublicKey, s signature.Signer) {
	t.Helper()
	message := []byte(`{"_type":"targets"}`)
	sig, err := s.SignMessage(bytes.NewReader(message))
	if err != nil {
		t.Fatal(err)
	}
	v, err := signature.LoadVerifier(pub, crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.VerifySignature(bytes.NewReader(sig), bytes.NewReader(message)); err != nil {
		t.Error(err)
	}
}

// The library's client and ours send a plug-in the same arguments, up to the deadline, which the library
// sends only if there is one.
func TestArgumentsOfTheLibrary(t *testing.T) {
	dir := plugins(t)
	uri := "stock://" + filepath.Join(dir, "key")
	o := kms.Options{Allow: []string{"stock"}}
	read := func(method string) string {
		data, err := os.ReadFile(filepath.Join(dir, "args-"+method))
		if err != nil {
			t.Fatal(err)
		}
		version, args, _ := strings.Cut(string(data), " ")
		var v any
		if err := json.Unmarshal([]byte(args), &v); err != nil {
			t.Fatal(err)
		}
		forget(v)
		clean, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return version + " " + string(clean)
	}
	k, err := kms.Create(t.Context(), uri, "p256", o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Signer(t.Context()).SignMessage(strings.NewReader("m")); err != nil {
		t.Fatal(err)
	}
	methods := []string{"publicKey", "signMessage", "createKey", "supportedAlgorithms"}
	ours := map[string]string{}
	for _, m := range methods {
		ours[m] = read(m)
	}
	lib, err := sigkms.Get(t.Context(), uri, crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lib.PublicKey(); err != nil {
		t.Fatal(err)
	}
	if _, err := lib.SignMessage(strings.NewReader("m")); err != nil {
		t.Fatal(err)
	}
	lib.SupportedAlgorithms()
	if _, err := lib.CreateKey(t.Context(), "ecdsa-p256"); err != nil {
		t.Fatal(err)
	}
	for _, m := range methods {
		if got := read(m); got != ours[m] {
			t.Errorf("%s: the library sends\n%s\nours\n%s", m, got, ours[m])
		}
	}
}

// forget removes deadlines, and what is null and could as well be absent.
func forget(v any) {
	m, ok := v.(map[string]any)
	if !ok {
		return
	}
	for name, value := range m {
		if name == "ctxDeadline" || value == nil {
			delete(m, name)
		}
		forget(value)
	}
}

func TestOnlyAllowedSchemesAreLookedUp(t *testing.T) {
	dir := plugins(t)
	for _, c := range []struct {
		uri   string
		allow []string
		want  reason.Reason
		says  string
	}{
		{"evil://x", nil, reason.Config, "allowed: none is"},
		{"evil://x", []string{"pkcs11", "stock"}, reason.Config, "allowed: pkcs11, stock"},
		{"../evil://x", []string{"../evil"}, reason.Config, "not NAME://REST"},
		{"EVIL://x", []string{"EVIL"}, reason.Config, "not NAME://REST"},
		{"evil://", []string{"evil"}, reason.Config, "not NAME://REST"},
		{"evil:x", []string{"evil"}, reason.Config, "not NAME://REST"},
		{"evil://a\x1b[2J", []string{"evil"}, reason.Config, "cannot be shown"},
		{"evil://" + strings.Repeat("a", 2048), []string{"evil"}, reason.Config, "2055 bytes"},
		{"evil://x?a=b&pin-value=1234", []string{"evil"}, reason.Config, "holds a PIN (pin-value)"},
		{"evil://x;pin-value=1234", []string{"evil"}, reason.Config, "holds a PIN (pin-value)"},
		{"evil://x?a?pin-value=1234", []string{"evil"}, reason.Config, "holds a PIN (pin-value)"},
		{"evil://x?Pin-Value=1234", []string{"evil"}, reason.Config, "holds a PIN (pin-value)"},
		{"evil:x?pin-value=1234", []string{"evil"}, reason.Config, "holds a PIN (pin-value)"},
		{"EVIL://x?pin-value=1234", []string{"evil"}, reason.Config, "holds a PIN (pin-value)"},
		{"evil://x\u200b?pin-value=1234", []string{"evil"}, reason.Config, "holds a PIN (pin-value)"},
		{"absent://x", []string{"absent"}, reason.PluginFailed, "cannot be run"},
	} {
		_, err := kms.Open(t.Context(), c.uri, kms.Options{Allow: c.allow})
		refused(t, err, c.want, c.says)
		if strings.Contains(err.Error()+reason.HintOf(err), "1234") {
			t.Errorf("%q shows the PIN", err)
		}
	}
	// Not in the current folder, whatever PATH says.
	t.Chdir(dir)
	t.Setenv("PATH", ".")
	_, err := kms.Open(t.Context(), "evil://x", evil(patient))
	refused(t, err, reason.PluginFailed, "cannot be run")
}

func TestIsURI(t *testing.T) {
	for ref, want := range map[string]bool{
		"pkcs11://token=a": true, "a://": true, "aws-kms://x": true,
		"chen.key": false, "/keys/chen.key": false, "C://x": false, "://x": false, "pkcs11:token=a": false,
		"": false, "../a://b": false, strings.Repeat("a", 33) + "://x": false,
	} {
		if got := kms.IsURI(ref); got != want {
			t.Errorf("IsURI(%q) = %t, want %t", ref, got, want)
		}
	}
}

func TestSignerRefusesWhatItDoesNotSign(t *testing.T) {
	plugins(t)
	k, err := kms.Open(t.Context(), "evil://good", evil(patient))
	if err != nil {
		t.Fatal(err)
	}
	s := k.Signer(t.Context())
	for name, opt := range map[string]signature.SignOption{
		"digest": options.WithDigest(make([]byte, 32)),
		"hash":   options.WithCryptoSignerOpts(crypto.SHA512),
	} {
		if _, err := s.SignMessage(strings.NewReader("m"), opt); err == nil {
			t.Errorf("a %s was taken", name)
		}
	}
	_, err = s.SignMessage(&zeros{})
	refused(t, err, reason.TooLarge)
	if _, err := s.SignMessage(strings.NewReader("m"), options.WithCryptoSignerOpts(crypto.SHA256), options.WithContext(t.Context())); err != nil {
		t.Error(err)
	}
	if kms.Timeout < 30*time.Second {
		t.Error("nobody touches a token that fast")
	}
}

// zeros never ends.
type zeros struct{}

func (*zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
