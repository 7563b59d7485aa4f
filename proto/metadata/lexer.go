package metadata

import (
	"bytes"
	"slices"
	"strconv"

	"github.com/countersign-ota/countersign/proto/reason"
)

// MaxDepth is how deep JSON may be nested (DESIGN 6).
const MaxDepth = 32

// MaxInteger bounds every integer from both sides: beyond 2^53 JSON readers differ.
const MaxInteger = 1 << 53

// lexer reads JSON one token at a time and refuses what encoding/json would accept and another reader
// would read differently: invalid UTF-8, lone surrogates, duplicate names, numbers that are not
// integers within ±2^53, more than 32 levels, anything after the value.
type lexer struct {
	data  []byte
	pos   int
	depth int
	names [][]byte // of all open objects, innermost last; for the search for duplicates
}

func (l *lexer) errorf(r reason.Reason, format string, args ...any) error {
	err := reason.Errorf(r, format, args...)
	err.Text += " at byte " + strconv.Itoa(l.pos)
	return err
}

// peek skips white space and returns the next byte, 0 at the end.
func (l *lexer) peek() byte {
	for l.pos < len(l.data) {
		switch c := l.data[l.pos]; c {
		case ' ', '\t', '\n', '\r':
			l.pos++
		default:
			return c
		}
	}
	return 0
}

// end makes sure that nothing follows.
func (l *lexer) end() error {
	if c := l.peek(); l.pos < len(l.data) {
		return l.errorf(reason.Malformed, "unexpected %q after the JSON value", c)
	}
	return nil
}

func (l *lexer) enter() error {
	l.pos++
	if l.depth++; l.depth > MaxDepth {
		return l.errorf(reason.TooDeep, "JSON is nested deeper than %d levels", MaxDepth)
	}
	return nil
}

// object reads an object. each is called with the decoded name of every member and MUST read the
// member's value; the name is valid until the object ends.
func (l *lexer) object(each func(name []byte) error) error {
	if c := l.peek(); c != '{' {
		return l.unexpected(c, "an object")
	}
	if err := l.enter(); err != nil {
		return err
	}
	base := len(l.names)
	if l.peek() == '}' {
		l.pos++
		l.depth--
		return nil
	}
	for {
		if c := l.peek(); c != '"' {
			return l.unexpected(c, "a member's name")
		}
		name, err := l.str()
		if err != nil {
			return err
		}
		l.names = append(l.names, name)
		if c := l.peek(); c != ':' {
			return l.unexpected(c, "a colon")
		}
		l.pos++
		if err := each(name); err != nil {
			return err
		}
		c := l.peek()
		if c == '}' {
			break
		}
		if c != ',' {
			return l.unexpected(c, "a comma or the end of the object")
		}
		l.pos++
	}
	l.pos++
	l.depth--
	return l.closeNames(base)
}

// closeNames refuses an object that named a member twice: encoding/json would take the last one,
// other readers the first.
func (l *lexer) closeNames(base int) error {
	names := l.names[base:]
	l.names = l.names[:base]
	sorted := true
	for i := 1; i < len(names) && sorted; i++ {
		sorted = bytes.Compare(names[i-1], names[i]) < 0
	}
	if sorted {
		return nil
	}
	slices.SortFunc(names, bytes.Compare)
	for i := 1; i < len(names); i++ {
		if bytes.Equal(names[i-1], names[i]) {
			return l.errorf(reason.DuplicateName, "an object names %q twice", names[i])
		}
	}
	return nil
}

// array reads an array. each is called before every element and MUST read it.
func (l *lexer) array(each func(i int) error) error {
	if c := l.peek(); c != '[' {
		return l.unexpected(c, "an array")
	}
	if err := l.enter(); err != nil {
		return err
	}
	if l.peek() == ']' {
		l.pos++
		l.depth--
		return nil
	}
	for i := 0; ; i++ {
		if err := each(i); err != nil {
			return err
		}
		c := l.peek()
		if c == ']' {
			break
		}
		if c != ',' {
			return l.unexpected(c, "a comma or the end of the array")
		}
		l.pos++
	}
	l.pos++
	l.depth--
	return nil
}

func (l *lexer) unexpected(c byte, want string) error {
	if l.pos >= len(l.data) {
		return l.errorf(reason.Malformed, "JSON ends where %s must stand", want)
	}
	if c == 'n' && bytes.HasPrefix(l.data[l.pos:], []byte("null")) {
		return l.errorf(reason.Null, "null stands where %s must", want)
	}
	return l.errorf(reason.Malformed, "unexpected %q where %s must stand", c, want)
}

// integer reads a number, which must be an integer within ±2^53 in its only form.
func (l *lexer) integer() (int64, error) {
	c := l.peek()
	if c != '-' && (c < '0' || c > '9') {
		return 0, l.unexpected(c, "a number")
	}
	start := l.pos
	for l.pos < len(l.data) && isNumber[l.data[l.pos]] {
		l.pos++
	}
	text := l.data[start:l.pos]
	digits := bytes.TrimPrefix(text, []byte("-"))
	var n int64
	for _, c := range digits {
		if c < '0' || c > '9' {
			if bytes.ContainsAny(text, ".eE") {
				return 0, l.errorf(reason.NotInteger, "the number %q is not an integer", clip(text))
			}
			return 0, l.errorf(reason.Malformed, "%q is not a JSON number", clip(text))
		}
		if n = n*10 + int64(c-'0'); n > MaxInteger {
			n = MaxInteger + 1 // no overflow, and never back in range
		}
	}
	if len(digits) == 0 || (len(digits) > 1 && digits[0] == '0') {
		return 0, l.errorf(reason.Malformed, "%q is not a JSON number", clip(text))
	}
	if n > MaxInteger {
		return 0, l.errorf(reason.IntegerRange, "the integer %q is beyond 2^53", clip(text))
	}
	if len(digits) < len(text) {
		if n == 0 {
			return 0, l.errorf(reason.NotInteger, "the number \"-0\" is not an integer")
		}
		n = -n
	}
	return n, nil
}

// isNumber holds the bytes of which JSON numbers consist.
var isNumber = func() (set [256]bool) {
	for _, c := range []byte("0123456789+-.eE") {
		set[c] = true
	}
	return set
}()

// clip bounds what an error repeats of outside bytes.
func clip(b []byte) []byte {
	if len(b) > 40 {
		return append(bytes.Clone(b[:40]), "..."...)
	}
	return b
}

// literal reads true, false or null.
func (l *lexer) literal() (string, error) {
	for _, word := range [...]string{"true", "false", "null"} {
		if bytes.HasPrefix(l.data[l.pos:], []byte(word)) {
			l.pos += len(word)
			return word, nil
		}
	}
	return "", l.unexpected(l.peek(), "a JSON value")
}

// skip reads a value of any kind. noNull refuses null at any depth.
func (l *lexer) skip(noNull bool) error {
	switch c := l.peek(); {
	case c == '{':
		return l.object(func([]byte) error { return l.skip(noNull) })
	case c == '[':
		return l.array(func(int) error { return l.skip(noNull) })
	case c == '"':
		_, err := l.str()
		return err
	case c == '-' || (c >= '0' && c <= '9'):
		_, err := l.integer()
		return err
	case c == 'n' && noNull:
		return l.unexpected(c, "a value")
	}
	_, err := l.literal()
	return err
}
