package main

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/countersign-ota/countersign/agent"
	"github.com/countersign-ota/countersign/agent/install"
	"github.com/countersign-ota/countersign/cmd/internal/cli"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// componentLine is the value of the setting component:
//
//	main product=gw-100 installer=slot a=/dev/mmcblk0p2 b=/dev/mmcblk0p3 boot=/usr/lib/countersign/boot counter=3
//	main product=gw-100 installer=file path=/opt/gw/firmware counter=3
type componentLine struct {
	id, product, installer string
	a, b, boot, path       string
	counter                int64
}

// parseComponent reads a component line.
func parseComponent(line string) (*componentLine, error) {
	words := strings.Fields(line)
	if len(words) == 0 {
		return nil, reason.Errorf(reason.Config, "component: want ID and product=, installer=, counter=")
	}
	c := &componentLine{id: words[0]}
	if err := metadata.CheckID("component", c.id); err != nil {
		return nil, reason.Errorf(reason.Config, "component: %w", err)
	}
	counter := ""
	fields := map[string]*string{
		"product": &c.product, "installer": &c.installer, "a": &c.a, "b": &c.b, "boot": &c.boot, "path": &c.path, "counter": &counter,
	}
	for _, w := range words[1:] {
		key, value, _ := strings.Cut(w, "=")
		field, ok := fields[key]
		if !ok {
			names := []string{"product", "installer", "a", "b", "boot", "path", "counter"}
			e := reason.Errorf(reason.Config, "component %q has no %q", c.id, key)
			if near := cli.Nearest(key, names); near != "" {
				return nil, e.WithHint("%s=", near)
			}
			return nil, e.WithHint("it takes %s", strings.Join(names, ", "))
		}
		if value == "" || *field != "" {
			return nil, reason.Errorf(reason.Config, "component %q: %q is empty or stands twice", c.id, key)
		}
		*field = value
	}
	if err := metadata.CheckID("product", c.product); err != nil {
		return nil, reason.Errorf(reason.Config, "component %q: %w", c.id, err)
	}
	n, err := strconv.ParseInt(counter, 10, 64)
	if err != nil || n < 0 {
		return nil, reason.Errorf(reason.Config, "component %q: counter %q, want the counter of the image that the factory installed", c.id, counter)
	}
	c.counter = n
	if err := c.check(); err != nil {
		return nil, err
	}
	return c, nil
}

// check wants exactly what the installer needs.
func (c *componentLine) check() error {
	var need []string
	switch c.installer {
	case "slot":
		need = []string{"a", "b", "boot"}
	case "file":
		need = []string{"path"}
	default:
		return reason.Errorf(reason.Config, "component %q: installer %q, want slot or file", c.id, c.installer)
	}
	for _, f := range []struct{ key, value string }{{"a", c.a}, {"b", c.b}, {"boot", c.boot}, {"path", c.path}} {
		if slices.Contains(need, f.key) {
			if !filepath.IsAbs(f.value) {
				return reason.Errorf(reason.Config, "component %q: installer %s wants %s=, an absolute path", c.id, c.installer, f.key)
			}
		} else if f.value != "" {
			return reason.Errorf(reason.Config, "component %q: installer %s takes no %s=", c.id, c.installer, f.key)
		}
	}
	return nil
}

// open makes the installer, which touches nothing yet. Its record lies in the agent's directory.
func (c *componentLine) open(dir string) agent.Component {
	state := filepath.Join(dir, "installer."+c.id)
	var i agent.Installer = install.NewFile(install.FileConfig{Path: c.path, State: state})
	if c.installer == "slot" {
		i = install.NewSlot(install.SlotConfig{A: c.a, B: c.b, Boot: install.NewBoot(c.boot), State: state})
	}
	return agent.Component{Product: c.product, Installer: i, Counter: c.counter}
}
