package kms

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/countersign-ota/countersign/proto/reason"
)

// maxURI bounds a key's URI in bytes: it travels in one argument of a process.
const maxURI = 2048

// maxScheme bounds the scheme in bytes.
const maxScheme = 32

// pipeSource is what a plug-in gets as the place of the PIN; descriptor 3 is the first after stderr.
const pipeSource = "pin-source=file:/dev/fd/3"

// IsURI reports whether ref names a key in a plug-in, NAME://REST, rather than a file.
func IsURI(ref string) bool {
	scheme, _, ok := strings.Cut(ref, "://")
	return ok && isScheme(scheme)
}

// isScheme takes letters, digits and hyphens, so that no scheme leads out of the folders on PATH.
func isScheme(s string) bool {
	if s == "" || len(s) > maxScheme || s[0] < 'a' || s[0] > 'z' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// Check judges a URI as Open does, without looking its plug-in up: reason config.
func Check(uri string, allow []string) error {
	_, _, err := check(uri, allow)
	return err
}

func check(uri string, allow []string) (scheme, rest string, err error) {
	if scheme, rest, err = split(uri); err != nil {
		return "", "", err
	}
	if slices.Contains(allow, scheme) {
		return scheme, rest, nil
	}
	allowed := "none is"
	if len(allow) > 0 {
		allowed = strings.Join(allow, ", ")
	}
	return "", "", reason.Errorf(reason.Config, "keys of %s:// are not allowed here; allowed: %s", scheme, allowed).
		WithHint("if its plug-in may be run, add %s to kms in the configuration", scheme)
}

// split returns the scheme of uri and what follows.
func split(uri string) (scheme, rest string, err error) {
	if err := CheckPIN(uri); err != nil {
		return "", "", err
	}
	scheme, rest, ok := strings.Cut(uri, "://")
	switch {
	case len(uri) > maxURI:
		return "", "", reason.Errorf(reason.Config, "the key's URI has %d bytes, at most %d are allowed", len(uri), maxURI)
	case !ok || !isScheme(scheme) || rest == "":
		return "", "", reason.Errorf(reason.Config, "%q is not NAME://REST", clean(uri))
	case !printable(rest):
		return "", "", reason.Errorf(reason.Config, "%q holds characters that cannot be shown", clean(uri))
	}
	return scheme, rest, nil
}

// CheckPIN refuses a text that holds a PIN, wherever it stands, without repeating it: reason config. A URI
// is judged so before anything else is said of it, and so is a name that may be a mistyped one.
func CheckPIN(ref string) error {
	if !strings.Contains(strings.ToLower(ref), "pin-value=") {
		return nil
	}
	which := "a"
	if scheme, _, _ := strings.Cut(ref, ":"); isScheme(scheme) {
		which = "a " + scheme
	}
	return reason.Errorf(reason.Config, "the URI of %s key holds a PIN (pin-value); others can see it there", which).
		WithHint("leave it out to be asked, or name a file: pin-source=file:/PATH")
}

func printable(s string) bool {
	return utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}

// attribute reports whether the query of a URI's rest has the attribute name (RFC 7512 2.3).
func attribute(rest, name string) bool {
	_, query, _ := strings.Cut(rest, "?")
	for a := range strings.SplitSeq(query, "&") {
		if n, _, _ := strings.Cut(a, "="); n == name {
			return true
		}
	}
	return false
}

// withPipe returns rest with the pipe as the place of the PIN.
func withPipe(rest string) string {
	if strings.Contains(rest, "?") {
		return rest + "&" + pipeSource
	}
	return rest + "?" + pipeSource
}
