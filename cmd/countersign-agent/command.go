package main

import (
	"context"
	"errors"
	"flag"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/countersign-ota/countersign/cmd/internal/cli"
)

// program is one run of the program.
type program struct {
	out    *cli.Output
	getenv func(string) string
	// set are the settings given as flags, by flag name.
	set    map[string]string
	config string
}

// command is one verb.
type command struct {
	name, args, short, example string
	// flags declares what only this command takes; it may be nil.
	flags func(*flag.FlagSet)
	// most is how many arguments it takes at most.
	most int
	run  func(ctx context.Context, p *program, args []string) error
}

// usage is how the command is called.
func (c *command) usage() string { return strings.TrimSpace(name + " " + c.name + " " + c.args) }

// commands returns the table of commands in the order of help. Each call makes new ones, since their
// flags hold the values of one run.
func commands() []*command {
	return []*command{
		enrollCommand(), runCommand(), onceCommand(), statusCommand(), fetchCommand(), installCommand(),
		confirmCommand(), revertCommand(), helpCommand(), versionCommand(), completionCommand(),
	}
}

// main runs a command line and returns the exit code.
func (p *program) main(ctx context.Context, args []string) int {
	err := p.command(ctx, args)
	var exit *cli.ExitError
	if ctx.Err() != nil && !errors.As(err, &exit) && errors.Is(err, context.Canceled) {
		err = ctx.Err()
	}
	return p.out.Fail(err)
}

func (p *program) command(ctx context.Context, args []string) error {
	p.set = map[string]string{}
	// Flags may stand before the command too.
	rest, err := p.parse(nil, args, false)
	if err != nil {
		return err
	}
	if len(rest) == 0 {
		p.print("%s", summary)
		return nil
	}
	word := rest[0]
	all := commands()
	var names []string
	for _, c := range all {
		if c.name != word {
			names = append(names, c.name)
			continue
		}
		given, err := p.parse(c, rest[1:], true)
		if errors.Is(err, flag.ErrHelp) {
			return p.help(c)
		}
		if err != nil {
			return err
		}
		if len(given) > c.most {
			takes := "no argument"
			if c.most > 0 {
				takes = "one argument at most"
			}
			return cli.Usagef("%s takes %s, got %s", c.name, takes, cli.Quote(given[c.most])).WithHint("%s", c.usage())
		}
		return c.run(ctx, p, given)
	}
	e := cli.Usagef("unknown command %s", cli.Quote(word))
	if near := cli.Nearest(word, names); near != "" {
		return e.WithHint("%s %s", name, near)
	}
	return e.WithHint("%s help", name)
}

// parse reads flags, anywhere among the arguments if interspersed, and returns the arguments.
func (p *program) parse(c *command, args []string, interspersed bool) ([]string, error) {
	fs := p.flags(c)
	var rest []string
	for {
		if err := fs.Parse(args); err != nil {
			return nil, p.flagError(fs, c, err)
		}
		args = fs.Args()
		if len(args) == 0 || !interspersed {
			break
		}
		rest, args = append(rest, args[0]), args[1:]
	}
	if !interspersed {
		rest = args
	}
	return rest, p.common()
}

// flags returns the flags of all commands and of c.
func (p *program) flags(c *command) *flag.FlagSet {
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	for _, s := range settings {
		fs.Var(&setting{p: p, about: s}, s.name, s.usage)
	}
	for _, s := range commonFlags {
		fs.Var(&setting{p: p, about: s}, s.name, s.usage)
	}
	if c != nil && c.flags != nil {
		c.flags(fs)
	}
	return fs
}

// common carries out the flags of all commands.
func (p *program) common() error {
	value := func(flag string) string { return p.value(flag, nil) }
	var err error
	truth := func(flag string) bool {
		b, e := parseBool(value(flag), "--"+flag)
		err = errors.Join(err, e)
		return b
	}
	p.out.JSON, p.out.Quiet, p.out.Verbose = truth("json"), truth("q"), truth("v")
	p.config = value("config")
	switch c := value("color"); c {
	case "auto":
		f, ok := p.out.Stderr.(*os.File)
		p.out.Colour = ok && p.getenv("NO_COLOR") == "" && term.IsTerminal(int(f.Fd()))
	case "always", "never":
		p.out.Colour = c == "always"
	default:
		return cli.Usagef("--color %s, want auto, always or never", cli.Quote(c))
	}
	return err
}

// flagError turns an error of the flag package into ours, with the nearest flag.
func (p *program) flagError(fs *flag.FlagSet, c *command, err error) error {
	if errors.Is(err, flag.ErrHelp) {
		return err
	}
	usage := name + " help"
	if c != nil {
		usage = c.usage()
	}
	word, ok := strings.CutPrefix(err.Error(), "flag provided but not defined: -")
	if !ok {
		return cli.Usagef("%s", strings.TrimPrefix(err.Error(), "invalid ")).WithHint("%s", usage)
	}
	word = strings.TrimPrefix(word, "-")
	var names []string
	fs.VisitAll(func(f *flag.Flag) { names = append(names, f.Name) })
	e := cli.Usagef("there is no flag --%s", cli.Safe(word))
	if near := cli.Nearest(word, names); near != "" {
		return e.WithHint("--%s", near)
	}
	return e.WithHint("%s", usage)
}
