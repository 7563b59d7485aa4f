package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/countersign-ota/countersign/proto/reason"
)

// maxAnswer bounds what a person types, and a passphrase from a file, in bytes.
const maxAnswer = 1024

// Terminal asks the person who started the program, on the terminal itself, whatever stdin and stdout
// are connected to. Callers ask after all other checks.
type Terminal struct {
	// NoInput refuses every question; --json implies it.
	NoInput bool
	// Yes answers questions that are not about signing.
	Yes bool
	// PassphraseFile, a path, or PassphraseFD, the number of an open file, answers passphrases and PINs;
	// both empty: the person is asked.
	PassphraseFile string
	PassphraseFD   string

	open  func() (*os.File, error) // the controlling terminal, unless a test has its own
	known map[string][]byte        // passphrases and PINs asked for, by prompt
	given []byte                   // the one from file or descriptor, once read
}

// Device is the controlling terminal of the process.
const Device = "/dev/tty"

func (t *Terminal) tty() (*os.File, error) {
	if t.NoInput {
		return nil, os.ErrNotExist
	}
	if t.open != nil {
		return t.open()
	}
	return os.OpenFile(Device, os.O_RDWR, 0)
}

// Ask puts an ordinary question, such as "Pin this root?", and returns nil after the whole word yes
// or with Yes. Any other answer is declined; undone says what therefore did not happen, such as
// "not pinned". Without a terminal the error names flag, which answers the question. The question's
// outside text is made safe by the caller.
func (t *Terminal) Ask(ctx context.Context, question, undone, flag string) error {
	if t.Yes {
		return nil
	}
	return t.ask(ctx, question, undone, flag)
}

// AskToSign is Ask for a question that commits the person: Yes does not answer it.
func (t *Terminal) AskToSign(ctx context.Context, question, undone, flag string) error {
	return t.ask(ctx, question, undone, flag)
}

func (t *Terminal) ask(ctx context.Context, question, undone, flag string) error {
	tty, err := t.tty()
	if err != nil {
		return reason.Errorf(reason.NoTerminal, "cannot ask %q: no terminal", question).WithHint("add %s", flag)
	}
	defer func() { _ = tty.Close() }()
	if _, err := fmt.Fprintf(tty, "%s Type yes: ", question); err != nil {
		return fmt.Errorf("ask %q: %w", question, err)
	}
	answer, err := readLine(ctx, tty)
	if err != nil {
		_, _ = fmt.Fprintln(tty)
		return err
	}
	if answer != "yes" {
		return reason.Errorf(reason.Declined, `%s: the answer was %s, not "yes"`, undone, Quote(answer))
	}
	return nil
}

// readLine reads one line, byte by byte so that nothing of the next answer is taken, and gives up
// when ctx ends; the read itself then stays behind until the process or the terminal goes.
func readLine(ctx context.Context, tty io.Reader) (string, error) {
	type answer struct {
		line string
		err  error
	}
	c := make(chan answer, 1)
	go func() {
		var line []byte
		var b [1]byte
		for len(line) <= maxAnswer {
			n, err := tty.Read(b[:])
			if n == 1 && b[0] == '\n' {
				c <- answer{strings.TrimSuffix(string(line), "\r"), nil}
				return
			}
			if n == 0 && err != nil { // the end of input is an answer too: not "yes"
				c <- answer{string(line), nil}
				return
			}
			line = append(line, b[:n]...)
		}
		c <- answer{"", reason.Errorf(reason.Declined, "the answer is longer than %d bytes", maxAnswer)}
	}()
	select {
	case <-ctx.Done():
		return "", ctx.Err()
	case a := <-c:
		return a.line, a.err
	}
}

// readSecret reads one line without echo and restores the terminal in every case.
func readSecret(ctx context.Context, tty *os.File, prompt string) ([]byte, error) {
	fd := int(tty.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return nil, fmt.Errorf("read the state of the terminal: %w", err)
	}
	if _, err := fmt.Fprint(tty, prompt); err != nil {
		return nil, fmt.Errorf("ask for a passphrase: %w", err)
	}
	type answer struct {
		line []byte
		err  error
	}
	c := make(chan answer, 1)
	go func() {
		line, err := term.ReadPassword(fd)
		c <- answer{line, err}
	}()
	var a answer
	select {
	case <-ctx.Done():
		_ = term.Restore(fd, before)
		a.err = ctx.Err()
	case a = <-c:
	}
	_, _ = fmt.Fprintln(tty)
	if a.err == io.EOF { //nolint:errorlint // x/term returns it bare
		a.err = nil
	}
	if a.err == nil && len(a.line) > maxAnswer {
		a.err = reason.Errorf(reason.WrongPassphrase, "the passphrase is longer than %d bytes", maxAnswer)
	}
	return a.line, a.err
}
