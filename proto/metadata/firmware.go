package metadata

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"

	"github.com/countersign-ota/countersign/proto/reason"
)

// Bounds of the firmware document; DESIGN 1.3 and 6 where they are given there.
const (
	// FirmwareV is the `v` that this code understands.
	FirmwareV = 1
	// MaxImage bounds an image in bytes.
	MaxImage = 16 << 30
	// MaxSpreadHours bounds spread_hours: a year.
	MaxSpreadHours = 24 * 366

	maxList = 64  // hardware, requires, fixes, evidence
	maxText = 256 // a fix's name
)

// customMember is the one member of a target's custom.
const customMember = "countersign"

// Firmware is `custom.countersign` of an image target: what the image is, as its quorum signed it
// (DESIGN 1.3). Counters are compared, Version is for people.
type Firmware struct {
	V             int                    `json:"v"`
	Product       string                 `json:"product"`
	Version       string                 `json:"version"`
	Counter       int64                  `json:"counter"`
	Floor         int64                  `json:"floor"`
	Component     string                 `json:"component"`
	Hardware      []string               `json:"hardware"`
	Installer     string                 `json:"installer"`
	InstallerArgs map[string]any         `json:"installer_args"`
	Requires      []Requirement          `json:"requires,omitempty"`
	Conditions    *Conditions            `json:"conditions,omitempty"`
	SpreadHours   int                    `json:"spread_hours"`
	Class         string                 `json:"class"`
	Fixes         []string               `json:"fixes,omitempty"`
	Evidence      map[string]EvidenceRef `json:"evidence,omitempty"`
}

// Requirement says that another product must first run at least a counter.
type Requirement struct {
	Product    string `json:"product"`
	MinCounter int64  `json:"min_counter"`
}

// Conditions are the signed gates (DESIGN 5.4). The zero value of each member demands nothing.
type Conditions struct {
	// BatteryPercentMin is 0 to 100.
	BatteryPercentMin int `json:"battery_percent_min,omitempty"`
	// Idle demands that the device is out of use.
	Idle bool `json:"idle,omitempty"`
	// DowntimeSeconds is how long the update keeps the device out of use.
	DowntimeSeconds int64 `json:"downtime_seconds,omitempty"`
}

// EvidenceRef names an evidence file, a blob in the same name space as targets. Length is 0 where the
// document does not state it.
type EvidenceRef struct {
	Path   string `json:"path"`
	SHA256 string `json:"sha256"`
	Length int64  `json:"length,omitempty"`
}

// ParseFirmware reads the firmware document of the target at path and checks what can be checked
// without its neighbours: the target's hash and length, the forms of all members, that the document
// names the product and version of its path, floor ≤ counter. strict refuses members that are not known
// (signer and server); devices ignore them, since they live for 15 years.
func ParseFirmware(path string, t *TargetFile, strict bool) (*Firmware, error) {
	f, err := parseFirmware(path, t, strict)
	if err != nil {
		return nil, reason.Wrap(err, "target %q", path)
	}
	return f, nil
}

func parseFirmware(path string, t *TargetFile, strict bool) (*Firmware, error) {
	p, err := ParseTargetPath(path)
	if err != nil {
		return nil, err
	}
	if err := checkTarget(t); err != nil {
		return nil, err
	}
	raw, err := decodeValue(*t.Custom)
	if err != nil {
		return nil, reason.Wrap(err, "custom")
	}
	custom, err := asObject(raw, customMember)
	if err != nil {
		return nil, reason.Wrap(err, "custom")
	}
	doc, err := custom.member(customMember)
	if err != nil {
		return nil, reason.Wrap(err, "custom")
	}
	f, err := readFirmware(doc, strict)
	if err != nil {
		return nil, reason.Wrap(err, "custom.%s", customMember)
	}
	if f.Product != p.Product || f.Version != p.Version {
		return nil, reason.Errorf(reason.ProductMismatch, "the document names %s %s", f.Product, f.Version)
	}
	if f.Floor > f.Counter {
		return nil, reason.Errorf(reason.Floor, "floor %d is above counter %d", f.Floor, f.Counter)
	}
	return f, nil
}

// checkTarget takes exactly one hash, SHA-256, and an image of 1 byte to MaxImage.
func checkTarget(t *TargetFile) error {
	if t == nil || t.Custom == nil {
		return reason.Errorf(reason.Malformed, "no custom.%s", customMember)
	}
	if err := checkHashes(t.Hashes); err != nil {
		return err
	}
	if t.Length < 1 || t.Length > MaxImage {
		return reason.Errorf(reason.IntegerRange, "length %d, want 1 to %d", t.Length, int64(MaxImage))
	}
	return nil
}

// Custom returns the value for a target's custom: the document alone under `countersign`, canonical.
func (f *Firmware) Custom() (*json.RawMessage, error) {
	doc := *f
	if doc.InstallerArgs == nil {
		doc.InstallerArgs = map[string]any{}
	}
	if doc.Conditions != nil && *doc.Conditions == (Conditions{}) {
		doc.Conditions = nil
	}
	canonical, err := Canonical(map[string]Firmware{customMember: doc})
	if err != nil {
		return nil, reason.Wrap(err, "firmware %s/%s", f.Product, f.Version)
	}
	text, err := FromCanonical(canonical)
	if err != nil {
		return nil, reason.Wrap(err, "firmware %s/%s", f.Product, f.Version)
	}
	raw := json.RawMessage(text)
	return &raw, nil
}

// CustomCanonical returns the canonical JSON of the target's whole custom.countersign, members that we
// do not know included: image and director must agree on it byte by byte (DESIGN 1.1).
func CustomCanonical(t *TargetFile) ([]byte, error) {
	if t == nil || t.Custom == nil {
		return nil, reason.Errorf(reason.Malformed, "target without custom.%s", customMember)
	}
	var doc []byte
	l := &lexer{data: *t.Custom}
	err := l.object(func(name []byte) error {
		if l.peek(); string(name) != customMember {
			return reason.Errorf(reason.UnknownMember, "custom: unknown member %q", clip(name))
		}
		start := l.pos
		err := l.skip(false)
		doc = l.data[start:l.pos]
		return err
	})
	if err == nil {
		err = l.end()
	}
	if err != nil {
		return nil, err
	}
	if doc == nil {
		return nil, reason.Errorf(reason.Malformed, "target without custom.%s", customMember)
	}
	return Canonical(json.RawMessage(doc))
}

// Clone returns a copy that shares nothing but the values inside InstallerArgs.
func (f *Firmware) Clone() *Firmware {
	c := *f
	c.Hardware = slices.Clone(f.Hardware)
	c.InstallerArgs = maps.Clone(f.InstallerArgs)
	c.Requires = slices.Clone(f.Requires)
	if f.Conditions != nil {
		conditions := *f.Conditions
		c.Conditions = &conditions
	}
	c.Fixes = slices.Clone(f.Fixes)
	c.Evidence = maps.Clone(f.Evidence)
	return &c
}

// Equal reports whether two documents are the same in canonical form.
func (f *Firmware) Equal(other *Firmware) bool {
	if f == nil || other == nil {
		return f == other
	}
	a, errA := f.Custom()
	b, errB := other.Custom()
	return errA == nil && errB == nil && bytes.Equal(*a, *b)
}
