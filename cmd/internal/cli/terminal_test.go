package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/countersign-ota/countersign/internal/ptytest"
	"github.com/countersign-ota/countersign/proto/reason"
)

// on returns a Terminal that asks at p.
func on(p *ptytest.PTY) *Terminal {
	return &Terminal{open: func() (*os.File, error) { return p.Program(), nil }}
}

func TestAskWantsTheWholeWord(t *testing.T) {
	for _, tt := range []struct {
		answer string
		want   reason.Reason
		text   string
	}{
		{"yes\n", "", ""},
		{"y\n", reason.Declined, `not signed: the answer was "y", not "yes"`},
		{"YES\n", reason.Declined, `not signed: the answer was "YES", not "yes"`},
		{" yes\n", reason.Declined, `not signed: the answer was " yes", not "yes"`},
		{"\n", reason.Declined, `not signed: the answer was "", not "yes"`},
		{"\x04", reason.Declined, `not signed: the answer was "", not "yes"`},
		{"n\u202eo\n", reason.Declined, `not signed: the answer was "n\u{202e}o", not "yes"`},
		{strings.Repeat("y", 2000) + "\n", reason.Declined, "the answer is longer than 1024 bytes"},
	} {
		t.Run(tt.answer[:min(8, len(tt.answer))], func(t *testing.T) {
			p := ptytest.Open(t)
			p.Type(tt.answer)
			err := on(p).AskToSign(t.Context(), "Sign?", "not signed", "--expect ID")
			if reason.Of(err) != tt.want || err != nil && err.Error() != tt.text {
				t.Errorf("got %v [%s], want %q [%s]", err, reason.Of(err), tt.text, tt.want)
			}
		})
	}
}

func TestAskWithoutTerminal(t *testing.T) {
	absent := &Terminal{open: func() (*os.File, error) { return nil, os.ErrNotExist }}
	for name, term := range map[string]*Terminal{"no terminal": absent, "--no-input": {NoInput: true}} {
		t.Run(name, func(t *testing.T) {
			err := term.AskToSign(t.Context(), "Sign?", "not signed", "--expect ID")
			if !reason.Is(err, reason.NoTerminal) || reason.HintOf(err) != "add --expect ID" {
				t.Errorf("got %v, hint %q", err, reason.HintOf(err))
			}
			_, err = term.Passphrase(t.Context(), "chen, key 3abd72ec6352")
			if got, want := fmt.Sprint(err), "cannot ask for the passphrase of chen, key 3abd72ec6352: no terminal"; got != want || !reason.Is(err, reason.NoTerminal) {
				t.Errorf("got %q [%s], want %q", got, reason.Of(err), want)
			}
			if got, want := reason.HintOf(err), "add --passphrase-file FILE"; got != want {
				t.Errorf("hint %q, want %q", got, want)
			}
		})
	}
}

func TestYesAnswersOrdinaryQuestionsOnly(t *testing.T) {
	term := &Terminal{Yes: true, NoInput: true}
	if err := term.Ask(t.Context(), "Pin?", "not pinned", "--yes"); err != nil {
		t.Error(err)
	}
	if err := term.AskToSign(t.Context(), "Sign?", "not signed", "--expect ID"); !reason.Is(err, reason.NoTerminal) {
		t.Errorf("--yes answered a question about signing: %v", err)
	}
}

func TestAskEndsWithItsContext(t *testing.T) {
	p := ptytest.Open(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := on(p).Ask(ctx, "Pin?", "not pinned", "--yes"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestPassphraseIsAskedOnceAndNotShown(t *testing.T) {
	p := ptytest.Open(t)
	term := on(p)
	got := make(chan string, 1)
	go func() {
		pass, err := term.Passphrase(t.Context(), "chen, key 3abd72ec6352")
		got <- fmt.Sprintf("%s %v", pass, err)
	}()
	p.WaitFor("3abd72ec6352: ")
	p.WaitEcho(false)
	p.Type("correct horse\n")
	if g := <-got; g != "correct horse <nil>" {
		t.Fatalf("got %q", g)
	}
	again, err := term.Passphrase(t.Context(), "chen, key 3abd72ec6352")
	if err != nil || string(again) != "correct horse" {
		t.Errorf("asked again: %q, %v", again, err)
	}
	if s := p.Shown(); strings.Contains(s, "horse") || strings.Count(s, "Passphrase") != 1 {
		t.Errorf("the terminal shows %q", s)
	}
}

// A PIN is asked for once by person and key, and an empty one never reaches a token.
func TestPIN(t *testing.T) {
	p := ptytest.Open(t)
	term := on(p)
	p.Type("482913\n")
	for range 2 {
		if got, err := term.PIN(t.Context(), "chen, key 3abd72ec6352"); err != nil || string(got) != "482913" {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	p.Type("secret\n")
	if got, err := term.Passphrase(t.Context(), "chen, key 3abd72ec6352"); err != nil || string(got) != "secret" {
		t.Errorf("the PIN was taken for a passphrase: %q, %v", got, err)
	}
	p.Type("\n")
	if got, err := term.PIN(t.Context(), "okafor, key 5d1f0c22ab90"); got != nil || !reason.Is(err, reason.WrongPIN) {
		t.Errorf("got %q, %v", got, err)
	}
	if n := strings.Count(p.Shown(), "PIN for chen, key 3abd72ec6352: "); n != 1 {
		t.Errorf("asked %d times", n)
	}
	nobody := &Terminal{NoInput: true}
	if _, err := nobody.PIN(t.Context(), "chen, key 3abd72ec6352"); !reason.Is(err, reason.NoTerminal) || !strings.Contains(err.Error(), "the PIN of chen") {
		t.Errorf("got %v", err)
	}
}

func TestNewPassphrase(t *testing.T) {
	for _, tt := range []struct {
		name, typed, want string
		reason            reason.Reason
	}{
		{"twice the same", "abc\nabc\n", "abc", ""},
		{"differing", "abc\nabd\n", "", reason.WrongPassphrase},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := ptytest.Open(t)
			p.Type(tt.typed)
			got, err := on(p).NewPassphrase(t.Context(), "rivera")
			if string(got) != tt.want || reason.Of(err) != tt.reason {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
	t.Run("empty makes one, another each time", func(t *testing.T) {
		seen := map[string]bool{}
		for range 20 {
			p := ptytest.Open(t)
			p.Type("\n")
			got, err := on(p).NewPassphrase(t.Context(), "rivera")
			if err != nil || len(got) != 29 || seen[string(got)] {
				t.Fatalf("got %q, %v", got, err)
			}
			seen[string(got)] = true
			p.WaitFor(string(got) + "\r\n")
			if n := strings.Count(p.Shown(), string(got)); n != 1 {
				t.Errorf("shown %d times", n)
			}
		}
	})
}

func TestPassphraseFile(t *testing.T) {
	for _, tt := range []struct {
		name, content string
		mode          os.FileMode
		want          string
		reason        reason.Reason
		text          string
	}{
		{"one newline is cut", "secret\n", 0o600, "secret", "", ""},
		{"only one", "secret\n\n", 0o600, "secret\n", "", ""},
		{"none to cut", "secret", 0o400, "secret", "", ""},
		{"spaces stay", " secret \r\n", 0o600, " secret ", "", ""},
		{"empty", "", 0o600, "", reason.WrongPassphrase, "is empty"},
		{"only a newline", "\n", 0o600, "", reason.WrongPassphrase, "is empty"},
		{"too long", strings.Repeat("x", 1025), 0o600, "", reason.WrongPassphrase, "longer than 1024 bytes"},
		{"readable by the group", "secret\n", 0o640, "", reason.SecretExposed, "pass can be read by others, mode 0640"},
		{"readable by all", "secret\n", 0o604, "", reason.SecretExposed, "mode 0604"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "pass")
			if err := os.WriteFile(path, []byte(tt.content), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, tt.mode); err != nil {
				t.Fatal(err)
			}
			term := &Terminal{NoInput: true, PassphraseFile: path}
			for range 2 { // a second key of the same command
				got, err := term.Passphrase(t.Context(), "rivera")
				if string(got) != tt.want || reason.Of(err) != tt.reason || err != nil && !strings.Contains(err.Error(), tt.text) {
					t.Errorf("got %q, %v [%s]", got, err, reason.Of(err))
				}
			}
		})
	}
	t.Run("absent", func(t *testing.T) {
		_, err := (&Terminal{PassphraseFile: filepath.Join(t.TempDir(), "none")}).Passphrase(t.Context(), "rivera")
		if !reason.Is(err, reason.UsageError) {
			t.Errorf("got %v", err)
		}
	})
}

func TestPassphraseFD(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.WriteString("secret\n"); err != nil {
		t.Fatal(err)
	}
	w.Close()
	fd, err := unix.Dup(int(r.Fd())) // the terminal closes what it reads
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	term := &Terminal{NoInput: true, PassphraseFD: fmt.Sprint(fd)}
	for range 2 {
		if got, err := term.NewPassphrase(t.Context(), "rivera"); err != nil || string(got) != "secret" {
			t.Errorf("got %q, %v", got, err)
		}
	}
	for _, bad := range []string{"-1", "x", "99999999", "65000"} {
		if _, err := (&Terminal{PassphraseFD: bad}).Passphrase(t.Context(), "x"); !reason.Is(err, reason.UsageError) {
			t.Errorf("fd %q: %v", bad, err)
		}
	}
	if _, err := (&Terminal{PassphraseFD: "3", PassphraseFile: "x"}).Passphrase(t.Context(), "x"); !reason.Is(err, reason.UsageError) {
		t.Errorf("both: %v", err)
	}
}

// Nothing comes from the descriptor or the pipe: the command still ends when it is told to.
func TestPassphraseThatDoesNotCome(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	fd, err := unix.Dup(int(r.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	fifo := filepath.Join(t.TempDir(), "pass")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, term := range map[string]*Terminal{"descriptor": {PassphraseFD: fmt.Sprint(fd)}, "named pipe": {PassphraseFile: fifo}} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			done := make(chan error, 1)
			go func() {
				_, err := term.Passphrase(ctx, "rivera")
				done <- err
			}()
			select {
			case err := <-done:
				if !errors.Is(err, context.Canceled) {
					t.Errorf("got %v", err)
				}
			case <-time.After(30 * time.Second):
				t.Error("it waits for ever")
			}
		})
	}
}
