package kms_test

import (
	"context"
	"crypto"
	"encoding/hex"
	"errors"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode"

	"github.com/countersign-ota/countersign/internal/kms"
	"github.com/countersign-ota/countersign/proto/reason"
)

func ignoreAll() { signal.Ignore() }

// patient is long enough for everything that ends by itself; what hangs gets a context that ends.
const patient = 5 * time.Minute

func evil(timeout time.Duration) kms.Options {
	return kms.Options{Allow: []string{"evil"}, Timeout: timeout}
}

// refused checks a refusal: reason, words of its text, and that the text may stand in one line.
func refused(t *testing.T, err error, want reason.Reason, words ...string) {
	t.Helper()
	if !reason.Is(err, want) {
		t.Fatalf("got %v [%s], want reason %s", err, reason.Of(err), want)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
	if strings.IndexFunc(err.Error(), func(r rune) bool { return !unicode.IsPrint(r) }) >= 0 {
		t.Errorf("%q cannot be shown in a line", err)
	}
	if len(err.Error()) > 2000 {
		t.Errorf("an error of %d bytes: %.200q", len(err.Error()), err)
	}
}

func TestHostilePluginShowsAKey(t *testing.T) {
	plugins(t)
	for _, c := range []struct {
		how  string
		want reason.Reason
		says string
	}{
		{"silent", reason.PluginFailed, "no answer"},
		{"status", reason.PluginFailed, "exit status 3"},
		{"stderr-status", reason.PluginFailed, `it says: reader \u{1b}[2J gone\u{a}now`},
		{"killed", reason.PluginFailed, "signal: killed"},
		{"rubbish", reason.PluginFailed, "not a JSON object"},
		{"flood", reason.PluginFailed, "more than 65536 bytes"},
		{"twice", reason.PluginFailed, "not a JSON object"},
		{"array", reason.PluginFailed, "not a JSON object"},
		{"null", reason.PluginFailed, "no member publicKey"},
		{"empty-object", reason.PluginFailed, "no member publicKey"},
		{"null-member", reason.PluginFailed, "no public key"},
		{"number", reason.PluginFailed, "cannot be read"},
		{"no-base64", reason.PluginFailed, "cannot be read"},
		{"error-number", reason.PluginFailed, "errorMessage is not a text"},
		{"other-member", reason.PluginFailed, "no member publicKey"},
		{"folded", reason.PluginFailed, "no member publicKey"},
		{"status-and-answer", reason.PluginFailed, "exit status 1 beside an answer"},
		{"long-error", reason.PluginFailed, `\u{1b}[31m\u{202e}\u{fffd}bad`},
		{"huge-error", reason.PluginFailed, "more than 65536 bytes"},
		{"pem-rsa", reason.KeyMalformed, "PUBLIC KEY"},
		{"pem-text", reason.KeyMalformed, "PUBLIC KEY"},
		{"pem-two", reason.KeyMalformed, "PUBLIC KEY"},
		{"pem-weak", reason.KeyMalformed, "order"},
		{"pem-p384", reason.KeyMalformed, "P-256"},
	} {
		t.Run(c.how, func(t *testing.T) {
			k, err := kms.Open(t.Context(), "evil://"+c.how, evil(patient))
			if k != nil {
				t.Error("a key beside an error")
			}
			refused(t, err, c.want, c.says)
		})
	}
}

func TestHostilePluginSigns(t *testing.T) {
	plugins(t)
	for _, c := range []struct {
		how  string
		want reason.Reason
		says string
	}{
		{"silent", reason.PluginFailed, "no answer"},
		{"flood", reason.PluginFailed, "more than 65536 bytes"},
		{"empty-object", reason.PluginFailed, "no member signMessage"},
		{"null-member", reason.PluginFailed, "no signature"},
		{"number", reason.PluginFailed, "cannot be read"},
		{"folded", reason.PluginFailed, "no member signMessage"},
		{"long-signature", reason.PluginFailed, "2000 bytes"},
		{"status-and-signature", reason.PluginFailed, "exit status 1 beside an answer"},
		{"another-signs", reason.SignatureBad, "not by the key it showed before; nothing was signed"},
		{"another-message", reason.SignatureBad, "not by the key it showed before; nothing was signed"},
	} {
		t.Run(c.how, func(t *testing.T) {
			k, err := kms.Open(t.Context(), "evil://late-"+c.how, evil(patient))
			if err != nil {
				t.Fatal(err)
			}
			sig, err := k.Signer(t.Context()).SignMessage(strings.NewReader("a role file"))
			if sig != nil {
				t.Error("a signature beside an error")
			}
			refused(t, err, c.want, c.says)
		})
	}
}

// What only looks bad must work: much on stderr, a child that holds the pipe.
func TestNoisyPluginWorks(t *testing.T) {
	dir := plugins(t)
	for _, how := range []string{"flood-stderr", "child-holds"} {
		k, err := kms.Open(t.Context(), "evil://"+how, evil(patient))
		if err != nil {
			t.Fatalf("%s: %v", how, err)
		}
		if !seeded(0).Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(k.Public()) {
			t.Errorf("%s: another key", how)
		}
	}
	gone(t, filepath.Join(dir, "child"))
}

// A child that left the process group and holds the pipe costs the answer, but does not hold us.
func TestEscapedChildHoldsThePipe(t *testing.T) {
	dir := plugins(t)
	_, err := kms.Open(t.Context(), "evil://escaped-child-holds", evil(patient))
	refused(t, err, reason.PluginFailed, "left behind holds its output open")
	if err := syscall.Kill(pidIn(t, filepath.Join(dir, "child")), syscall.SIGKILL); err != nil {
		t.Error(err)
	}
}

func TestHangingPluginIsEnded(t *testing.T) {
	for _, how := range []string{"hang", "deaf"} {
		t.Run(how, func(t *testing.T) {
			plugins(t)
			_, err := kms.Open(t.Context(), "evil://"+how, evil(time.Second))
			refused(t, err, reason.PluginFailed, "no answer in time (at most 1s)")
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v does not wrap the deadline", err)
			}
		})
	}
}

func TestCallEndsWithItsContext(t *testing.T) {
	dir := plugins(t)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer cancel()
		for range 30_000 { // until both run
			if _, err := os.Stat(filepath.Join(dir, "child")); err == nil {
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	_, err := kms.Open(ctx, "evil://hang", evil(patient))
	refused(t, err, reason.PluginFailed, "ended with the command")
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v does not wrap the context's end", err)
	}
	gone(t, filepath.Join(dir, "leader"))
	gone(t, filepath.Join(dir, "child"))
}

func pidIn(t *testing.T, file string) int {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(string(data))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// gone waits until the process whose number the file holds has ended. One that was killed and that
// nobody reaps (its parent died too, and the machine has no init) counts as ended.
func gone(t *testing.T, file string) {
	t.Helper()
	pid := pidIn(t, file)
	for range 30_000 {
		stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
		if err != nil {
			return
		}
		if _, after, ok := strings.Cut(string(stat), ") "); ok && strings.HasPrefix(after, "Z") {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Errorf("process %d of %s lives on", pid, filepath.Base(file))
}

func TestPluginErrorsHaveReasons(t *testing.T) {
	plugins(t)
	for _, c := range []struct {
		message string
		want    reason.Reason
		text    string
	}{
		{`token "x" refused the PIN, 1 try left [wrong-pin]`, reason.WrongPIN, `token "x" refused the PIN, 1 try left`},
		{`no token [not-found]`, reason.NotFound, `no token`},
		{`in use [exists]`, reason.Exists, `in use`},
		{`bad URI [config]`, reason.Config, `bad URI`},
		{`odd key [key-malformed]`, reason.KeyMalformed, `odd key`},
		{`mode 0644 [secret-exposed]`, reason.SecretExposed, `mode 0644`},
		{`CKR_DEVICE_ERROR [plugin-failed]`, reason.PluginFailed, `plug-in sigstore-kms-evil failed: CKR_DEVICE_ERROR`},
		{`it says [signature-bad]`, reason.PluginFailed, `plug-in sigstore-kms-evil failed: it says [signature-bad]`},
		{`Key does not exist in region`, reason.NotFound, `plug-in sigstore-kms-evil: Key does not exist in region`},
		{`open /x: no such file or directory`, reason.NotFound, `plug-in sigstore-kms-evil: open /x: no such file or directory`},
		{`lookup kms.example: no such host`, reason.PluginFailed, `plug-in sigstore-kms-evil failed: lookup kms.example: no such host`},
		{`access denied`, reason.PluginFailed, `plug-in sigstore-kms-evil failed: access denied`},
		{`wants its PIN [pin-wanted]`, reason.WrongPIN, `wants its PIN`},
		{`[wrong-pin]`, reason.PluginFailed, `plug-in sigstore-kms-evil failed: [wrong-pin]`},
		{"a\ncountersign: hint: paste this [not-found]", reason.NotFound, `a\u{a}countersign: hint: paste this`},
	} {
		_, err := kms.Open(t.Context(), "evil://says?"+hex.EncodeToString([]byte(c.message)), evil(patient))
		refused(t, err, c.want)
		if err.Error() != c.text {
			t.Errorf("%q became %q, want %q", c.message, err, c.text)
		}
	}
}
