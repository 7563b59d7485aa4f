package event

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// maxYAML bounds a plan or spec in bytes.
const maxYAML = 1 << 20

// document reads a YAML file that a person wrote, node by node, so that every error has its line.
// Aliases are refused: they save nobody work here and can blow a small file up.
type document struct {
	name string
	why  reason.Reason
}

func (d document) errorf(n *yaml.Node, format string, args ...any) error {
	text := fmt.Sprintf(format, args...)
	return reason.Errorf(d.why, "%s:%d: %s", d.name, n.Line, text)
}

// root returns the one top-level mapping of a file.
func (d document) root(data []byte) (*yaml.Node, error) {
	if len(data) > maxYAML {
		return nil, reason.Errorf(d.why, "%s: more than %d bytes", d.name, maxYAML)
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	if err := dec.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, reason.Errorf(d.why, "%s:1: the file is empty", d.name)
		}
		return nil, reason.Errorf(d.why, "%s: %s", d.name, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, reason.Errorf(d.why, "%s: a second document follows", d.name)
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
		return nil, reason.Errorf(d.why, "%s: no document", d.name)
	}
	return doc.Content[0], nil
}

// pair is one member of a mapping.
type pair struct {
	key   string
	name  *yaml.Node
	value *yaml.Node
}

// mapping returns the members of a mapping in their order. known are the allowed keys; none allows
// any.
func (d document) mapping(n *yaml.Node, known ...string) ([]pair, error) {
	if n.Kind != yaml.MappingNode {
		return nil, d.errorf(n, "wanted a mapping, found %s", kindOf(n))
	}
	var pairs []pair
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		key, err := d.text(k)
		if err != nil {
			return nil, err
		}
		if line, ok := seen[key]; ok {
			return nil, d.errorf(k, "%q stands here and in line %d", key, line)
		}
		seen[key] = k.Line
		if len(known) > 0 && !slices.Contains(known, key) {
			return nil, d.errorf(k, "%q is not known here, wanted one of %s", key, strings.Join(known, ", "))
		}
		pairs = append(pairs, pair{key, k, n.Content[i+1]})
	}
	return pairs, nil
}

// list returns the elements of a sequence.
func (d document) list(n *yaml.Node) ([]*yaml.Node, error) {
	if n.Kind != yaml.SequenceNode {
		return nil, d.errorf(n, "wanted a list, found %s", kindOf(n))
	}
	return n.Content, nil
}

// text returns a string. A number that stands for one must be quoted, or 1e3 and 1000 would be one id.
func (d document) text(n *yaml.Node) (string, error) {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!str" {
		return "", d.errorf(n, "wanted a text, found %s; put it in quotes if it is one", kindOf(n))
	}
	return n.Value, nil
}

// texts returns a list of strings.
func (d document) texts(n *yaml.Node) ([]string, error) {
	list, err := d.list(n)
	if err != nil {
		return nil, err
	}
	out := []string{}
	for _, e := range list {
		s, err := d.text(e)
		if err != nil {
			return nil, err
		}
		if slices.Contains(out, s) {
			return nil, d.errorf(e, "%q stands twice", s)
		}
		out = append(out, s)
	}
	return out, nil
}

// id returns an id (DESIGN 1.3).
func (d document) id(n *yaml.Node, kind string) (string, error) {
	s, err := d.text(n)
	if err != nil {
		return "", err
	}
	if err := metadata.CheckID(kind, s); err != nil {
		return "", d.errorf(n, "%v", err)
	}
	return s, nil
}

// integer returns a whole number from low to high.
func (d document) integer(n *yaml.Node, low, high int64) (int64, error) {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!int" {
		return 0, d.errorf(n, "wanted a whole number, found %s", kindOf(n))
	}
	v, err := strconv.ParseInt(n.Value, 10, 64)
	if err != nil || v < low || v > high {
		return 0, d.errorf(n, "%s: wanted a whole number from %d to %d", n.Value, low, high)
	}
	return v, nil
}

func (d document) boolean(n *yaml.Node) (bool, error) {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!bool" || (n.Value != "true" && n.Value != "false") {
		return false, d.errorf(n, "wanted true or false, found %s", kindOf(n))
	}
	return n.Value == "true", nil
}

// value returns any value as JSON has it; floats break canonical JSON and are refused.
func (d document) value(n *yaml.Node, depth int) (any, error) {
	if depth > 16 {
		return nil, d.errorf(n, "nested too deep")
	}
	switch n.Kind {
	case yaml.MappingNode:
		pairs, err := d.mapping(n)
		if err != nil {
			return nil, err
		}
		m := map[string]any{}
		for _, p := range pairs {
			if m[p.key], err = d.value(p.value, depth+1); err != nil {
				return nil, err
			}
		}
		return m, nil
	case yaml.SequenceNode:
		out := []any{}
		for _, e := range n.Content {
			v, err := d.value(e, depth+1)
			if err != nil {
				return nil, err
			}
			out = append(out, v)
		}
		return out, nil
	case yaml.ScalarNode:
		switch n.Tag {
		case "!!str":
			return n.Value, nil
		case "!!bool":
			return d.boolean(n)
		case "!!int":
			return d.integer(n, -metadata.MaxInteger, metadata.MaxInteger)
		}
	}
	return nil, d.errorf(n, "wanted a text, a whole number, true, false, a list or a mapping, found %s", kindOf(n))
}

// kindOf names what stands there.
func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias, which is not allowed"
	case yaml.ScalarNode:
		switch n.Tag {
		case "!!null":
			return "nothing"
		case "!!int":
			return "the number " + strconv.Quote(n.Value)
		case "!!float":
			return "the fraction " + strconv.Quote(n.Value)
		case "!!bool":
			return strconv.Quote(n.Value) + ", which YAML reads as true or false"
		}
		return strconv.Quote(n.Value)
	}
	return "nothing"
}
