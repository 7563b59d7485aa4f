package event

import (
	"path/filepath"

	"go.yaml.in/yaml/v3"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// Spec is a release.yaml: the targets of one release (docs/formats.md).
type Spec struct {
	Targets []SpecTarget

	name string
}

// SpecTarget is one target of a spec, defaults filled in.
type SpecTarget struct {
	// File is the firmware, Evidence the evidence files by kind; paths on this machine.
	File          string
	Evidence      map[string]string
	Component     string
	Hardware      []string
	Installer     string
	InstallerArgs map[string]any
	Requires      []metadata.Requirement
	Conditions    *metadata.Conditions
	SpreadHours   int
	// Floor is -1 when the spec leaves it unchanged.
	Floor int64
	Class string
	Fixes []string

	line int
}

// targetMembers may stand at the top of a spec, as the default of each target, or in a target.
var targetMembers = []string{
	"component", "hardware", "installer", "installer_args", "requires", "conditions", "spread_hours", "floor",
	"class", "fixes", "evidence",
}

// LoadSpec reads a spec; the files that it names are sought beside it. Reason: spec.
func LoadSpec(path string) (*Spec, error) {
	data, err := readFile(path, maxYAML, reason.Spec)
	if err != nil {
		return nil, err
	}
	return ParseSpec(path, data)
}

// specReader reads one spec.
type specReader struct {
	document
	dir string
}

// ParseSpec reads a spec strictly. name is the spec's path: errors give it and the line, and the files
// that the spec names are sought beside it, when a release is opened. Reason: spec.
func ParseSpec(name string, data []byte) (*Spec, error) {
	r := specReader{document{filepath.Base(name), reason.Spec}, filepath.Dir(name)}
	root, err := r.root(data)
	if err != nil {
		return nil, err
	}
	pairs, err := r.mapping(root, append([]string{"targets"}, targetMembers...)...)
	if err != nil {
		return nil, err
	}
	def := SpecTarget{Floor: -1}
	var targets *yaml.Node
	for _, p := range pairs {
		if p.key == "targets" {
			targets = p.value
			continue
		}
		if err := r.member(&def, p); err != nil {
			return nil, err
		}
	}
	if targets == nil {
		return nil, r.errorf(root, "\"targets\" is missing")
	}
	list, err := r.list(targets)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, r.errorf(targets, "there is no target")
	}
	s := &Spec{name: r.name}
	for _, n := range list {
		t, err := r.target(def, n)
		if err != nil {
			return nil, err
		}
		s.Targets = append(s.Targets, t)
	}
	return s, nil
}

func (r *specReader) target(t SpecTarget, n *yaml.Node) (SpecTarget, error) {
	pairs, err := r.mapping(n, append([]string{"file"}, targetMembers...)...)
	if err != nil {
		return SpecTarget{}, err
	}
	t.line = n.Line
	for _, p := range pairs {
		if p.key == "file" {
			t.File, err = r.file(p.value)
		} else {
			err = r.member(&t, p)
		}
		if err != nil {
			return SpecTarget{}, err
		}
	}
	for _, m := range []struct {
		name    string
		missing bool
	}{
		{"file", t.File == ""},
		{"component", t.Component == ""},
		{"hardware", len(t.Hardware) == 0},
		{"installer", t.Installer == ""},
		{"class", t.Class == ""},
	} {
		if m.missing {
			return SpecTarget{}, r.errorf(n, "%q is missing", m.name)
		}
	}
	return t, nil
}

func (r *specReader) member(t *SpecTarget, p pair) (err error) {
	var n int64
	switch p.key {
	case "component":
		t.Component, err = r.id(p.value, "component")
	case "hardware":
		t.Hardware, err = r.texts(p.value)
	case "installer":
		t.Installer, err = r.id(p.value, "installer")
	case "installer_args":
		if p.value.Kind != yaml.MappingNode {
			return r.errorf(p.value, "wanted a mapping, found %s", kindOf(p.value))
		}
		var v any
		v, err = r.value(p.value, 0)
		t.InstallerArgs, _ = v.(map[string]any)
	case "requires":
		t.Requires, err = r.requires(p.value)
	case "conditions":
		t.Conditions, err = r.conditions(p.value)
	case "spread_hours":
		n, err = r.integer(p.value, 0, metadata.MaxSpreadHours)
		t.SpreadHours = int(n)
	case "floor":
		t.Floor, err = r.integer(p.value, 0, metadata.MaxVersion)
	case "class":
		t.Class, err = r.text(p.value)
	case "fixes":
		t.Fixes, err = r.texts(p.value)
	case "evidence":
		t.Evidence, err = r.evidence(p.value)
	}
	return err
}

func (r *specReader) file(n *yaml.Node) (string, error) {
	s, err := r.text(n)
	if err != nil {
		return "", err
	}
	if err := metadata.CheckFile(filepath.Base(s)); err != nil {
		return "", r.errorf(n, "%v", err)
	}
	if !filepath.IsAbs(s) {
		s = filepath.Join(r.dir, s)
	}
	return s, nil
}

func (r *specReader) requires(n *yaml.Node) ([]metadata.Requirement, error) {
	list, err := r.list(n)
	if err != nil {
		return nil, err
	}
	var out []metadata.Requirement
	for _, e := range list {
		pairs, err := r.mapping(e, "product", "min_counter")
		if err != nil {
			return nil, err
		}
		var q metadata.Requirement
		for _, p := range pairs {
			if p.key == "product" {
				q.Product, err = r.id(p.value, "product")
			} else {
				q.MinCounter, err = r.integer(p.value, 1, metadata.MaxVersion)
			}
			if err != nil {
				return nil, err
			}
		}
		if q.Product == "" || q.MinCounter == 0 {
			return nil, r.errorf(e, "wanted product and min_counter")
		}
		out = append(out, q)
	}
	return out, nil
}

func (r *specReader) conditions(n *yaml.Node) (*metadata.Conditions, error) {
	pairs, err := r.mapping(n, "battery_percent_min", "idle", "downtime_seconds")
	if err != nil {
		return nil, err
	}
	c := &metadata.Conditions{}
	for _, p := range pairs {
		switch p.key {
		case "battery_percent_min":
			var v int64
			v, err = r.integer(p.value, 0, 100)
			c.BatteryPercentMin = int(v)
		case "idle":
			c.Idle, err = r.boolean(p.value)
		case "downtime_seconds":
			c.DowntimeSeconds, err = r.integer(p.value, 0, 1<<31)
		}
		if err != nil {
			return nil, err
		}
	}
	return c, nil
}

// evidenceKinds are the kinds of evidence that a release may name.
var evidenceKinds = []string{"sbom", "vex", "notes", "tests"}

func (r *specReader) evidence(n *yaml.Node) (map[string]string, error) {
	pairs, err := r.mapping(n, evidenceKinds...)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, p := range pairs {
		if out[p.key], err = r.file(p.value); err != nil {
			return nil, err
		}
	}
	return out, nil
}
