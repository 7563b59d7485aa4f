package metadata

import (
	"strconv"
	"unicode/utf8"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/countersign-ota/countersign/proto/reason"
)

// Signed returns the canonical signed part of a value that we built, as signatures cover it: the bytes
// that go-tuf signs and verifies. Targets and snapshots are appended directly; go-tuf's MarshalJSON
// would build and re-encode a map for each entry, once for every level above it.
func Signed[T metadata.Roles](signed T) ([]byte, error) {
	var out []byte
	var err error
	switch s := any(&signed).(type) {
	case *TargetsRole:
		out, err = appendTargets(make([]byte, 0, 512+600*len(s.Targets)), s)
	case *SnapshotRole:
		out, err = appendSnapshot(make([]byte, 0, 512+160*len(s.Meta)), s)
	default:
		return Canonical(signed)
	}
	if err != nil {
		return nil, reason.Wrap(err, "canonical JSON")
	}
	return out, nil
}

func appendTargets(out []byte, s *TargetsRole) ([]byte, error) {
	fields := map[string]any{
		"_type": s.Type, "spec_version": s.SpecVersion, "version": s.Version, "expires": s.Expires,
		"targets": entries[TargetFile]{s.Targets, appendTarget},
	}
	if s.Delegations != nil {
		fields["delegations"] = s.Delegations
	}
	return appendFields(out, fields, s.UnrecognizedFields)
}

func appendSnapshot(out []byte, s *SnapshotRole) ([]byte, error) {
	return appendFields(out, map[string]any{
		"_type": s.Type, "spec_version": s.SpecVersion, "version": s.Version, "expires": s.Expires,
		"meta": entries[metadata.MetaFiles]{s.Meta, appendMeta},
	}, s.UnrecognizedFields)
}

// appender is a value that appends its own canonical form.
type appender interface {
	append(out []byte) ([]byte, error)
}

// appendFields appends an object of known fields and of others; a known field wins, as in go-tuf.
func appendFields(out []byte, fields, others map[string]any) ([]byte, error) {
	all := make(map[string]any, len(fields)+len(others))
	for name, v := range others {
		all[name] = v
	}
	for name, v := range fields {
		all[name] = v
	}
	out = append(out, '{')
	for i, name := range sortedKeys(all) {
		var err error
		if out, err = appendName(out, i, name); err != nil {
			return nil, err
		}
		if a, ok := all[name].(appender); ok {
			out, err = a.append(out)
		} else {
			var canonical []byte
			canonical, err = Canonical(all[name])
			out = append(out, canonical...)
		}
		if err != nil {
			return nil, err
		}
	}
	return append(out, '}'), nil
}

// appendName appends the name of member i and its colon.
func appendName(out []byte, i int, name string) ([]byte, error) {
	if i > 0 {
		out = append(out, ',')
	}
	if !utf8.ValidString(name) {
		return nil, reason.Errorf(reason.Malformed, "the name %q is not valid UTF-8", clip([]byte(name)))
	}
	return append(appendCanonicalString(out, []byte(name)), ':'), nil
}

// entries is a map of many entries of one type.
type entries[E any] struct {
	m     map[string]*E
	entry func(c *canonicalizer, out []byte, e *E) ([]byte, error)
}

func (es entries[E]) append(out []byte) ([]byte, error) {
	if es.m == nil {
		return append(out, "null"...), nil
	}
	out = append(out, '{')
	c := &canonicalizer{}
	for i, name := range sortedKeys(es.m) {
		var err error
		if out, err = appendName(out, i, name); err != nil {
			return nil, err
		}
		if es.m[name] == nil {
			out = append(out, "null"...)
		} else if out, err = es.entry(c, out, es.m[name]); err != nil {
			return nil, reason.Wrap(err, "%q", clip([]byte(name)))
		}
	}
	return append(out, '}'), nil
}

func appendTarget(c *canonicalizer, out []byte, t *TargetFile) ([]byte, error) {
	if len(t.UnrecognizedFields) > 0 || t.Hashes == nil {
		return appendAny(out, t)
	}
	out = append(out, '{')
	var err error
	if t.Custom != nil {
		out = append(out, `"custom":`...)
		if out, err = c.append(out, *t.Custom); err != nil {
			return nil, err
		}
		out = append(out, ',')
	}
	if out, err = appendHashes(out, t.Hashes); err != nil {
		return nil, err
	}
	out = append(out, `,"length":`...)
	if out, err = appendInteger(out, t.Length); err != nil {
		return nil, err
	}
	return append(out, '}'), nil
}

func appendMeta(_ *canonicalizer, out []byte, m *metadata.MetaFiles) ([]byte, error) {
	if len(m.UnrecognizedFields) > 0 {
		return appendAny(out, m)
	}
	out = append(out, '{')
	var err error
	if len(m.Hashes) != 0 {
		if out, err = appendHashes(out, m.Hashes); err != nil {
			return nil, err
		}
		out = append(out, ',')
	}
	if m.Length != 0 {
		out = append(out, `"length":`...)
		if out, err = appendInteger(out, m.Length); err != nil {
			return nil, err
		}
		out = append(out, ',')
	}
	out = append(out, `"version":`...)
	if out, err = appendInteger(out, m.Version); err != nil {
		return nil, err
	}
	return append(out, '}'), nil
}

// appendAny goes through go-tuf's MarshalJSON.
func appendAny(out []byte, v any) ([]byte, error) {
	canonical, err := Canonical(v)
	return append(out, canonical...), err
}

func appendHashes(out []byte, hashes metadata.Hashes) ([]byte, error) {
	out = append(out, `"hashes":{`...)
	for i, name := range sortedKeys(hashes) {
		var err error
		if out, err = appendName(out, i, name); err != nil {
			return nil, err
		}
		out = append(out, '"')
		for _, b := range hashes[name] {
			out = append(out, hexDigits[b>>4], hexDigits[b&0xf])
		}
		out = append(out, '"')
	}
	return append(out, '}'), nil
}

func appendInteger(out []byte, n int64) ([]byte, error) {
	if n > MaxInteger || n < -MaxInteger {
		return nil, reason.Errorf(reason.IntegerRange, "the integer %d is beyond 2^53", n)
	}
	return strconv.AppendInt(out, n, 10), nil
}
