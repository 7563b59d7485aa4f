//go:build cgo

// Package token makes and uses keys in a PKCS#11 token: the module is loaded, the one token and the one
// object that a URI names are found, and what is ambiguous is refused.
//
// Start with Open. A module is C code that runs in this process with the rights of whoever started it.
package token

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/miekg/pkcs11"

	"github.com/countersign-ota/countersign/cmd/sigstore-kms-pkcs11/internal/uri"
	"github.com/countersign-ota/countersign/proto/reason"
)

// ErrPINWanted says that the step needs a PIN and the URI names no pin-source.
var ErrPINWanted = errors.New("none was given")

// Token is an open session with one token. It is for one goroutine.
type Token struct {
	uri     *uri.URI
	module  *pkcs11.Ctx
	slot    uint
	name    string // for errors: token "LABEL"
	session pkcs11.SessionHandle
	pin     string // once logged in
	in      bool
}

// Open loads the module of u and opens a session, for writing if write is set, with the token that u
// names. The caller calls Close. Reasons: config, not-found, plugin-failed.
func Open(u *uri.URI, write bool) (_ *Token, err error) {
	t := &Token{uri: u}
	if t.module, err = load(u.Module); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			t.Close()
		}
	}()
	if t.slot, t.name, err = find(t.module, u); err != nil {
		return nil, err
	}
	flags := uint(pkcs11.CKF_SERIAL_SESSION)
	if write {
		flags |= pkcs11.CKF_RW_SESSION
	}
	if t.session, err = t.module.OpenSession(t.slot, flags); err != nil {
		return nil, t.failed("open a session", err)
	}
	return t, nil
}

// Close ends the session, which logs out, and unloads the module.
func (t *Token) Close() {
	_ = t.module.CloseSession(t.session)
	_ = t.module.Finalize()
	t.module.Destroy()
}

// failed is an error of the module in a step.
func (t *Token) failed(step string, err error) error {
	return reason.Errorf(reason.PluginFailed, "%s: cannot %s: %w", t.name, step, err)
}

// load loads and initializes a module.
func load(path string) (*pkcs11.Ctx, error) {
	switch info, err := os.Stat(path); {
	case err != nil:
		return nil, reason.Errorf(reason.Config, "module-path: %w", err)
	case !info.Mode().IsRegular():
		return nil, reason.Errorf(reason.Config, "module-path: %s is not a file", path)
	case info.Mode().Perm()&0o002 != 0:
		// Its code runs with the rights of whoever signs.
		return nil, reason.Errorf(reason.Config, "module-path: everybody can write %s, mode %#o", path, info.Mode().Perm())
	}
	m := pkcs11.New(path)
	if m == nil {
		return nil, reason.Errorf(reason.Config, "module-path: %s is no PKCS#11 module for this machine", path)
	}
	if err := m.Initialize(); err != nil {
		m.Destroy()
		return nil, reason.Errorf(reason.PluginFailed, "module %s cannot be initialized: %w", path, err)
	}
	return m, nil
}

// find returns the slot of the one token that u names, and the token's name for errors.
func find(m *pkcs11.Ctx, u *uri.URI) (slot uint, name string, err error) {
	slots, err := m.GetSlotList(true)
	if err != nil {
		return 0, "", reason.Errorf(reason.PluginFailed, "module %s cannot list its tokens: %w", u.Module, err)
	}
	var found []uint
	var there []string
	for _, s := range slots {
		info, err := m.GetTokenInfo(s)
		if err != nil || info.Flags&pkcs11.CKF_TOKEN_INITIALIZED == 0 {
			continue // pulled out meanwhile, or nobody's yet
		}
		there = append(there, fmt.Sprintf("%q (serial %q)", trim(info.Label), trim(info.SerialNumber)))
		if matches(u, info) {
			found, slot = append(found, s), s
			name = fmt.Sprintf("token %q", trim(info.Label))
		}
	}
	slices.Sort(there)
	switch {
	case len(found) == 1:
		return slot, name, nil
	case len(found) > 1:
		return 0, "", reason.Errorf(reason.Config, "the URI fits %d tokens, of %s: add serial=NUMBER", len(found), strings.Join(there, ", "))
	case len(there) == 0:
		return 0, "", reason.Errorf(reason.NotFound, "%s is not plugged in, and no other token is", wanted(u))
	}
	return 0, "", reason.Errorf(reason.NotFound, "%s is not plugged in; there are %s", wanted(u), strings.Join(there, ", "))
}

func wanted(u *uri.URI) string {
	if u.Token != "" {
		return fmt.Sprintf("token %q", u.Token)
	}
	return fmt.Sprintf("token with serial %q", u.Serial)
}

func matches(u *uri.URI, info pkcs11.TokenInfo) bool {
	for _, m := range []struct{ want, got string }{
		{u.Token, info.Label},
		{u.Serial, info.SerialNumber},
		{u.Manufacturer, info.ManufacturerID},
		{u.Model, info.Model},
	} {
		if m.want != "" && m.want != trim(m.got) {
			return false
		}
	}
	return true
}

// trim removes the blanks that fill a field of CK_TOKEN_INFO.
func trim(s string) string { return strings.TrimRight(s, " \x00") }
