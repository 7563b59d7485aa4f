package kms

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/sigstore/sigstore/pkg/signature/kms/cliplugin/common"

	"github.com/countersign-ota/countersign/proto/reason"
)

// maxShown bounds a text of a plug-in in an error, in bytes before escapes.
const maxShown = 400

// errPINWanted is what a plug-in says with [pin-wanted].
var errPINWanted = errors.New("the PIN is wanted")

// pinWanted ends the error message of a plug-in that needs the PIN.
const pinWanted = "pin-wanted"

// words are the reasons that a plug-in may give in brackets at the end of an error message, with the
// next step.
var words = map[string]struct {
	reason reason.Reason
	hint   string
}{
	"wrong-pin":      {reason.WrongPIN, "run it again with the right PIN; a token blocks after a few wrong ones"},
	"not-found":      {reason.NotFound, "compare the names in the key's URI with what is plugged in"},
	"exists":         {reason.Exists, "use the key that is there, or choose another name"},
	"config":         {reason.Config, ""},
	"key-malformed":  {reason.KeyMalformed, ""},
	"secret-exposed": {reason.SecretExposed, "chmod 600 it; if others use this machine, change the PIN"},
}

// notFound are the words with which other plug-ins say that a key is not there.
var notFound = []string{"not found", "notfound", "does not exist", "no such"}

// problem turns a plug-in's error message into an error.
func (p *plugin) problem(method, message string) error {
	text, word := cutWord(message)
	if w, ok := words[word]; ok {
		e := reason.Errorf(w.reason, "%s", clean(text))
		if w.reason == reason.WrongPIN && method == common.SignMessageMethodName {
			e.Text += "; nothing was signed"
		}
		e.Hint = w.hint
		return e
	}
	switch word {
	case pinWanted:
		e := reason.Errorf(reason.WrongPIN, "%s", clean(text))
		e.Err = errPINWanted
		return e.WithHint("add pin-source=file:/PATH to the query of the key's URI")
	case string(reason.PluginFailed):
		return p.failed("%s", clean(text))
	}
	// A network that is down does not say that a key is missing, for which one would be made.
	lower := strings.ReplaceAll(strings.ToLower(message), "no such host", "")
	for _, s := range notFound {
		if strings.Contains(lower, s) {
			return reason.Errorf(reason.NotFound, "plug-in %s: %s", p.name, clean(message))
		}
	}
	return p.failed("%s", clean(message))
}

// cutWord splits "text [word]".
func cutWord(message string) (text, word string) {
	message = strings.TrimSpace(message)
	if rest, ok := strings.CutSuffix(message, "]"); ok {
		if i := strings.LastIndex(rest, " ["); i > 0 {
			return rest[:i], rest[i+2:]
		}
	}
	return message, ""
}

// said returns what a plug-in printed to stderr, for the end of an error's text.
func said(stderr []byte) string {
	s := strings.TrimSpace(string(stderr))
	if s == "" {
		return ""
	}
	return fmt.Sprintf("; it says: %s", clean(s))
}

// clean returns a text of a plug-in as it may stand in one line: bounded, and what does not show, or
// shows as something else, as \u{HEX}; bytes that are not UTF-8 as \x{HEX}.
func clean(s string) string {
	cut := len(s) > maxShown
	if cut {
		s = s[:maxShown]
	}
	var b strings.Builder
	for i, r := range s {
		_, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			if cut && len(s)-i < utf8.UTFMax { // the cut went through it
				continue
			}
			fmt.Fprintf(&b, `\x{%02x}`, s[i])
		case !unicode.IsPrint(r) || r == utf8.RuneError:
			fmt.Fprintf(&b, `\u{%x}`, r)
		default:
			b.WriteRune(r)
		}
	}
	if cut {
		b.WriteString("…")
	}
	return b.String()
}
