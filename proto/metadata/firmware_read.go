package metadata

import (
	"slices"

	"github.com/countersign-ota/countersign/proto/reason"
)

// Classes of a release (DESIGN 1.3): for people and reports, no device decides by them.
var releaseClasses = []string{"security", "maintenance", "feature", "recall"}

var firmwareMembers = []string{
	"v", "product", "version", "counter", "floor", "component", "hardware", "installer", "installer_args",
	"requires", "conditions", "spread_hours", "class", "fixes", "evidence",
}

// known returns members for asObject: nil, which takes any, unless strict.
func known(strict bool, members ...string) []string {
	if strict {
		return members
	}
	return nil
}

func readFirmware(raw any, strict bool) (*Firmware, error) {
	o, err := asObject(raw, known(strict, firmwareMembers...)...)
	if err != nil {
		return nil, err
	}
	f := &Firmware{}
	v, err := o.integer("v", 1, MaxInteger)
	if err != nil {
		return nil, err
	}
	if v != FirmwareV {
		return nil, reason.Errorf(reason.Malformed, "v is %d, this program understands %d", v, FirmwareV)
	}
	f.V = int(v)
	for _, id := range []struct {
		name string
		to   *string
	}{{"product", &f.Product}, {"component", &f.Component}, {"installer", &f.Installer}} {
		if *id.to, err = o.text(id.name, maxID); err != nil {
			return nil, err
		}
		if err := CheckID(id.name, *id.to); err != nil {
			return nil, err
		}
	}
	if f.Version, err = o.text("version", maxFile); err != nil {
		return nil, err
	}
	if err := CheckVersion(f.Version); err != nil {
		return nil, err
	}
	if f.Counter, err = o.integer("counter", 1, MaxInteger); err != nil {
		return nil, err
	}
	if f.Floor, err = o.integer("floor", 0, MaxInteger); err != nil {
		return nil, err
	}
	if f.Hardware, err = o.distinct("hardware", maxID); err != nil {
		return nil, err
	}
	if len(f.Hardware) == 0 {
		return nil, reason.Errorf(reason.Malformed, "member \"hardware\" is empty")
	}
	for _, h := range f.Hardware {
		if err := CheckID("hardware", h); err != nil {
			return nil, err
		}
	}
	if f.InstallerArgs, err = o.mapOf("installer_args"); err != nil {
		return nil, err
	}
	hours, err := o.integer("spread_hours", 0, MaxSpreadHours)
	if err != nil {
		return nil, err
	}
	f.SpreadHours = int(hours)
	if f.Class, err = o.text("class", maxID); err != nil {
		return nil, err
	}
	if strict && !slices.Contains(releaseClasses, f.Class) {
		return nil, reason.Errorf(reason.Malformed, "class is %q, want one of %q", f.Class, releaseClasses)
	}
	return f, readOptional(o, f, strict)
}

// readOptional reads the members that a document may lack.
func readOptional(o object, f *Firmware, strict bool) error {
	var err error
	if _, ok := o.members["fixes"]; ok {
		if f.Fixes, err = o.distinct("fixes", maxText); err != nil {
			return err
		}
	}
	if _, ok := o.members["requires"]; ok {
		if f.Requires, err = readRequires(o, strict); err != nil {
			return err
		}
		for _, r := range f.Requires {
			if r.Product == f.Product {
				return reason.Errorf(reason.Requires, "the product requires itself")
			}
		}
	}
	if raw, ok := o.members["conditions"]; ok {
		if f.Conditions, err = readConditions(raw, strict); err != nil {
			return reason.Wrap(err, "conditions")
		}
	}
	if _, ok := o.members["evidence"]; ok {
		if f.Evidence, err = readEvidence(o, f, strict); err != nil {
			return err
		}
	}
	return nil
}

// distinct reads a list of different texts.
func (o object) distinct(name string, max int) ([]string, error) {
	list, err := o.array(name, maxList)
	if err != nil {
		return nil, err
	}
	var out []string
	for i, v := range list {
		s, ok := v.(string)
		if !ok || s == "" || len(s) > max {
			return nil, reason.Errorf(reason.Malformed, "member %q: element %d: want a text of 1 to %d bytes", name, i, max)
		}
		if slices.Contains(out, s) {
			return nil, reason.Errorf(reason.Malformed, "member %q names %q twice", name, s)
		}
		out = append(out, s)
	}
	return out, nil
}

func readRequires(o object, strict bool) ([]Requirement, error) {
	list, err := o.array("requires", maxList)
	if err != nil {
		return nil, err
	}
	var out []Requirement
	for i, v := range list {
		e, err := asObject(v, known(strict, "product", "min_counter")...)
		if err != nil {
			return nil, reason.Wrap(err, "requires: element %d", i)
		}
		var r Requirement
		if r.Product, err = e.text("product", maxID); err == nil {
			err = CheckID("product", r.Product)
		}
		if err == nil {
			r.MinCounter, err = e.integer("min_counter", 1, MaxInteger)
		}
		if err != nil {
			return nil, reason.Wrap(err, "requires: element %d", i)
		}
		if slices.ContainsFunc(out, func(q Requirement) bool { return q.Product == r.Product }) {
			return nil, reason.Errorf(reason.Malformed, "requires: product %q stands twice", r.Product)
		}
		out = append(out, r)
	}
	return out, nil
}

func readConditions(raw any, strict bool) (*Conditions, error) {
	o, err := asObject(raw, known(strict, "battery_percent_min", "idle", "downtime_seconds")...)
	if err != nil {
		return nil, err
	}
	c := &Conditions{}
	if _, ok := o.members["battery_percent_min"]; ok {
		n, err := o.integer("battery_percent_min", 0, 100)
		if err != nil {
			return nil, err
		}
		c.BatteryPercentMin = int(n)
	}
	if v, ok := o.members["idle"]; ok {
		if c.Idle, ok = v.(bool); !ok {
			return nil, reason.Wrap(wrongType(v, "true or false"), "member \"idle\"")
		}
	}
	if _, ok := o.members["downtime_seconds"]; ok {
		if c.DowntimeSeconds, err = o.integer("downtime_seconds", 0, MaxInteger); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// readEvidence reads the references by kind; each lies beside the product's targets.
func readEvidence(o object, f *Firmware, strict bool) (map[string]EvidenceRef, error) {
	kinds, err := o.mapOf("evidence")
	if err != nil {
		return nil, err
	}
	if len(kinds) > maxList {
		return nil, reason.Errorf(reason.Limit, "evidence: %d kinds, at most %d are allowed", len(kinds), maxList)
	}
	out := map[string]EvidenceRef{}
	for _, kind := range sortedKeys(kinds) {
		if err := CheckID("evidence kind", kind); err != nil {
			return nil, err
		}
		e, err := asObject(kinds[kind], known(strict, "path", "sha256", "length")...)
		if err != nil {
			return nil, reason.Wrap(err, "evidence %q", kind)
		}
		ref, err := readRef(e)
		if err != nil {
			return nil, reason.Wrap(err, "evidence %q", kind)
		}
		if p, err := ParseTargetPath(ref.Path); err != nil || p.Product != f.Product {
			return nil, reason.Errorf(reason.ProductMismatch, "evidence %q: path %q is not of product %q", kind, clip([]byte(ref.Path)), f.Product)
		}
		out[kind] = ref
	}
	return out, nil
}

func readRef(e object) (EvidenceRef, error) {
	var ref EvidenceRef
	var err error
	if ref.Path, err = e.text("path", maxID+2*maxFile+2); err != nil {
		return EvidenceRef{}, err
	}
	if ref.SHA256, err = e.text("sha256", 64); err != nil {
		return EvidenceRef{}, err
	}
	if !isSHA256(ref.SHA256) {
		return EvidenceRef{}, reason.Errorf(reason.Malformed, "sha256 %q: want 64 lower-case hex digits", ref.SHA256)
	}
	if _, ok := e.members["length"]; ok {
		if ref.Length, err = e.integer("length", 1, MaxImage); err != nil {
			return EvidenceRef{}, err
		}
	}
	return ref, nil
}
