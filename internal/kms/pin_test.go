package kms_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/countersign-ota/countersign/internal/kms"
	"github.com/countersign-ota/countersign/proto/reason"
)

// times returns how often a plug-in noted name.
func times(t *testing.T, dir, name string) int {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return len(data)
}

func asked(pin string, n *int) kms.Options {
	o := evil(patient)
	o.PIN = func(context.Context) ([]byte, error) {
		*n++
		return []byte(pin), nil
	}
	return o
}

func TestPINIsAskedLateAndOnce(t *testing.T) {
	dir := plugins(t)
	n := 0
	k, err := kms.Open(t.Context(), "evil://late-pin?chen", asked("PIN-OF-chen", &n))
	if err != nil {
		t.Fatal(err)
	}
	if n != 0 {
		t.Fatal("the PIN was asked for although the public half needs none")
	}
	s := k.Signer(t.Context())
	for i := range 3 {
		message := bytes.Repeat([]byte("m"), 1+i*300_000) // more than a pipe takes
		sig, err := s.SignMessage(bytes.NewReader(message))
		if err != nil {
			t.Fatal(err)
		}
		if !ed25519.Verify(seeded(0).Public().(ed25519.PublicKey), message, sig) {
			t.Error("the signature is not over the message")
		}
	}
	if n != 1 {
		t.Errorf("asked %d times, want 1", n)
	}
	if got := times(t, dir, "right"); got != 3 {
		t.Errorf("%d calls with the PIN, want 3", got)
	}
}

func TestWrongPINIsTriedOnce(t *testing.T) {
	dir := plugins(t)
	n := 0
	k, err := kms.Open(t.Context(), "evil://late-pin?chen", asked("PIN-OF-rivera", &n))
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	errs := make([]error, 5)
	for i := range errs { // at the same time, as a server does
		all.Go(func() { _, errs[i] = k.Signer(t.Context()).SignMessage(strings.NewReader("m")) })
	}
	all.Wait()
	for _, err := range errs {
		refused(t, err, reason.WrongPIN, `token "x" refused the PIN, 1 try left; nothing was signed`)
	}
	if got := times(t, dir, "wrong"); n != 1 || got != 1 {
		t.Errorf("asked %d times, tried %d times, want 1 and 1", n, got)
	}
}

func TestPINOfAllCallsAtOnce(t *testing.T) {
	dir := plugins(t)
	n := 0
	k, err := kms.Open(t.Context(), "evil://late-pin?chen", asked("PIN-OF-chen", &n))
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 5 {
		all.Go(func() {
			if _, err := k.Signer(t.Context()).SignMessage(strings.NewReader("m")); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got := times(t, dir, "right"); n != 1 || got != 5 {
		t.Errorf("asked %d times, used %d times, want 1 and 5", n, got)
	}
}

func TestPINThatNobodyGives(t *testing.T) {
	dir := plugins(t)
	k, err := kms.Open(t.Context(), "evil://late-pin?chen", evil(patient))
	if err != nil {
		t.Fatal(err)
	}
	_, err = k.Signer(t.Context()).SignMessage(strings.NewReader("m"))
	refused(t, err, reason.WrongPIN, "this token wants its PIN")
	if hint := reason.HintOf(err); !strings.Contains(hint, "pin-source=file:/PATH") {
		t.Errorf("hint %q", hint)
	}

	declined := reason.Errorf(reason.NoTerminal, "cannot ask")
	o := evil(patient)
	o.PIN = func(context.Context) ([]byte, error) { return nil, declined }
	_, err = kms.Open(t.Context(), "evil://pin?chen", o)
	refused(t, err, reason.NoTerminal, "cannot ask")

	for _, pin := range []string{"", strings.Repeat("9", 1025), "PIN-OF-chen\n", "PIN-OF-chen\r", "PIN\x00"} {
		n := 0
		_, err = kms.Open(t.Context(), "evil://pin?chen", asked(pin, &n))
		refused(t, err, reason.WrongPIN, "the PIN")
	}
	if times(t, dir, "wrong") != 0 {
		t.Error("a PIN was sent")
	}
}

// A URI that says where the PIN lies is passed on as it is.
func TestPINSourceOfTheURI(t *testing.T) {
	plugins(t)
	n := 0
	_, err := kms.Open(t.Context(), "evil://pin?chen&pin-source=file:/run/pin", asked("PIN-OF-chen", &n))
	refused(t, err, reason.PluginFailed, "a strange pin-source")
	if n != 0 {
		t.Error("the PIN was asked for")
	}
}
