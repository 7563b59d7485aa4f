package metadata

import (
	"encoding/hex"
	"encoding/json"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/countersign-ota/countersign/proto/reason"
)

// decodeSigned reads a guarded signed part into go-tuf's type, with the same result as its
// UnmarshalJSON. The long maps, targets and a snapshot's meta, are read here, since go-tuf decodes each
// of their entries four times over; everything else is left to it.
func decodeSigned[T metadata.Roles](data []byte, p parts, signed *T) error {
	var err error
	switch s := any(signed).(type) {
	case *TargetsRole:
		if err := unmarshal(withoutEntries(data, p), s); err != nil {
			return err
		}
		s.Targets, err = decodeMap(data[p.entries.start:p.entries.end], decodeTarget)
	case *SnapshotRole:
		if err := unmarshal(withoutEntries(data, p), s); err != nil {
			return err
		}
		s.Meta, err = decodeMap(data[p.entries.start:p.entries.end], decodeMeta)
	default:
		err = unmarshal(data[p.signed.start:p.signed.end], signed)
	}
	return err
}

func unmarshal(raw []byte, v any) error {
	if err := json.Unmarshal(raw, v); err != nil {
		return reason.Errorf(reason.Malformed, "%v", err)
	}
	return nil
}

// withoutEntries returns the signed part with {} in place of its long map.
func withoutEntries(data []byte, p parts) []byte {
	rest := make([]byte, 0, p.signed.end-p.signed.start-(p.entries.end-p.entries.start)+2)
	rest = append(rest, data[p.signed.start:p.entries.start]...)
	rest = append(rest, "{}"...)
	return append(rest, data[p.entries.end:p.signed.end]...)
}

// decodeSignatures reads the array of signatures.
func decodeSignatures(raw []byte) ([]Signature, error) {
	sigs := []Signature{}
	l := &lexer{data: raw}
	err := l.array(func(int) error {
		s := Signature{UnrecognizedFields: map[string]any{}}
		l.peek()
		start, others := l.pos, false
		err := l.object(func(name []byte) (err error) {
			var text []byte
			switch string(name) {
			case "keyid":
				text, err = l.str()
				s.KeyID = string(text)
			case "sig":
				s.Signature, err = decodeHex(l)
			default:
				others = true
				err = l.skip(false)
			}
			return err
		})
		if err == nil && others {
			err = unmarshal(l.data[start:l.pos], &s)
		}
		sigs = append(sigs, s)
		return err
	})
	return sigs, err
}

// decodeMap reads an object of entries.
func decodeMap[E any](raw []byte, entry func(l *lexer, name string) (*E, error)) (map[string]*E, error) {
	entries := map[string]*E{}
	l := &lexer{data: raw}
	err := l.object(func(name []byte) error {
		e, err := entry(l, string(name))
		entries[string(name)] = e
		return err
	})
	return entries, err
}

func decodeTarget(l *lexer, path string) (*TargetFile, error) {
	t := &TargetFile{UnrecognizedFields: map[string]any{}}
	l.peek()
	start, others := l.pos, false
	err := l.object(func(name []byte) (err error) {
		switch string(name) {
		case "length":
			t.Length, err = l.integer()
		case "hashes":
			t.Hashes, err = decodeHashes(l)
		case "custom":
			l.peek()
			at := l.pos
			err = l.skip(false)
			custom := json.RawMessage(l.data[at:l.pos:l.pos])
			t.Custom = &custom
		default:
			others = true
			err = l.skip(false)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if others {
		if err := unmarshal(l.data[start:l.pos], t); err != nil {
			return nil, reason.Wrap(err, "target %q", clip([]byte(path)))
		}
	}
	if len(t.Hashes) == 0 {
		return nil, reason.Errorf(reason.Malformed, "target %q: no hashes", clip([]byte(path)))
	}
	t.Path = path
	return t, nil
}

func decodeMeta(l *lexer, file string) (*metadata.MetaFiles, error) {
	m := &metadata.MetaFiles{UnrecognizedFields: map[string]any{}}
	l.peek()
	start, others := l.pos, false
	err := l.object(func(name []byte) (err error) {
		switch string(name) {
		case "version":
			m.Version, err = l.integer()
		case "length":
			m.Length, err = l.integer()
		case "hashes":
			m.Hashes, err = decodeHashes(l)
		default:
			others = true
			err = l.skip(false)
		}
		return err
	})
	if err == nil && others {
		err = unmarshal(l.data[start:l.pos], m)
	}
	if err != nil {
		return nil, reason.Wrap(err, "entry %q", clip([]byte(file)))
	}
	return m, nil
}

func decodeHashes(l *lexer) (metadata.Hashes, error) {
	hashes := metadata.Hashes{}
	err := l.object(func(name []byte) error {
		sum, err := decodeHex(l)
		hashes[string(name)] = sum
		return err
	})
	return hashes, err
}

// decodeHex reads a string of hex digits.
func decodeHex(l *lexer) (metadata.HexBytes, error) {
	text, err := l.str()
	if err != nil {
		return nil, err
	}
	out := make([]byte, hex.DecodedLen(len(text)))
	if _, err := hex.Decode(out, text); err != nil {
		return nil, l.errorf(reason.Malformed, "%q is not hex", clip(text))
	}
	return out, nil
}
