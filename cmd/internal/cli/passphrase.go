package cli

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/countersign-ota/countersign/proto/reason"
)

// Passphrase returns the passphrase that opens a key. who names person and keys, such as "chen, keys
// 3abd72ec6352 and 90be44106c1e"; the same who is asked once a command. It comes from the file or
// descriptor if one was given, else from the terminal. An empty one is an error.
func (t *Terminal) Passphrase(ctx context.Context, who string) ([]byte, error) {
	return t.once(ctx, "passphrase", "Passphrase for "+who+": ", who, reason.WrongPassphrase)
}

// PIN is Passphrase for the PIN of a token, which is not tried again when it is wrong.
func (t *Terminal) PIN(ctx context.Context, who string) ([]byte, error) {
	return t.once(ctx, "PIN", "PIN for "+who+": ", who, reason.WrongPIN)
}

// once returns what opens a key, asked for once; an empty answer is refused for the reason.
func (t *Terminal) once(ctx context.Context, what, prompt, who string, empty reason.Reason) ([]byte, error) {
	if p, err := t.fromFlags(ctx); p != nil || err != nil {
		return p, err
	}
	if p, ok := t.known[prompt]; ok {
		return p, nil
	}
	p, err := t.secret(ctx, what, who, prompt)
	if err != nil {
		return nil, err
	}
	if len(p) == 0 {
		return nil, reason.Errorf(empty, "the %s of %s is empty", what, who)
	}
	if t.known == nil {
		t.known = map[string][]byte{}
	}
	t.known[prompt] = p
	return p, nil
}

// NewPassphrase returns the passphrase that shall protect a new key: from file or descriptor, else
// asked for twice. An empty answer makes one of 125 random bits, which is shown on the terminal, once.
func (t *Terminal) NewPassphrase(ctx context.Context, who string) ([]byte, error) {
	if p, err := t.fromFlags(ctx); p != nil || err != nil {
		return p, err
	}
	p, err := t.secret(ctx, "passphrase", who, "New passphrase for "+who+" (empty: make one): ")
	if err != nil {
		return nil, err
	}
	if len(p) == 0 {
		p = generated()
		tty, err := t.tty()
		if err != nil {
			return nil, err
		}
		defer func() { _ = tty.Close() }()
		_, err = fmt.Fprintf(tty, "Passphrase for %s, shown only now: %s\n", who, p)
		return p, err
	}
	again, err := t.secret(ctx, "passphrase", who, "The same again: ")
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(p, again) {
		return nil, reason.Errorf(reason.WrongPassphrase, "the two passphrases for %s differ", who)
	}
	return p, nil
}

func (t *Terminal) secret(ctx context.Context, what, who, prompt string) ([]byte, error) {
	tty, err := t.tty()
	if err != nil {
		return nil, reason.Errorf(reason.NoTerminal, "cannot ask for the %s of %s: no terminal", what, who).
			WithHint("add --passphrase-file FILE")
	}
	defer func() { _ = tty.Close() }()
	return readSecret(ctx, tty, prompt)
}

// fromFlags returns the passphrase of --passphrase-file or --passphrase-fd, or nil without either. It gives
// up when ctx ends, whatever comes of a pipe; the read itself then stays behind until the process goes.
func (t *Terminal) fromFlags(ctx context.Context) ([]byte, error) {
	switch {
	case t.given != nil:
		return t.given, nil
	case t.PassphraseFile == "" && t.PassphraseFD == "":
		return nil, nil
	case t.PassphraseFile != "" && t.PassphraseFD != "":
		return nil, Usagef("--passphrase-file and --passphrase-fd exclude each other")
	}
	read, from := readFile, t.PassphraseFile
	if t.PassphraseFD != "" {
		read, from = readDescriptor, t.PassphraseFD
	}
	type answer struct {
		given []byte
		err   error
	}
	c := make(chan answer, 1)
	go func() {
		p, err := read(from)
		c <- answer{p, err}
	}()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case a := <-c:
		t.given = a.given
		return a.given, a.err
	}
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, openError(err, path)
	}
	defer func() { _ = f.Close() }()
	if err := private(f, path); err != nil {
		return nil, err
	}
	return readPassphrase(f, path)
}

func readDescriptor(number string) ([]byte, error) {
	n, err := strconv.ParseUint(number, 10, 16)
	if err != nil {
		return nil, notOpen(number)
	}
	name := fmt.Sprintf("file descriptor %d", n)
	f := os.NewFile(uintptr(n), name)
	defer func() { _ = f.Close() }()
	p, err := readPassphrase(f, name)
	if errors.Is(err, syscall.EBADF) {
		return nil, notOpen(number)
	}
	return p, err
}

// Keep keeps the descriptor of --passphrase-fd from the programs that this one starts: it came open for
// all of them, and is read only when a passphrase is wanted. Call it once the flags are set.
func (t *Terminal) Keep() {
	if n, err := strconv.ParseUint(t.PassphraseFD, 10, 16); err == nil {
		syscall.CloseOnExec(int(n)) // one that is not open is told of when it is read
	}
}

func notOpen(number string) error {
	return Usagef("--passphrase-fd %s is not the number of a file that is open for reading", Quote(number))
}

func openError(err error, path string) error {
	if errors.Is(err, fs.ErrNotExist) {
		return reason.Errorf(reason.UsageError, "%s does not exist", Quote(path))
	}
	return err
}

// private refuses a file that others can read or write.
func private(f *os.File, path string) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if mode := info.Mode(); mode.IsRegular() && mode.Perm()&0o077 != 0 {
		return reason.Errorf(reason.SecretExposed, "%s can be read by others, mode %04o", Safe(path), mode.Perm()).
			WithHint("chmod 600 %s; if others use this machine, change the passphrase", Safe(path))
	}
	return nil
}

// readPassphrase reads all of r, cuts one newline and refuses what is empty or too long.
func readPassphrase(r io.Reader, name string) ([]byte, error) {
	p, err := io.ReadAll(io.LimitReader(r, maxAnswer+2))
	if err != nil {
		return nil, fmt.Errorf("read the passphrase: %w", err)
	}
	if cut, ok := bytes.CutSuffix(p, []byte("\n")); ok {
		p = bytes.TrimSuffix(cut, []byte("\r"))
	}
	switch {
	case len(p) == 0:
		return nil, reason.Errorf(reason.WrongPassphrase, "the passphrase in %s is empty", Safe(name))
	case len(p) > maxAnswer:
		return nil, reason.Errorf(reason.WrongPassphrase, "the passphrase in %s is longer than %d bytes", Safe(name), maxAnswer)
	}
	return p, nil
}

// generated returns 25 letters and digits in groups of five, none of them taken for another.
func generated() []byte {
	var raw [16]byte
	_, _ = rand.Read(raw[:]) // never fails (crypto/rand)
	text := base32.NewEncoding("abcdefghjkmnpqrstuvwxyz023456789").WithPadding(base32.NoPadding).EncodeToString(raw[:])
	groups := make([]string, 0, 5)
	for i := 0; i < 25; i += 5 {
		groups = append(groups, text[i:i+5])
	}
	return []byte(strings.Join(groups, "-"))
}
