// Package uri reads the PKCS#11 URIs of RFC 7512 as far as they name one key: which token, which
// object, which module to load, and where the PIN lies.
//
// Parse is strict: an attribute that it does not know, or that stands twice, is an error and not a
// wider search.
package uri

import (
	"fmt"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/countersign-ota/countersign/proto/reason"
)

// maxURI bounds a URI in bytes.
const maxURI = 4096

// Bounds of decoded values in bytes. Those of a token are the widths of CK_TOKEN_INFO's fields.
const (
	maxLabel  = 32
	maxSerial = 16
	maxObject = 255
	maxPath   = 1024
)

// URI names one key. Empty members were not given.
type URI struct {
	// Token, Serial, Manufacturer and Model select a token; at least Token or Serial is there.
	Token, Serial, Manufacturer, Model string
	// Object is the key's label and ID its CKA_ID; at least one is there.
	Object string
	ID     []byte
	// Module is the absolute path of the PKCS#11 module.
	Module string
	// PINFile is the absolute path of the file or pipe that holds the PIN.
	PINFile string
}

// Parse reads what follows "pkcs11:" or "pkcs11://". Reason config.
func Parse(s string) (*URI, error) {
	if len(s) > maxURI {
		return nil, bad("it has %d bytes, at most %d are allowed", len(s), maxURI)
	}
	path, query, asked := strings.Cut(s, "?")
	u := &URI{}
	seen := map[string]bool{}
	for a := range strings.SplitSeq(path, ";") {
		if err := u.attribute(a, "&", seen, u.setPath); err != nil {
			return nil, err
		}
	}
	if asked {
		for a := range strings.SplitSeq(query, "&") {
			if err := u.attribute(a, "/?|", seen, u.setQuery); err != nil {
				return nil, err
			}
		}
	}
	switch {
	case u.Token == "" && u.Serial == "":
		return nil, bad("it names no token: want token=LABEL or serial=NUMBER")
	case u.Object == "" && u.ID == nil:
		return nil, bad("it names no key: want object=LABEL or id=%%BYTES")
	case u.Module == "":
		return nil, bad("it names no module").WithHint("add ?module-path=/PATH/OF/MODULE.so")
	}
	return u, nil
}

// bad is an error of form; the URI itself is not repeated, since it may hold a PIN.
func bad(format string, args ...any) *reason.Error {
	return reason.Errorf(reason.Config, "the key's URI cannot be used: "+format, args...)
}

// attribute reads NAME=VALUE; more are the characters that stand for themselves in this part of a URI
// beside those that do everywhere.
func (u *URI) attribute(a, more string, seen map[string]bool, set func(name, value string) error) error {
	name, value, ok := strings.Cut(a, "=")
	if !ok || name == "" || value == "" {
		return bad("want NAME=VALUE in each part")
	}
	if seen[name] {
		return bad("%s stands twice", quote(name))
	}
	seen[name] = true
	decoded, err := decode(value, more)
	if err != nil {
		return bad("%s: %v", quote(name), err)
	}
	return set(name, decoded)
}

func (u *URI) setPath(name, value string) error {
	switch name {
	case "token":
		return text(&u.Token, name, value, maxLabel)
	case "serial":
		return text(&u.Serial, name, value, maxSerial)
	case "manufacturer":
		return text(&u.Manufacturer, name, value, maxLabel)
	case "model":
		return text(&u.Model, name, value, maxSerial)
	case "object":
		return text(&u.Object, name, value, maxObject)
	case "id":
		if len(value) > maxObject {
			return bad("id has %d bytes, at most %d are allowed", len(value), maxObject)
		}
		u.ID = []byte(value)
		return nil
	case "type":
		if value != "private" && value != "public" {
			return bad("type is %s: want a key, private or public", quote(value))
		}
		return nil // both halves are looked for
	}
	return bad("there is no attribute %s before the question mark", quote(name))
}

func (u *URI) setQuery(name, value string) error {
	switch name {
	case "module-path":
		if err := text(&u.Module, name, value, maxPath); err != nil {
			return err
		}
		if !filepath.IsAbs(u.Module) {
			return bad("module-path %s is not an absolute path", quote(u.Module))
		}
		return nil
	case "pin-source":
		file, ok := strings.CutPrefix(value, "file:")
		if !ok {
			return bad("pin-source: want file:/PATH")
		}
		if rest, ok := strings.CutPrefix(file, "//"); ok { // file:///PATH
			file = rest
		}
		if !strings.HasPrefix(file, "/") || strings.HasPrefix(file, "//") {
			return bad("pin-source: want file:/PATH, absolute")
		}
		return text(&u.PINFile, name, file, maxPath)
	case "pin-value":
		return bad("it holds a PIN (pin-value), and others can see it there").WithHint("pin-source=file:/PATH names a file with the PIN")
	}
	return bad("there is no attribute %s after the question mark", quote(name))
}

// text sets a text that can be shown.
func text(to *string, name, value string, limit int) error {
	if len(value) > limit {
		return bad("%s has %d bytes, at most %d are allowed", name, len(value), limit)
	}
	if !utf8.ValidString(value) || strings.IndexFunc(value, func(r rune) bool { return !unicode.IsPrint(r) }) >= 0 {
		return bad("%s holds characters that cannot be shown", name)
	}
	*to = value
	return nil
}

// free stand for themselves everywhere (RFC 7512 2.3: unreserved and pk11-res-avail).
const free = "-._~:[]@!$'()*+,="

// decode undoes the percent encoding and refuses characters that may not stand unencoded.
func decode(s, more string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '%':
			if i+2 >= len(s) || !isHex(s[i+1]) || !isHex(s[i+2]) {
				return "", fmt.Errorf("want two hexadecimal digits after %%")
			}
			b.WriteByte(hexValue(s[i+1])<<4 | hexValue(s[i+2]))
			i += 2
		case isFree(c) || strings.IndexByte(more, c) >= 0:
			b.WriteByte(c)
		default:
			return "", fmt.Errorf("write %%%02X for the byte %q", c, c)
		}
	}
	return b.String(), nil
}

func isFree(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte(free, c) >= 0
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func hexValue(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c <= 'F':
		return c - 'A' + 10
	}
	return c - 'a' + 10
}

// quote shows a name from outside, at most its first bytes.
func quote(s string) string {
	if len(s) > maxLabel {
		s = s[:maxLabel] + "…"
	}
	return fmt.Sprintf("%+q", s)
}
