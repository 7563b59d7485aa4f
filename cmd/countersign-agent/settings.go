package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/countersign-ota/countersign/cmd/internal/cli"
	"github.com/countersign-ota/countersign/proto/reason"
)

// about describes a setting: a flag, a variable COUNTERSIGN_NAME, a line of agent.conf.
type about struct {
	name, value, usage string
	// fallback is the default.
	fallback string
	// truth is a yes or no, which as a flag needs no value.
	truth bool
}

// settings are what agent.conf may hold, under the same names with _ for -.
var settings = []about{
	{name: "deployment", value: "ID", usage: "deployment that the device belongs to"},
	{name: "device", value: "ID", usage: "this device"},
	{name: "hardware", value: "ID", usage: "hardware of this device"},
	{name: "server", value: "URL", usage: "grpc://HOST:PORT or https://HOST[:PORT]"},
	{name: "root", value: "FILE", usage: "image root that came with the device", fallback: "/etc/countersign/image-root.json"},
	{name: "director", value: "WHO", usage: "who instructs: none, the device itself by the highest counter", fallback: "none"},
	{name: "confirm", value: "HOW", usage: "who ends a trial: auto or manual", fallback: "auto"},
	{name: "component", value: "LINE", usage: "ID product=ID installer=slot|file counter=N, and a= b= boot= or path="},
	{name: "dir", value: "DIR", usage: "the agent's directory", fallback: "/var/lib/countersign-agent"},
	{name: "ca", value: "FILE", usage: "identity CA of the server; written by enroll (default ca.pem in the directory)"},
	{name: "interval", value: "TIME", usage: "how long run waits between two cycles, at least 30s", fallback: "1h"},
	{name: "allow-local", usage: "take instructions on the device: install TARGET", fallback: "no", truth: true},
	{name: "spread-exempt", usage: "do not wait for a release's spread: a canary or service bench", fallback: "no", truth: true},
	{name: "gates", value: "DIR", usage: "programs that are asked before an installation"},
	{name: "window", value: "SPAN", usage: "HH:MM-HH:MM in UTC in which the device may be touched"},
	{name: "battery", value: "WHERE", usage: "Linux's power supplies, or mains where there is no battery", fallback: "/sys/class/power_supply"},
	{name: "battery-min", value: "PERCENT", usage: "least charge for an installation", fallback: "0"},
	{name: "free-min", value: "BYTES", usage: "least free space for an installation, in the directory", fallback: "0"},
}

// commonFlags are taken by all commands and stand in no file.
var commonFlags = []about{
	{name: "config", value: "FILE", usage: "one `flag value` a line", fallback: defaultConfig},
	{name: "json", usage: "one JSON document on stdout, errors as JSON on stderr", fallback: "no", truth: true},
	{name: "no-input", usage: "never ask; this program never does", fallback: "no", truth: true},
	{name: "yes", usage: "answer yes; this program never asks", fallback: "no", truth: true},
	{name: "color", value: "WHEN", usage: "auto, always or never", fallback: "auto"},
	{name: "q", usage: "errors only on stderr", fallback: "no", truth: true},
	{name: "v", usage: "more on stderr", fallback: "no", truth: true},
}

const defaultConfig = "/etc/countersign/agent.conf"

// maxConfig bounds agent.conf, in bytes.
const maxConfig = 64 << 10

// setting is one flag on its way into program.set.
type setting struct {
	p     *program
	about about
}

// String is for the flag package.
func (s *setting) String() string { return "" }

// Set is for the flag package.
func (s *setting) Set(v string) error {
	s.p.set[s.about.name] = v
	return nil
}

// IsBoolFlag is for the flag package.
func (s *setting) IsBoolFlag() bool { return s.about.truth }

// value returns a setting: flag, environment, file, default.
func (p *program) value(flag string, file map[string]string) string {
	if v, ok := p.set[flag]; ok {
		return v
	}
	if v, ok := cli.FromEnvironment(p.getenv, flag); ok {
		return v
	}
	if v, ok := file[flag]; ok {
		return v
	}
	for _, list := range [][]about{settings, commonFlags} {
		for _, s := range list {
			if s.name == flag {
				return s.fallback
			}
		}
	}
	return ""
}

// readConfig reads agent.conf: one `flag value` a line, # begins a comment line. Only the default file
// may be missing.
func (p *program) readConfig() (map[string]string, error) {
	f, err := os.Open(p.config)
	if errors.Is(err, fs.ErrNotExist) && p.config == defaultConfig {
		return nil, nil
	}
	if err != nil {
		return nil, reason.Errorf(reason.Config, "configuration: %w", err)
	}
	defer f.Close() //nolint:errcheck // nothing was written
	data, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err != nil {
		return nil, reason.Errorf(reason.Config, "configuration: %w", err)
	}
	return parseConfig(p.config, data)
}

// parseConfig is readConfig on bytes; name is for errors.
func parseConfig(name string, data []byte) (map[string]string, error) {
	if len(data) > maxConfig {
		return nil, reason.Errorf(reason.Config, "%s is larger than %d bytes", name, maxConfig)
	}
	file := map[string]string{}
	lines := bufio.NewScanner(bytes.NewReader(data))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		word, value, _ := strings.Cut(line, " ")
		flag, err := settingNamed(word)
		if err != nil {
			return nil, reason.Wrap(err, "%s:%d", name, n)
		}
		value = strings.TrimSpace(value)
		if value == "" {
			return nil, reason.Errorf(reason.Config, "%s:%d: %s has no value", name, n, word)
		}
		if _, twice := file[flag]; twice {
			return nil, reason.Errorf(reason.Config, "%s:%d: %s stands twice", name, n, word)
		}
		file[flag] = value
	}
	if err := lines.Err(); err != nil {
		return nil, reason.Errorf(reason.Config, "%s: %w", name, err)
	}
	return file, nil
}

// settingNamed returns the flag that a word of agent.conf stands for.
func settingNamed(word string) (string, error) {
	var names []string
	for _, s := range settings {
		inFile := strings.ReplaceAll(s.name, "-", "_")
		if word == inFile {
			return s.name, nil
		}
		names = append(names, inFile)
	}
	e := reason.Errorf(reason.Config, "there is no setting %q", word)
	if near := cli.Nearest(word, names); near != "" {
		return "", e.WithHint("%s", near)
	}
	return "", e.WithHint("%s help", name)
}

// parseBool reads a yes or no.
func parseBool(v, what string) (bool, error) {
	switch v {
	case "yes", "true", "1":
		return true, nil
	case "no", "false", "0", "":
		return false, nil
	}
	return false, reason.Errorf(reason.Config, "%s %q, want yes or no", what, v)
}

// given reports that a setting is needed and absent.
func given(values map[string]string, names ...string) error {
	for _, n := range names {
		if values[n] == "" {
			return reason.Errorf(reason.Config, "no %s is set", n).
				WithHint("put a line \"%s VALUE\" into agent.conf, or give --%s", strings.ReplaceAll(n, "-", "_"), n)
		}
	}
	return nil
}

// all returns every setting by flag name.
func (p *program) all() (map[string]string, error) {
	file, err := p.readConfig()
	if err != nil {
		return nil, err
	}
	values := map[string]string{}
	for _, s := range settings {
		values[s.name] = p.value(s.name, file)
	}
	if values["ca"] == "" {
		values["ca"] = fmt.Sprintf("%s/ca.pem", values["dir"])
	}
	return values, nil
}
