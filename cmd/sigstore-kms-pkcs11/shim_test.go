//go:build cgo

package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/countersign-ota/countersign/integration/softhsm"
	"github.com/countersign-ota/countersign/internal/kms"
	"github.com/countersign-ota/countersign/proto/reason"
)

// shim is a token behind testdata/shim.c.
type shim struct {
	*softhsm.Token
	logins string // a file with one byte a log-in
}

func newShim(t *testing.T) *shim {
	t.Helper()
	k := softhsm.New(t)
	softhsm.Plugin(t)
	headers, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/miekg/pkcs11").Output()
	if err != nil {
		t.Fatal(err)
	}
	module := filepath.Join(t.TempDir(), "shim.so")
	cc := exec.Command("gcc", "-shared", "-fPIC", "-I", strings.TrimSpace(string(headers)), "-o", module, "testdata/shim.c", "-ldl")
	if out, err := cc.CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	s := &shim{Token: k, logins: filepath.Join(t.TempDir(), "logins")}
	t.Setenv("SHIM_REAL", k.Module)
	t.Setenv("SHIM_LOGINS", s.logins)
	k.Module = module
	return s
}

// tries returns the number of log-ins since the last call.
func (s *shim) tries(t *testing.T) int {
	t.Helper()
	data, err := os.ReadFile(s.logins)
	if os.IsNotExist(err) {
		return 0
	}
	if err == nil {
		err = os.Remove(s.logins)
	}
	if err != nil {
		t.Fatal(err)
	}
	return len(data)
}

func options(pin string) kms.Options {
	return kms.Options{
		Allow: []string{"pkcs11"}, Timeout: 5 * time.Minute,
		PIN: func(context.Context) ([]byte, error) { return []byte(pin), nil },
	}
}

func TestTokensThatRefuse(t *testing.T) {
	s := newShim(t)
	if err := s.Make("sign", "01", softhsm.P256); err != nil {
		t.Fatal(err)
	}
	s.tries(t)
	for _, c := range []struct {
		how, pin string
		want     reason.Reason
		says     string
		tries    int
	}{
		{"honest", "000000", reason.WrongPIN, `token "chen-yubi" refused the PIN, and does not say how many tries are left`, 1},
		{"final-try", "000000", reason.WrongPIN, `token "chen-yubi" refused the PIN, 1 try left`, 1},
		{"locks", "000000", reason.WrongPIN, `token "chen-yubi" refused the PIN, no try left: it is blocked`, 1},
		{"locked", softhsm.PIN, reason.WrongPIN, `token "chen-yubi" is blocked after wrong PINs`, 1},
		{"locked-already", softhsm.PIN, reason.WrongPIN, `token "chen-yubi" is blocked after wrong PINs`, 0},
		{"no-pin-yet", softhsm.PIN, reason.Config, `token "chen-yubi" has no user PIN yet`, 0},
		{"expired", softhsm.PIN, reason.WrongPIN, `token "chen-yubi" wants a new PIN`, 1},
		{"device", softhsm.PIN, reason.PluginFailed, `token "chen-yubi": cannot log in`, 1},
		{"pulled-out", softhsm.PIN, reason.PluginFailed, `token "chen-yubi": cannot sign`, 1},
		{"short", softhsm.PIN, reason.PluginFailed, `the signature has the wrong length`, 1},
		{"lies", softhsm.PIN, reason.SignatureBad, `nothing was signed`, 1},
		{"crashes", softhsm.PIN, reason.PluginFailed, `no answer`, 1},
	} {
		t.Run(c.how, func(t *testing.T) {
			t.Setenv("SHIM_HOW", c.how)
			k, err := kms.Open(t.Context(), s.URI("sign"), options(c.pin))
			if err != nil {
				t.Fatal(err)
			}
			for range 2 { // the second time too, without another try where it was the PIN
				sig, err := k.Signer(t.Context()).SignMessage(strings.NewReader("m"))
				if sig != nil || !reason.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
					t.Errorf("got %v [%s], want %s [%s]", err, reason.Of(err), c.says, c.want)
				}
				if c.want != reason.WrongPIN {
					break
				}
			}
			if n := s.tries(t); n != c.tries {
				t.Errorf("%d log-ins, want %d", n, c.tries)
			}
		})
	}
}

func TestTokensThatWork(t *testing.T) {
	s := newShim(t)
	if err := s.Make("sign", "01", softhsm.P256); err != nil {
		t.Fatal(err)
	}
	if err := s.Make("careful", "02", softhsm.P256, "--always-auth"); err != nil {
		t.Fatal(err)
	}
	s.tries(t)
	for _, c := range []struct {
		how, object string
		tries       int
	}{
		{"honest", "sign", 1},
		{"prints", "sign", 1},
		{"bare-point", "sign", 1},
		{"honest", "careful", 2},  // once for the token, once for the key
		{"open-token", "sign", 1}, // for the key alone
	} {
		t.Run(c.how+" "+c.object, func(t *testing.T) {
			t.Setenv("SHIM_HOW", c.how)
			k, err := kms.Open(t.Context(), s.URI(c.object), options(softhsm.PIN))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := k.Signer(t.Context()).SignMessage(strings.NewReader("m")); err != nil {
				t.Fatal(err)
			}
			if n := s.tries(t); n != c.tries {
				t.Errorf("%d log-ins, want %d", n, c.tries)
			}
		})
	}
}

func TestKeysThatMustNotBe(t *testing.T) {
	s := newShim(t)
	if err := s.Make("sign", "01", softhsm.P256); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SHIM_HOW", "odd-point")
	if _, err := kms.Open(t.Context(), s.URI("sign"), options(softhsm.PIN)); !reason.Is(err, reason.KeyMalformed) {
		t.Errorf("a point beside the curve: %v", err)
	}
	t.Setenv("SHIM_HOW", "gives-away")
	_, err := kms.Create(t.Context(), s.URI("new"), "p256", options(softhsm.PIN))
	if !reason.Is(err, reason.PluginFailed) || !strings.Contains(err.Error(), "would give its private half away") {
		t.Errorf("a key that can be taken out: %v", err)
	}
	t.Setenv("SHIM_HOW", "honest")
	if _, err := kms.Open(t.Context(), s.URI("new"), options(softhsm.PIN)); !reason.Is(err, reason.NotFound) {
		t.Errorf("it stayed behind: %v", err)
	}
}
