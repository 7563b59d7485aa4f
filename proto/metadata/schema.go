package metadata

import (
	"github.com/countersign-ota/countersign/proto/reason"
)

// kind is what a value must be.
type kind int

const (
	ofAny        kind = iota
	ofAnyNotNull      // any value without a null at any depth
	ofText
	ofInteger
	ofBool
	ofList
	ofMap    // an object whose names are data: targets, meta, keys, hashes
	ofObject // an object with known members
)

// shape is the form of one value in a role file. Shapes are made once and never changed.
type shape struct {
	kind kind
	// fields, others, closed and exclusive describe a fixed object: its known members, the form of
	// the rest (nil stands for any value), whether there may be a rest, and pairs that exclude each other.
	fields    []field
	others    *shape
	closed    bool
	exclusive [][2]string
	// elem is the form of an element of a list or a map, require a name that a map must have.
	elem    *shape
	require string
	// min and max bound an integer, max the length of a list; 0 is no maximum.
	min, max int64
	// tooMany is the reason when a list is too long; distinct a member that all elements have, of
	// which no two may be equal, and twice the reason if they are.
	tooMany, twice reason.Reason
	distinct       string
	// accept looks at a string; verbatim refuses escapes in it, which go-tuf does not decode in hex.
	accept   func(string) error
	verbatim bool
	// capture keeps where the value lies.
	capture func(*parts) *span
}

type field struct {
	name     string
	shape    *shape
	required bool
}

// index returns the position of a member, or -1.
func (s *shape) index(name string) int {
	for i := range s.fields {
		if s.fields[i].name == name {
			return i
		}
	}
	return -1
}

func must(name string, s *shape) field { return field{name, s, true} }
func may(name string, s *shape) field  { return field{name, s, false} }

func fixedOf(fields ...field) *shape {
	return &shape{kind: ofObject, fields: fields, others: &shape{kind: ofAny}}
}

// extension is a fixed object of Countersign's own, in which nothing is null.
func extension(fields ...field) *shape {
	return &shape{kind: ofObject, fields: fields, others: &shape{kind: ofAnyNotNull}}
}

func mapOf(elem *shape) *shape  { return &shape{kind: ofMap, elem: elem} }
func listOf(elem *shape) *shape { return &shape{kind: ofList, elem: elem} }

// schemas holds the shape of each role file. The members beginning with x-countersign- and the inside
// of custom are data in plain mode.
var schemas = map[Mode]map[string]*shape{
	Profile: {Root: fileShape(Root, Profile), Timestamp: fileShape(Timestamp, Profile), Snapshot: fileShape(Snapshot, Profile), Targets: fileShape(Targets, Profile)},
	Plain:   {Root: fileShape(Root, Plain), Timestamp: fileShape(Timestamp, Plain), Snapshot: fileShape(Snapshot, Plain), Targets: fileShape(Targets, Plain)},
}

func fileShape(role string, m Mode) *shape {
	signed := signedShape(role, m)
	signed.capture = func(p *parts) *span { return &p.signed }
	signature := fixedOf(must("keyid", &shape{kind: ofText}), must("sig", hexShape()))
	signatures := &shape{
		kind: ofList, elem: signature, max: MaxSignatures, tooMany: reason.TooManySignatures,
		distinct: "keyid", twice: reason.TooManySignatures,
		capture: func(p *parts) *span { return &p.signatures },
	}
	file := fixedOf(must("signed", signed), must("signatures", signatures))
	file.closed = true
	return file
}

func signedShape(role string, m Mode) *shape {
	str := &shape{kind: ofText}
	s := fixedOf(
		must("_type", &shape{kind: ofText, accept: acceptType(role)}),
		must("spec_version", &shape{kind: ofText, accept: acceptSpecVersion}),
		must("version", &shape{kind: ofInteger, min: 1}),
		must("expires", &shape{kind: ofText, accept: acceptTime}),
	)
	if m == Profile {
		s.fields = append(s.fields, may(ScopeField, str))
	}
	switch role {
	case Root:
		// A missing consistent_snapshot is go-tuf's false and so not-canonical.
		s.fields = append(s.fields, may("consistent_snapshot", &shape{kind: ofBool}), must("keys", mapOf(keyShape())), must("roles", rootRoles()))
		if m == Profile {
			s.fields = append(s.fields, may(QuorumField, extension(may(Root, quorumShape()), may(Targets, quorumShape()))), may(TLSField, listOf(str)))
		}
	case Timestamp, Snapshot:
		meta := mapOf(metaShape())
		meta.capture = entriesSpan
		if role == Timestamp {
			// go-tuf dereferences this entry without looking.
			meta.require = "snapshot.json"
		}
		s.fields = append(s.fields, must("meta", meta))
	case Targets:
		targets := mapOf(targetShape(m))
		targets.capture = entriesSpan
		s.fields = append(s.fields, must("targets", targets), may("delegations", delegationsShape(m)))
		if m == Profile {
			s.fields = append(s.fields, may(HighField, highShape()), may(StopField, stopShape()))
		}
	}
	return s
}

func entriesSpan(p *parts) *span { return &p.entries }
