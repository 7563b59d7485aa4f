package metadata

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/countersign-ota/countersign/proto/reason"
)

// Canonical returns the canonical JSON (OLPC form, as TUF signs it) of a value, or of the bytes when v
// is a json.RawMessage: members sorted by name, no white space, only quotation mark and backslash
// escaped. The result is not JSON once a string holds a control character; FromCanonical goes back.
// It refuses what has no single reading (duplicate names, floats, integers beyond 2^53, invalid
// UTF-8, depth above 32) and never panics. Equal to go-securesystemslib's cjson for all that it takes.
func Canonical(v any) ([]byte, error) {
	raw, ok := v.(json.RawMessage)
	if !ok {
		var err error
		if raw, err = json.Marshal(v); err != nil {
			return nil, reason.Errorf(reason.Malformed, "canonical JSON: %v", err)
		}
	}
	out, err := appendCanonical(make([]byte, 0, len(raw)), raw)
	if err != nil {
		return nil, reason.Wrap(err, "canonical JSON")
	}
	return out, nil
}

// appendCanonical appends the canonical form of the JSON value in raw to out.
func appendCanonical(out, raw []byte) ([]byte, error) {
	return (&canonicalizer{}).append(out, raw)
}

type canonicalizer struct {
	lexer
	out     []byte
	members []member // of all open objects, innermost last
}

// member is where the encoded `"name":value` of one member lies in out.
type member struct {
	name       []byte
	start, end int
}

// append is appendCanonical that keeps its buffers for the next value.
func (c *canonicalizer) append(out, raw []byte) ([]byte, error) {
	c.lexer = lexer{data: raw, names: c.names[:0]}
	c.out, c.members = out, c.members[:0]
	if err := c.value(); err != nil {
		return nil, err
	}
	if err := c.end(); err != nil {
		return nil, err
	}
	return c.out, nil
}

func (c *canonicalizer) value() error {
	switch b := c.peek(); {
	case b == '{':
		return c.objectMembers()
	case b == '[':
		c.out = append(c.out, '[')
		err := c.array(func(i int) error {
			if i > 0 {
				c.out = append(c.out, ',')
			}
			return c.value()
		})
		c.out = append(c.out, ']')
		return err
	case b == '"':
		s, err := c.str()
		c.out = appendCanonicalString(c.out, s)
		return err
	case b == '-' || (b >= '0' && b <= '9'):
		n, err := c.integer()
		c.out = strconv.AppendInt(c.out, n, 10)
		return err
	}
	word, err := c.literal()
	c.out = append(c.out, word...)
	return err
}

// objectMembers encodes an object in the order it has and moves its members only if that is not sorted.
func (c *canonicalizer) objectMembers() error {
	base := len(c.members)
	c.out = append(c.out, '{')
	body := len(c.out)
	err := c.object(func(name []byte) error {
		if len(c.members) > base {
			c.out = append(c.out, ',')
		}
		m := member{name: name, start: len(c.out)}
		c.members = append(c.members, m) // before the value, whose members come after it
		c.out = appendCanonicalString(c.out, name)
		c.out = append(c.out, ':')
		i := len(c.members) - 1
		if err := c.value(); err != nil {
			return err
		}
		c.members[i].end = len(c.out)
		return nil
	})
	if err != nil {
		return err
	}
	members := c.members[base:]
	byName := func(a, b member) int { return bytes.Compare(a.name, b.name) }
	if !slices.IsSortedFunc(members, byName) {
		slices.SortFunc(members, byName)
		old := bytes.Clone(c.out[body:])
		c.out = c.out[:body]
		for i, m := range members {
			if i > 0 {
				c.out = append(c.out, ',')
			}
			c.out = append(c.out, old[m.start-body:m.end-body]...)
		}
	}
	c.members = c.members[:base]
	c.out = append(c.out, '}')
	return nil
}

func appendCanonicalString(out, s []byte) []byte {
	out = append(out, '"')
	from := 0
	for i, c := range s {
		if c == '"' || c == '\\' {
			out = append(append(out, s[from:i]...), '\\')
			from = i
		}
	}
	return append(append(out, s[from:]...), '"')
}

// FromCanonical turns canonical JSON into compact JSON exactly as encoding/json writes it (HTML
// characters escaped, as go-tuf's files have them). It refuses bytes that are not canonical JSON.
func FromCanonical(canonical []byte) ([]byte, error) {
	out := make([]byte, 0, len(canonical)+len(canonical)/16+16)
	for i := 0; i < len(canonical); {
		quote := bytes.IndexByte(canonical[i:], '"')
		if quote < 0 {
			out = append(out, canonical[i:]...)
			break
		}
		out = append(out, canonical[i:i+quote]...)
		s, next := canonicalString(canonical, i+quote+1)
		if next < 0 {
			return nil, reason.Errorf(reason.NotCanonical, "canonical JSON ends within a string")
		}
		out = appendJSONString(out, s)
		i = next
	}
	again, err := appendCanonical(make([]byte, 0, len(canonical)), out)
	if err != nil {
		return nil, reason.Errorf(reason.NotCanonical, "bytes are not canonical JSON: %v", err)
	}
	if !bytes.Equal(again, canonical) {
		return nil, reason.Errorf(reason.NotCanonical, "JSON is not in canonical form")
	}
	return out, nil
}

// canonicalString decodes the string that begins at i, after its quotation mark, and returns what
// follows it, or -1.
func canonicalString(canonical []byte, i int) (s []byte, next int) {
	start, escaped := i, false
	for ; i < len(canonical); i++ {
		switch canonical[i] {
		case '\\':
			escaped = true
			i++
		case '"':
			s = canonical[start:i]
			if escaped {
				s = unescapeCanonical(s)
			}
			return s, i + 1
		}
	}
	return nil, -1
}

func unescapeCanonical(s []byte) []byte {
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		out = append(out, s[i])
	}
	return out
}

const hexDigits = "0123456789abcdef"

// appendJSONString appends s as encoding/json writes it with HTML escaping.
func appendJSONString(out, s []byte) []byte {
	out = append(out, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c < utf8.RuneSelf && c != '"' && c != '\\' && c != '<' && c != '>' && c != '&' {
			i++
			continue
		}
		if c < utf8.RuneSelf {
			out = appendJSONByte(append(out, s[from:i]...), c)
			i++
			from = i
			continue
		}
		r, size := utf8.DecodeRune(s[i:])
		if r == '\u2028' || r == '\u2029' {
			out = append(append(append(out, s[from:i]...), `\u202`...), hexDigits[r&0xf])
			from = i + size
		}
		i += size
	}
	return append(append(out, s[from:]...), '"')
}

// appendJSONByte appends an ASCII character that must be escaped.
func appendJSONByte(out []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(out, '\\', c)
	case '\b':
		return append(out, '\\', 'b')
	case '\f':
		return append(out, '\\', 'f')
	case '\n':
		return append(out, '\\', 'n')
	case '\r':
		return append(out, '\\', 'r')
	case '\t':
		return append(out, '\\', 't')
	}
	return append(out, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0xf])
}
