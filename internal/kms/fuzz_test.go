package kms

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/sigstore/sigstore/pkg/signature/kms/cliplugin/common"

	"github.com/countersign-ota/countersign/proto/reason"
)

// Whatever a plug-in prints, there is an answer within its bounds or an error that can be shown in a
// line, never both.
func FuzzAnswer(f *testing.F) {
	for _, s := range []string{
		``, `{}`, `null`, `[]`, `{"errorMessage":"x [wrong-pin]"}`, `{"errorMessage":""}`, `{"errorMessage":"\u001b[2J\u202e"}`,
		`{"publicKey":{"publicKeyPEM":"QUJD"}}`, `{"signMessage":{"signature":"QUJD"}}`, `{"createKey":{}}`,
		`{"supportedAlgorithms":{"supportedAlgorithms":["a","b"]}}`, `{"publicKey":null}`, "{\"errorMessage\":\"\xff\"}",
	} {
		for m := range methods {
			f.Add(m, []byte(s), []byte("warning: \x1b"))
		}
	}
	p := &plugin{name: "sigstore-kms-x"}
	f.Fuzz(func(t *testing.T, m int, stdout, stderr []byte) {
		method := methods[uint(m)%uint(len(methods))]
		a, err := p.judge(method, &output{stdout: stdout, stderr: stderr})
		if (a == nil) == (err == nil) {
			t.Fatalf("%v and %v", a, err)
		}
		if err == nil && (method == common.PublicKeyMethodName || method == common.CreateKeyMethodName) {
			_, err = p.parsePublicKey(a)
		}
		if a != nil && len(a.signature) > maxSignature || a != nil && method == common.SignMessageMethodName && len(a.signature) == 0 {
			t.Errorf("a signature of %d bytes", len(a.signature))
		}
		if err == nil {
			return
		}
		if reason.Of(err) == "" {
			t.Errorf("%v has no reason", err)
		}
		if !oneLine(err.Error()) || !oneLine(reason.HintOf(err)) {
			t.Errorf("%q cannot be shown", err)
		}
	})
}

var methods = []string{
	common.PublicKeyMethodName, common.SignMessageMethodName, common.CreateKeyMethodName, common.SupportedAlgorithmsMethodName,
}

func oneLine(s string) bool {
	return utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}

// A URI is refused as config, or names a plug-in by letters alone and carries no PIN; the pipe can be
// added to it once.
func FuzzURI(f *testing.F) {
	for _, s := range []string{"pkcs11://token=a;object=b?module-path=/m.so", "a://b", "a://?pin-value=1", "a://b?pin-source=file:/x", "://", "a-1://é"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		scheme, rest, err := split(uri)
		if err != nil {
			if !reason.Is(err, reason.Config) || !oneLine(err.Error()) {
				t.Fatalf("%q", err)
			}
			return
		}
		if !IsURI(uri) || scheme+"://"+rest != uri || strings.ContainsAny(scheme, "/.\\ ") || !oneLine(rest) {
			t.Errorf("took %q", uri)
		}
		if attribute(rest, "pin-value") {
			t.Errorf("took a PIN in %q", uri)
		}
		if with := withPipe(rest); !attribute(with, "pin-source") || !strings.HasPrefix(with, rest) {
			t.Errorf("%q became %q", rest, with)
		}
	})
}
