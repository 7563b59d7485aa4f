package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
)

// Output is where a program's words go: results to stdout, all else to stderr. Its methods may be
// called from several goroutines. The formats of Line, Note, Warn and Hint are our own words; outside
// text among the arguments goes through Safe or Quote first.
type Output struct {
	// Name is the program's, at the start of each line on stderr.
	Name string
	// Stdout and Stderr must not be nil.
	Stdout, Stderr io.Writer
	// JSON asks for documents in place of text, and for errors as JSON.
	JSON bool
	// Quiet leaves errors only on stderr.
	Quiet bool
	// Verbose adds what is done on the way.
	Verbose bool
	// Colour permits escape sequences; they only add to words.
	Colour bool

	mu sync.Mutex // one line at a time
}

// Line prints one line or several of a result, except with JSON.
func (o *Output) Line(format string, args ...any) {
	if !o.JSON {
		o.write(o.Stdout, fmt.Sprintf(format, args...))
	}
}

// Document prints v as the one JSON document of a result, or as the next line of a stream, except
// without JSON. Members are in v's order; nothing is escaped for HTML.
func (o *Output) Document(v any) error {
	if !o.JSON {
		return nil
	}
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("encode the result: %w", err)
	}
	o.write(o.Stdout, b.String())
	return nil
}

// Result prints v with JSON and calls text without it.
func (o *Output) Result(v any, text func()) error {
	if o.JSON {
		return o.Document(v)
	}
	text()
	return nil
}

// Note says on stderr what is being done, with Verbose only.
func (o *Output) Note(format string, args ...any) {
	if o.Verbose && !o.Quiet {
		o.say("", format, args...)
	}
}

// Say puts a word on stderr that belongs to no result and is no warning.
func (o *Output) Say(format string, args ...any) {
	if !o.Quiet {
		o.say("", format, args...)
	}
}

// Warn warns on stderr.
func (o *Output) Warn(format string, args ...any) {
	if !o.Quiet {
		o.say(o.paint("33", "warning: "), format, args...)
	}
}

// Hint names a next step on stderr.
func (o *Output) Hint(format string, args ...any) {
	if !o.Quiet {
		o.say("hint: ", format, args...)
	}
}

// Fail reports err as the function Fail does, in colour where there are colours and without the hint
// when quiet, and returns the exit code.
func (o *Output) Fail(err error) int {
	var b strings.Builder
	code := fail(&b, o.Name, o.JSON, err, o.paint("31", "error: "), !o.Quiet)
	o.write(o.Stderr, b.String())
	return code
}

func (o *Output) say(mark, format string, args ...any) {
	o.write(o.Stderr, o.Name+": "+mark+fmt.Sprintf(format, args...))
}

// paint wraps s in a colour if there are colours.
func (o *Output) paint(sgr, s string) string {
	if !o.Colour {
		return s
	}
	return "\x1b[" + sgr + "m" + s + "\x1b[0m"
}

func (o *Output) write(w io.Writer, s string) {
	if s == "" {
		return
	}
	if !strings.HasSuffix(s, "\n") {
		s += "\n"
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	_, _ = io.WriteString(w, s) // a closed pipe at the other end is its owner's wish
}
