//go:build cgo

package token

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"unicode"

	"github.com/miekg/pkcs11"

	"github.com/countersign-ota/countersign/proto/reason"
)

// maxPIN bounds a PIN in bytes.
const maxPIN = 1024

// login logs in with the PIN of the URI's pin-source, once. A PIN that is refused is not tried again,
// and none is tried on a token that says it is blocked. Reasons: wrong-pin, config, secret-exposed,
// plugin-failed; ErrPINWanted without a pin-source.
func (t *Token) login() error {
	if t.in {
		return nil
	}
	info, err := t.module.GetTokenInfo(t.slot)
	if err != nil {
		return t.failed("say what it wants", err)
	}
	switch {
	case info.Flags&pkcs11.CKF_LOGIN_REQUIRED == 0:
		t.in = true
		return nil
	case info.Flags&pkcs11.CKF_USER_PIN_LOCKED != 0:
		return reason.Errorf(reason.WrongPIN, "%s is blocked after wrong PINs; its security officer can set a new one", t.name)
	case info.Flags&pkcs11.CKF_USER_PIN_INITIALIZED == 0:
		return reason.Errorf(reason.Config, "%s has no user PIN yet", t.name)
	}
	if t.pin, err = t.readPIN(); err != nil {
		return err
	}
	err = t.module.Login(t.session, pkcs11.CKU_USER, t.pin)
	if err != nil && !errors.Is(err, pkcs11.Error(pkcs11.CKR_USER_ALREADY_LOGGED_IN)) {
		return t.refused(err)
	}
	t.in = true
	return nil
}

// again proves the PIN once more, for a key that wants it at each use (CKA_ALWAYS_AUTHENTICATE). The token
// itself may have wanted none: an empty one would cost a try.
func (t *Token) again() (err error) {
	if t.pin == "" {
		if t.pin, err = t.readPIN(); err != nil {
			return err
		}
	}
	if err := t.module.Login(t.session, pkcs11.CKU_CONTEXT_SPECIFIC, t.pin); err != nil {
		return t.refused(err)
	}
	return nil
}

// refused turns an error of C_Login into what the person has to know: whether it was the PIN, and how
// many tries are left. PKCS#11 has no number, only flags.
func (t *Token) refused(err error) error {
	var code pkcs11.Error
	if !errors.As(err, &code) {
		return t.failed("log in", err)
	}
	switch code {
	case pkcs11.CKR_PIN_INCORRECT, pkcs11.CKR_PIN_INVALID, pkcs11.CKR_PIN_LEN_RANGE:
		return reason.Errorf(reason.WrongPIN, "%s refused the PIN, %s", t.name, t.triesLeft())
	case pkcs11.CKR_PIN_LOCKED:
		return reason.Errorf(reason.WrongPIN, "%s is blocked after wrong PINs; its security officer can set a new one", t.name)
	case pkcs11.CKR_PIN_EXPIRED:
		return reason.Errorf(reason.WrongPIN, "%s wants a new PIN before it works again", t.name)
	}
	return t.failed("log in", err)
}

func (t *Token) triesLeft() string {
	info, err := t.module.GetTokenInfo(t.slot)
	switch {
	case err != nil:
		return "and does not say how many tries are left"
	case info.Flags&pkcs11.CKF_USER_PIN_LOCKED != 0:
		return "no try left: it is blocked"
	case info.Flags&pkcs11.CKF_USER_PIN_FINAL_TRY != 0:
		return "1 try left"
	case info.Flags&pkcs11.CKF_USER_PIN_COUNT_LOW != 0:
		return "2 or more tries left" // else it were the final try
	}
	return "and does not say how many tries are left"
}

// readPIN reads the PIN: all of the file but one newline at its end.
func (t *Token) readPIN() (string, error) {
	if t.uri.PINFile == "" {
		return "", fmt.Errorf("%s wants a PIN: %w", t.name, ErrPINWanted)
	}
	f, err := os.Open(t.uri.PINFile)
	if err != nil {
		return "", reason.Errorf(reason.Config, "pin-source: %w", err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return "", reason.Errorf(reason.Config, "pin-source: %w", err)
	}
	forbidden := fs.FileMode(0o077)
	if dir := os.Getenv("CREDENTIALS_DIRECTORY"); dir != "" && filepath.Dir(t.uri.PINFile) == filepath.Clean(dir) {
		forbidden = 0o007 // the group's bits are the mask of the service manager's access list
	}
	switch {
	case info.Mode().Type() == fs.ModeNamedPipe:
	case !info.Mode().IsRegular():
		return "", reason.Errorf(reason.Config, "pin-source: %s is neither a file nor a pipe", t.uri.PINFile)
	case info.Mode().Perm()&forbidden != 0:
		return "", reason.Errorf(reason.SecretExposed, "pin-source: %s can be read by others, mode %#o", t.uri.PINFile, info.Mode().Perm())
	}
	pin, err := io.ReadAll(io.LimitReader(f, maxPIN+2))
	if err != nil {
		return "", reason.Errorf(reason.Config, "pin-source: %w", err)
	}
	if n := len(pin); n > 0 && pin[n-1] == '\n' {
		pin = pin[:n-1]
	}
	if len(pin) == 0 || len(pin) > maxPIN {
		return "", reason.Errorf(reason.Config, "pin-source: want a PIN of 1 to %d bytes", maxPIN)
	}
	if bytes.ContainsFunc(pin, unicode.IsControl) { // a second line, or one of Windows: it would cost a try
		return "", reason.Errorf(reason.Config, "pin-source: the PIN holds a control character; want it alone in one line")
	}
	return string(pin), nil
}
