package metadata

import (
	"bytes"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/countersign-ota/countersign/proto/reason"
)

// Encode returns the role file of a canonical signed part and its signatures: compact JSON as go-tuf's
// ToBytes(false) writes it, signatures sorted by key id (DESIGN 1.4). Two signatures by one key are
// refused. It does not verify anything, and only Parse says whether the file is well formed.
func Encode[T metadata.Roles](canonicalSigned []byte, sigs []Signature) ([]byte, error) {
	return EncodeRaw(typeOf[T](), canonicalSigned, sigs)
}

// EncodeRaw is Encode for a signed part whose _type is given by name; a delegated role is of type
// targets, so any name but root, timestamp and snapshot stands for it.
func EncodeRaw(role string, canonicalSigned []byte, sigs []Signature) ([]byte, error) {
	if !isTopLevel(role) {
		role = Targets
	}
	signed, err := FromCanonical(canonicalSigned)
	if err != nil {
		return nil, reason.Wrap(err, "%s: signed part", role)
	}
	if got, err := typeMember(signed); err != nil {
		return nil, reason.Wrap(err, "%s", role)
	} else if got != role {
		return nil, reason.Errorf(reason.Malformed, "signed part is of type %q, wanted %q", got, role)
	}
	sorted := slices.Clone(sigs)
	slices.SortFunc(sorted, func(a, b Signature) int { return strings.Compare(a.KeyID, b.KeyID) })
	out := make([]byte, 0, len(signed)+256*len(sorted)+64)
	out = append(out, `{"signatures":[`...)
	for i, s := range sorted {
		if i > 0 {
			if sorted[i-1].KeyID == s.KeyID {
				return nil, reason.Errorf(reason.TooManySignatures, "%s: two signatures by key %s", role, short(s.KeyID))
			}
			out = append(out, ',')
		}
		out = append(out, `{"keyid":`...)
		out = appendJSONString(out, []byte(s.KeyID))
		out = append(out, `,"sig":"`...)
		out = hex.AppendEncode(out, s.Signature)
		out = append(out, `"}`...)
	}
	out = append(out, `],"signed":`...)
	out = append(out, signed...)
	return append(out, '}'), nil
}

// TypeOf returns the _type of a canonical signed part: root, timestamp, snapshot or targets. It looks
// at nothing else.
func TypeOf(canonicalSigned []byte) (string, error) {
	signed, err := FromCanonical(canonicalSigned)
	if err != nil {
		return "", reason.Wrap(err, "signed part")
	}
	return typeMember(signed)
}

// typeMember reads the _type of a signed part in JSON, which is its first member unless there are some
// that begin with a capital letter or a digit.
func typeMember(signed []byte) (string, error) {
	if rest, ok := bytes.CutPrefix(signed, []byte(`{"_type":"`)); ok {
		if i := bytes.IndexByte(rest, '"'); i >= 0 && isTopLevel(string(rest[:i])) {
			return string(rest[:i]), nil
		}
	}
	got, err := memberOf(signed, "_type")
	if err != nil {
		return "", reason.Wrap(err, "signed part")
	}
	if !isTopLevel(got) {
		return "", reason.Errorf(reason.Malformed, "signed part with _type %q", clip([]byte(got)))
	}
	return got, nil
}
