package metadata

import (
	"bytes"
	"unicode/utf8"

	"github.com/countersign-ota/countersign/proto/reason"
)

// str reads a string and returns it decoded: a part of the input unless it holds escapes.
func (l *lexer) str() ([]byte, error) {
	if c := l.peek(); c != '"' {
		return nil, l.unexpected(c, "a string")
	}
	l.pos++
	start := l.pos
	ascii := true
	for i, c := range l.data[start:] {
		if c >= ' ' && c != '"' && c != '\\' {
			ascii = ascii && c < utf8.RuneSelf
			continue
		}
		l.pos = start + i
		switch c {
		case '"':
			s := l.data[start:l.pos]
			if !ascii && !utf8.Valid(s) {
				return nil, l.errorf(reason.Malformed, "a string is not valid UTF-8")
			}
			l.pos++
			return s, nil
		case '\\':
			return l.escaped(start)
		}
		return nil, l.errorf(reason.Malformed, "a string holds the control character %#02x", c)
	}
	l.pos = len(l.data)
	return nil, l.errorf(reason.Malformed, "JSON ends within a string")
}

// escaped goes on with a string at its first backslash.
func (l *lexer) escaped(start int) ([]byte, error) {
	out := append(make([]byte, 0, 2*(l.pos-start)+64), l.data[start:l.pos]...)
	for l.pos < len(l.data) {
		c := l.data[l.pos]
		switch {
		case c == '"':
			if !utf8.Valid(out) {
				return nil, l.errorf(reason.Malformed, "a string is not valid UTF-8")
			}
			l.pos++
			return out, nil
		case c < 0x20:
			return nil, l.errorf(reason.Malformed, "a string holds the control character %#02x", c)
		case c != '\\':
			out = append(out, c)
			l.pos++
			continue
		}
		if l.pos+1 >= len(l.data) {
			break
		}
		e := l.data[l.pos+1]
		if e == 'u' {
			r, err := l.unicode()
			if err != nil {
				return nil, err
			}
			out = utf8.AppendRune(out, r)
			continue
		}
		i := bytes.IndexByte([]byte(`"\/bfnrt`), e)
		if i < 0 {
			return nil, l.errorf(reason.Malformed, "a string holds the unknown escape %q", l.data[l.pos:l.pos+2])
		}
		out = append(out, "\"\\/\b\f\n\r\t"[i])
		l.pos += 2
	}
	return nil, l.errorf(reason.Malformed, "JSON ends within a string")
}

// unicode reads \uXXXX, or a surrogate pair of two. A lone surrogate is no character.
func (l *lexer) unicode() (rune, error) {
	hi, ok := l.hex4(l.pos)
	if !ok {
		return 0, l.errorf(reason.Malformed, "a string holds an incomplete \\u escape")
	}
	if hi < 0xd800 || hi > 0xdfff {
		l.pos += 6
		return hi, nil
	}
	lo, ok := l.hex4(l.pos + 6)
	if !ok || hi > 0xdbff || lo < 0xdc00 || lo > 0xdfff {
		return 0, l.errorf(reason.Malformed, "a string holds half of a surrogate pair")
	}
	l.pos += 12
	return (hi-0xd800)<<10 + (lo - 0xdc00) + 0x10000, nil
}

func (l *lexer) hex4(at int) (rune, bool) {
	if at+6 > len(l.data) || l.data[at] != '\\' || l.data[at+1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range l.data[at+2 : at+6] {
		switch {
		case c >= '0' && c <= '9':
			r = r<<4 | rune(c-'0')
		case c >= 'a' && c <= 'f':
			r = r<<4 | rune(c-'a'+10)
		case c >= 'A' && c <= 'F':
			r = r<<4 | rune(c-'A'+10)
		default:
			return 0, false
		}
	}
	return r, true
}
