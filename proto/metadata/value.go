package metadata

import (
	"encoding/json"
	"slices"
	"strconv"

	"github.com/countersign-ota/countersign/proto/reason"
)

// object is a JSON object of fixed members, decoded into any, for strict reading.
type object struct {
	members map[string]any
}

// asObject refuses what is not an object and members that are not known.
func asObject(raw any, known ...string) (object, error) {
	m, ok := raw.(map[string]any)
	if !ok {
		return object{}, wrongType(raw, "an object")
	}
	for _, name := range sortedKeys(m) {
		if known != nil && !slices.Contains(known, name) {
			return object{}, reason.Errorf(reason.UnknownMember, "unknown member %q", clip([]byte(name)))
		}
	}
	return object{m}, nil
}

func wrongType(raw any, want string) error {
	if raw == nil {
		return reason.Errorf(reason.Null, "null stands where %s must", want)
	}
	return reason.Errorf(reason.Malformed, "want %s", want)
}

func (o object) member(name string) (any, error) {
	v, ok := o.members[name]
	if !ok {
		return nil, reason.Errorf(reason.Malformed, "member %q is missing", name)
	}
	return v, nil
}

// text reads a string of 1 to max bytes.
func (o object) text(name string, max int) (string, error) {
	v, err := o.member(name)
	if err != nil {
		return "", err
	}
	s, ok := v.(string)
	if !ok {
		return "", reason.Wrap(wrongType(v, "a string"), "member %q", name)
	}
	if s == "" || len(s) > max {
		return "", reason.Errorf(reason.Malformed, "member %q: want 1 to %d bytes", name, max)
	}
	return s, nil
}

// integer reads an integer from min to max.
func (o object) integer(name string, min, max int64) (int64, error) {
	v, err := o.member(name)
	if err != nil {
		return 0, err
	}
	n, ok := asInteger(v)
	if !ok {
		return 0, reason.Wrap(wrongType(v, "an integer"), "member %q", name)
	}
	if n < min || n > max {
		return 0, reason.Errorf(reason.IntegerRange, "member %q is %d, want %d to %d", name, n, min, max)
	}
	return n, nil
}

// array reads an array of at most max elements.
func (o object) array(name string, max int) ([]any, error) {
	v, err := o.member(name)
	if err != nil {
		return nil, err
	}
	a, ok := v.([]any)
	if !ok {
		return nil, reason.Wrap(wrongType(v, "an array"), "member %q", name)
	}
	if len(a) > max {
		return nil, reason.Errorf(reason.Limit, "member %q has %d elements, at most %d are allowed", name, len(a), max)
	}
	return a, nil
}

// mapOf reads an object whose names are free.
func (o object) mapOf(name string) (map[string]any, error) {
	v, err := o.member(name)
	if err != nil {
		return nil, err
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, reason.Wrap(wrongType(v, "an object"), "member %q", name)
	}
	return m, nil
}

// asInteger takes a number as encoding/json or decodeValue left it, if it is an integer within ±2^53.
func asInteger(v any) (int64, bool) {
	var n int64
	switch v := v.(type) {
	case float64:
		if v < -MaxInteger || v > MaxInteger || v != float64(int64(v)) {
			return 0, false
		}
		n = int64(v)
	case int64:
		n = v
	case int:
		n = int64(v)
	case json.Number:
		var err error
		if n, err = strconv.ParseInt(v.String(), 10, 64); err != nil {
			return 0, false
		}
	default:
		return 0, false
	}
	return n, n >= -MaxInteger && n <= MaxInteger
}

// sortedKeys returns the names of a map in order, so that map order reaches nothing.
func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// decodeValue decodes JSON strictly (see lexer) into map[string]any, []any, string, int64, bool, nil.
func decodeValue(data []byte) (any, error) {
	l := &lexer{data: data}
	v, err := l.value()
	if err != nil {
		return nil, err
	}
	return v, l.end()
}

func (l *lexer) value() (any, error) {
	switch c := l.peek(); {
	case c == '{':
		m := map[string]any{}
		return m, l.object(func(name []byte) error {
			v, err := l.value()
			m[string(name)] = v
			return err
		})
	case c == '[':
		a := []any{}
		err := l.array(func(int) error {
			v, err := l.value()
			a = append(a, v)
			return err
		})
		return a, err
	case c == '"':
		s, err := l.str()
		return string(s), err
	case c == '-' || (c >= '0' && c <= '9'):
		return l.integer()
	}
	word, err := l.literal()
	switch word {
	case "true":
		return true, err
	case "false":
		return false, err
	}
	return nil, err
}
