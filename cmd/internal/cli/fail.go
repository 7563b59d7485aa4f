package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/countersign-ota/countersign/proto/reason"
)

// Failure is the JSON form of an error: one line on stderr.
type Failure struct {
	Reason  string `json:"reason"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
	Exit    int    `json:"exit"`
}

// Fail reports err as program name's last words and returns the exit code: as text
// "NAME: error: TEXT [REASON]" and "NAME: hint: HINT", or with asJSON as one JSON line. Joined errors
// are printed one a line; the hint and the code are the first one's. A nil error, an ExitError without
// a cause and an interruption print nothing. Outside text in err is made safe here.
func Fail(w io.Writer, name string, asJSON bool, err error) int {
	return fail(w, name, asJSON, err, "error: ", true)
}

func fail(w io.Writer, name string, asJSON bool, err error, mark string, hints bool) int {
	code := ExitCode(err)
	var e *ExitError
	if err == nil || code == ExitInterrupted || errors.As(err, &e) && e.Err == nil {
		return code
	}
	if asJSON {
		data, jerr := json.Marshal(Failure{string(reason.Of(err)), err.Error(), reason.HintOf(err), code})
		if jerr == nil {
			_, _ = fmt.Fprintf(w, "%s\n", data) // there is nowhere left to report to
			return code
		}
	}
	for _, one := range parts(err) {
		_, _ = fmt.Fprintf(w, "%s: %s%s%s\n", name, mark, Safe(one.Error()), bracketed(reason.Of(one)))
	}
	if !hints {
		return code
	}
	for hint := range strings.SplitSeq(reason.HintOf(err), "\n") {
		if hint != "" {
			_, _ = fmt.Fprintf(w, "%s: hint: %s\n", name, Safe(hint))
		}
	}
	return code
}

// parts returns the errors that were joined at the top of err, or err itself.
func parts(err error) []error {
	if j, ok := err.(interface{ Unwrap() []error }); ok && strings.Contains(err.Error(), "\n") { //nolint:errorlint // only the outermost is taken apart
		return j.Unwrap()
	}
	return []error{err}
}

func bracketed(r reason.Reason) string {
	if r == "" {
		return ""
	}
	return " [" + Safe(string(r)) + "]"
}
