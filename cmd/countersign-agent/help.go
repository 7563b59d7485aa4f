package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/countersign-ota/countersign/cmd/internal/cli"
)

// summary is what the program says when it is called bare.
const summary = `countersign-agent keeps this device's firmware current, and lets nobody else change it.

  join a deployment      countersign-agent enroll --token-file FILE
  update, for ever       countersign-agent run
  update, once           countersign-agent once          (exit 10: reboot to try it)
  in two steps           countersign-agent fetch, then countersign-agent install
  what runs, and why     countersign-agent status
  end a trial            countersign-agent confirm, or revert
  everything else        countersign-agent help
`

const settingsTopic = `A setting comes from its flag, else from the environment variable COUNTERSIGN_ and the flag's name in
capitals with _ for -, such as COUNTERSIGN_DEVICE, else from agent.conf, else it is the default.

agent.conf holds one ` + "`flag value`" + ` a line, with _ for - in names, yes or no for flags without a value, and lines
that begin with # for people:

  deployment acme
  device gw-0001
  hardware gw-100-c
  server grpc://updates.example:8443
  root /etc/countersign/image-root.json
  component main product=gw-100 installer=slot a=/dev/mmcblk0p2 b=/dev/mmcblk0p3 boot=/usr/lib/countersign/boot counter=3
`

// topics are the subjects of help that are no commands, by name.
var topics = []struct{ name, short, text string }{
	{"exit-codes", "what the exit codes mean, in all three programs", cli.ExitTable},
	{"settings", "where a setting comes from, and agent.conf", settingsTopic},
}

func helpCommand() *command {
	var man string
	return &command{
		name: "help", args: "[TOPIC]", most: 1, short: "Explain a command or a topic, or write the man page.",
		example: name + " help exit-codes\n" + name + " help --man DIR",
		flags:   func(fs *flag.FlagSet) { fs.StringVar(&man, "man", "", "write the man page into DIR") },
		run: func(_ context.Context, p *program, args []string) error {
			switch {
			case man != "":
				return p.writeMan(man)
			case len(args) == 0:
				p.index()
				return nil
			}
			return p.topic(args[0])
		},
	}
}

// print prints text of ours to stdout, whatever the form of results.
func (p *program) print(format string, args ...any) {
	_, _ = fmt.Fprintf(p.out.Stdout, format, args...) // a closed pipe at the other end is its owner's wish
}

// topic explains a topic or a command.
func (p *program) topic(word string) error {
	var names []string
	for _, t := range topics {
		if t.name == word {
			p.print("%s", t.text)
			return nil
		}
		names = append(names, t.name)
	}
	for _, c := range commands() {
		if c.name == word {
			return p.help(c)
		}
		names = append(names, c.name)
	}
	e := cli.Usagef("no command or topic %s", cli.Quote(word))
	if near := cli.Nearest(word, names); near != "" {
		return e.WithHint("%s help %s", name, near)
	}
	return e.WithHint("%s help", name)
}

// index lists commands and topics.
func (p *program) index() {
	p.print("%s\ncommands:\n", summary)
	for _, c := range commands() {
		p.print("  %-12s %s\n", c.name, c.short)
	}
	p.print("\ntopics of %s help:\n", name)
	for _, t := range topics {
		p.print("  %-12s %s\n", t.name, t.short)
	}
}

// help explains a command: a sentence, how it is called, an example, its flags.
func (p *program) help(c *command) error {
	p.print("%s\n\nusage: %s\n\nexample:\n", c.short, c.usage())
	for line := range strings.Lines(c.example) {
		p.print("  %s\n", strings.TrimSpace(line))
	}
	if c.flags != nil {
		fs := flag.NewFlagSet(c.name, flag.ContinueOnError)
		c.flags(fs)
		p.print("\nflags:\n")
		fs.VisitAll(func(f *flag.Flag) { p.print("  --%-22s %s\n", f.Name, f.Usage) })
	}
	p.print("\nflags of all commands, and settings of agent.conf:\n")
	for _, list := range [][]about{commonFlags, settings} {
		for _, s := range list {
			p.print("  %-24s %s\n", flagWord(s), s.text())
		}
	}
	return nil
}

func flagWord(s about) string {
	dashes := "--"
	if len(s.name) == 1 {
		dashes = "-"
	}
	return strings.TrimSpace(dashes + s.name + " " + s.value)
}

func (s about) text() string {
	if s.fallback == "" || s.truth {
		return s.usage
	}
	return s.usage + " (default " + s.fallback + ")"
}

func versionCommand() *command {
	return &command{
		name: "version", short: "Print version, Go version and platform.", example: name + " version --json",
		run: func(_ context.Context, p *program, _ []string) error {
			v := cli.AboutProgram(name)
			return p.out.Result(v, func() { p.out.Line("%s", v) })
		},
	}
}

// writeMan writes the one man page, which holds every command.
func (p *program) writeMan(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var b strings.Builder
	section := func(title string) { fmt.Fprintf(&b, ".SH %s\n", title) }
	item := func(head, text string) { fmt.Fprintf(&b, ".TP\n.B %s\n%s\n", roff(head), roff(text)) }
	fmt.Fprintf(&b, ".TH COUNTERSIGN-AGENT 1 \"\" \"%s %s\"\n", name, roff(cli.Version))
	section("NAME")
	fmt.Fprintf(&b, "%s \\- keeps a device's firmware current\n", roff(name))
	section("COMMANDS")
	for _, c := range commands() {
		item(c.usage(), c.short)
	}
	section("FLAGS AND SETTINGS")
	for _, list := range [][]about{commonFlags, settings} {
		for _, s := range list {
			item(flagWord(s), s.text())
		}
	}
	for _, t := range topics {
		section(strings.ToUpper(strings.ReplaceAll(t.name, "-", " ")))
		fmt.Fprintf(&b, ".nf\n%s.fi\n", roff(t.text))
	}
	path := filepath.Join(dir, name+".1")
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
		return err
	}
	p.out.Line("wrote %s", cli.Safe(path))
	return nil
}

// roff escapes text for troff.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s)
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, ".") || strings.HasPrefix(l, "'") {
			lines[i] = `\&` + l
		}
	}
	return strings.Join(lines, "\n")
}

func sha(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
