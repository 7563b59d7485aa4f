package metadata

import (
	"github.com/countersign-ota/countersign/proto/reason"
)

// HighField is the member of a product's signed part that holds its highest counter and floors.
const HighField = "x-countersign-high"

// ProductField is the member of a product's delegation that holds its policy.
const ProductField = "x-countersign-product"

// TLSField is the member of the director root's signed part that lists the TLS anchors (DESIGN 1.6).
const TLSField = "x-countersign-tls"

// maxAnchors bounds the TLS anchors of a director root.
const maxAnchors = 16

// High is the highest counter that a product ever used, and the floor of each component. Neither ever
// falls; new entries are checked against it, so no unchanged bin is read and no counter comes back.
type High struct {
	Counter int64
	Floors  map[string]int64
}

// ParseHigh reads the value of HighField.
func ParseHigh(raw any) (*High, error) {
	o, err := asObject(raw, "counter", "floors")
	if err != nil {
		return nil, reason.Wrap(err, HighField)
	}
	h := &High{Floors: map[string]int64{}}
	if h.Counter, err = o.integer("counter", 0, MaxInteger); err != nil {
		return nil, reason.Wrap(err, HighField)
	}
	floors, err := o.mapOf("floors")
	if err != nil {
		return nil, reason.Wrap(err, HighField)
	}
	for _, component := range sortedKeys(floors) {
		if err := CheckID("component", component); err != nil {
			return nil, reason.Wrap(err, HighField)
		}
		n, err := object{floors}.integer(component, 0, MaxInteger)
		if err != nil {
			return nil, reason.Wrap(err, "%s: floors", HighField)
		}
		if n > h.Counter {
			return nil, reason.Errorf(reason.Floor, "%s: floor %d of component %q is above counter %d", HighField, n, component, h.Counter)
		}
		h.Floors[component] = n
	}
	return h, nil
}

// Field returns the value to put under HighField.
func (h *High) Field() any {
	floors := map[string]any{}
	for component, n := range h.Floors {
		floors[component] = float64(n)
	}
	return map[string]any{"counter": float64(h.Counter), "floors": floors}
}

// CheckRise reports whether next keeps what h says: counter-low when the counter falls, floor-falls
// when a floor falls or is missing.
func (h *High) CheckRise(next *High) error {
	if next.Counter < h.Counter {
		return reason.Errorf(reason.CounterLow, "%s: counter %d, it was %d", HighField, next.Counter, h.Counter)
	}
	for _, component := range sortedKeys(h.Floors) {
		if next.Floors[component] < h.Floors[component] {
			return reason.Errorf(reason.FloorFalls, "%s: floor %d of component %q, it was %d", HighField, next.Floors[component], component, h.Floors[component])
		}
	}
	return nil
}

// ProductPolicy is what a plan demands of a product's releases beyond its quorum. SBOM is "required"
// or "none". A retired product takes no release; it keeps its name and its stop list for ever.
type ProductPolicy struct {
	SBOM    string
	Retired bool
}

// The values of ProductPolicy.SBOM.
const (
	SBOMRequired = "required"
	SBOMNone     = "none"
)

// ParseProductPolicy reads the value of ProductField.
func ParseProductPolicy(raw any) (*ProductPolicy, error) {
	o, err := asObject(raw, "sbom", "retired")
	if err != nil {
		return nil, reason.Wrap(err, ProductField)
	}
	sbom, err := o.text("sbom", maxName)
	if err != nil {
		return nil, reason.Wrap(err, ProductField)
	}
	if sbom != SBOMRequired && sbom != SBOMNone {
		return nil, reason.Errorf(reason.Malformed, "%s: sbom is %q, want %q or %q", ProductField, clip([]byte(sbom)), SBOMRequired, SBOMNone)
	}
	p := &ProductPolicy{SBOM: sbom}
	if v, ok := o.members["retired"]; ok {
		// One form for each policy: what is not retired does not say so.
		if p.Retired, ok = v.(bool); !ok || !p.Retired {
			return nil, reason.Errorf(reason.Malformed, "%s: retired is there and not true", ProductField)
		}
	}
	return p, nil
}

// Field returns the value to put under ProductField.
func (p *ProductPolicy) Field() any {
	m := map[string]any{"sbom": p.SBOM}
	if p.Retired {
		m["retired"] = true
	}
	return m
}

// ParseTLS reads the value of TLSField: SPKI SHA-256 hashes in lower-case hex, at least one.
func ParseTLS(raw any) ([]string, error) {
	list, err := object{map[string]any{TLSField: raw}}.array(TLSField, maxAnchors)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, reason.Errorf(reason.Malformed, "%s: no anchors", TLSField)
	}
	var anchors []string
	for i, v := range list {
		s, ok := v.(string)
		if !ok || !isSHA256(s) {
			return nil, reason.Errorf(reason.Malformed, "%s: anchor %d is not a SHA-256 in lower-case hex", TLSField, i)
		}
		anchors = append(anchors, s)
	}
	return anchors, nil
}

// TLSValue returns the value to put under TLSField.
func TLSValue(anchors []string) any {
	list := make([]any, 0, len(anchors))
	for _, a := range anchors {
		list = append(list, a)
	}
	return list
}

func isSHA256(s string) bool { return len(s) == 64 && isLowerHex(s) }
