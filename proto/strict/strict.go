// Package strict reads JSON that comes from outside into Go values without the liberties of
// encoding/json: size and depth are bounded, a name may stand once, letter case counts, unknown
// members, missing members, nulls and floats are refused, and nothing may follow.
//
// Unmarshal is all of it. Role files have a guard of their own in proto/metadata (DESIGN 7), since
// they may hold members that older readers do not know.
package strict

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strings"
	"unicode"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// Unmarshal reads the one JSON value in data, at most limit bytes, into v, which MUST be a pointer.
// what names the thing in errors. White space and the order of members are free; otherwise what v
// encodes to must be what was read, so a member is optional only if v's type says so (omitempty or
// omitzero). On an error v holds nothing to rely on. Reasons: too-large, too-deep, duplicate-name,
// unknown-member, folded-name, null, not-integer, integer-range, not-canonical, malformed.
func Unmarshal(data []byte, v any, limit int, what string) error {
	if len(data) > limit {
		return reason.Errorf(reason.TooLarge, "%s has more than %d bytes", what, limit)
	}
	// Canonical refuses duplicate names, depth, floats and bytes after the value.
	read, err := metadata.Canonical(json.RawMessage(data))
	if err != nil {
		return reason.Wrap(err, "%s", what)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return decodeError(err, what)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return reason.Errorf(reason.Malformed, "%s: something follows the JSON value", what)
	}
	// encoding/json folds case and skips nulls: compare what it understood with what was there.
	understood, err := metadata.Canonical(v)
	if err != nil {
		return reason.Wrap(err, "%s", what)
	}
	if !bytes.Equal(read, understood) {
		return difference(read, understood, what)
	}
	// A null that became a nil list, map or pointer is written back as null.
	if field := nilField(reflect.ValueOf(v)); field != "" {
		return reason.Errorf(reason.Null, "%s: null stands where %q must", what, field)
	}
	return nil
}

// nilField returns the name of a member that must have a value and is nil.
func nilField(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Pointer:
		return nilField(v.Elem())
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return ""
		}
		for i := range v.Len() {
			if name := nilField(v.Index(i)); name != "" {
				return name
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			f, tag := v.Type().Field(i), v.Type().Field(i).Tag.Get("json")
			if !f.IsExported() || tag == "-" {
				continue
			}
			name, optional, _ := strings.Cut(tag, ",")
			switch value := v.Field(i); value.Kind() {
			case reflect.Pointer, reflect.Slice, reflect.Map:
				if value.IsNil() {
					if optional == "" {
						return name
					}
					continue
				}
			}
			if name := nilField(v.Field(i)); name != "" {
				return name
			}
		}
	}
	return ""
}

func decodeError(err error, what string) error {
	var typ *json.UnmarshalTypeError
	switch {
	case errors.As(err, &typ):
		return reason.Errorf(reason.Malformed, "%s: %q is a %s, wanted a %s", what, typ.Field, typ.Value, typ.Type.Kind())
	case strings.Contains(err.Error(), "unknown field"):
		return reason.Errorf(reason.UnknownMember, "%s: %v", what, err)
	}
	if r := reason.Of(err); r != "" {
		return reason.Wrap(err, "%s", what)
	}
	return reason.Errorf(reason.Malformed, "%s: %v", what, err)
}

// difference says why what was read is not what was understood.
func difference(read, understood []byte, what string) error {
	switch {
	case string(read) == "null" || bytes.Count(read, []byte("null")) > bytes.Count(understood, []byte("null")):
		return reason.Errorf(reason.Null, "%s: null stands where a value must", what)
	}
	at := 0
	for at < len(read) && at < len(understood) && read[at] == understood[at] {
		at++
	}
	if isName(read, at) && bytes.Equal(fold(read), fold(understood)) {
		return reason.Errorf(reason.FoldedName, "%s: a member's name has other letter case than the known one", what)
	}
	return reason.Errorf(reason.NotCanonical, "%s: a member is missing, empty or in another form: found %q, wanted %q", what, clip(read, at), clip(understood, at))
}

// isName reports whether at lies within a member's name rather than a value.
func isName(canonical []byte, at int) bool {
	for ; at < len(canonical) && canonical[at] != '"'; at++ {
		if canonical[at] == '\\' {
			at++
		}
	}
	return at+1 < len(canonical) && canonical[at+1] == ':'
}

// fold returns canonical JSON without letter case, as encoding/json ignores it: also ſ (U+017F) is an s
// and the Kelvin sign a k. Members are sorted anew. It is only for the choice of a reason.
func fold(canonical []byte) []byte {
	folded := bytes.Map(func(r rune) rune {
		least := r
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			if f >= 'a' && f <= 'z' {
				return f
			}
			if r < 'a' || r > 'z' {
				least = min(least, f)
			}
		}
		return least
	}, canonical)
	sorted, err := metadata.Canonical(json.RawMessage(folded))
	if err != nil {
		return folded
	}
	return sorted
}

// clip returns a few bytes of b around at, for an error text.
func clip(b []byte, at int) []byte {
	return b[max(0, at-16):min(len(b), at+32)]
}
