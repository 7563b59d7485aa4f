// Package tree wires the commands of countersign and countersignd with cobra: the flags that all
// commands take, settings from the environment, checks of arguments, the nearest word for an unknown
// one, `version`, `completion SHELL`, `help TOPIC`, and man pages (docs/commands.md 1).
//
// A program makes a Program, adds its commands and returns Main's code to the system. Commands state
// their arguments in Use, such as "sign EVENT… [--artifact PATH]", and the tree checks them.
package tree

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/countersign-ota/countersign/cmd/internal/cli"
)

// Program is one program: its commands, and what they print on and ask at.
type Program struct {
	// Out is where commands print; its flags are set when a command runs.
	Out *cli.Output
	// Ask is whom commands ask; its flags are set when a command runs.
	Ask *cli.Terminal
	// Root is the command of the program's name; programs add persistent flags to it.
	Root *cobra.Command

	topics []Topic
	colour string
}

// Topic is a subject of `help` that is no command.
type Topic struct {
	Name, Short, Text string
}

// Text is what a program says about itself.
type Text struct {
	// Name of the program.
	Name string
	// Short is one sentence.
	Short string
	// Jobs are the lines that the program prints when it is called without a command.
	Jobs string
	// Topics of `help` besides exit-codes and settings, which all programs have.
	Topics []Topic
}

// New returns a program that writes to the process's streams, with the commands that all have.
func New(t Text) *Program {
	p := &Program{
		Out:    &cli.Output{Name: t.Name, Stdout: os.Stdout, Stderr: os.Stderr},
		Ask:    &cli.Terminal{},
		topics: append(slices.Clone(t.Topics), commonTopics...),
	}
	p.Root = &cobra.Command{
		Use:               t.Name,
		Short:             t.Short,
		Long:              t.Jobs,
		SilenceErrors:     true,
		SilenceUsage:      true,
		DisableAutoGenTag: true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return p.settle(cmd) },
	}
	f := p.Root.PersistentFlags()
	f.BoolVar(&p.Out.JSON, "json", false, "print one JSON document, and errors as a JSON line; never ask")
	f.BoolVar(&p.Ask.NoInput, "no-input", false, "never ask; an error names the flag that answers")
	f.BoolVar(&p.Ask.Yes, "yes", false, "answer ordinary questions with yes; signing has none")
	f.StringVar(&p.colour, "color", "auto", "colour on `WHEN`: auto, always, never")
	f.BoolVarP(&p.Out.Quiet, "quiet", "q", false, "leave errors only")
	f.BoolVarP(&p.Out.Verbose, "verbose", "v", false, "say what is done on the way")
	p.Root.SetFlagErrorFunc(flagError)
	p.Root.SetHelpFunc(func(cmd *cobra.Command, _ []string) { p.printHelp(cmd) })
	p.Root.SetHelpCommand(p.helpCommand())
	p.Add(p.versionCommand(), p.completionCommand())
	return p
}

// Add adds commands to the program. Those with sub-commands need no Run.
func (p *Program) Add(cmds ...*cobra.Command) {
	for _, c := range cmds {
		prepare(c)
		p.Root.AddCommand(c)
	}
}

// prepare gives a command its checks.
func prepare(c *cobra.Command) {
	c.DisableFlagsInUseLine = true
	if c.HasSubCommands() {
		c.RunE = group
		c.Args = cobra.ArbitraryArgs
		for _, sub := range c.Commands() {
			prepare(sub)
		}
		return
	}
	if c.Args == nil {
		c.Args = checkArgs
	}
}

// Main runs the command that args (without the program's name) name until it ends or the process is
// told to, reports its error, and returns the exit code.
func (p *Program) Main(args []string) int {
	ends := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // as nohup has it
		ends = append(ends, syscall.SIGHUP) // a terminal that is closed must not leave a plug-in behind
	}
	ctx, stop := signal.NotifyContext(context.Background(), ends...)
	defer stop()
	return p.Run(ctx, args)
}

// Run is Main under a context of the caller's.
func (p *Program) Run(ctx context.Context, args []string) int {
	prepareRoot(p.Root)
	p.Root.SetArgs(args)
	p.Root.SetOut(p.Out.Stdout)
	p.Root.SetErr(p.Out.Stderr)
	err := p.Root.ExecuteContext(ctx)
	if err != nil && slices.Contains(args, "--json") {
		p.Out.JSON = true // also when the flags could not be read up to it
	}
	if err != nil && ctx.Err() != nil && !errors.As(err, new(*cli.ExitError)) {
		return cli.ExitInterrupted
	}
	return p.Out.Fail(err)
}

func prepareRoot(root *cobra.Command) {
	root.RunE = group
	root.Args = cobra.ArbitraryArgs
	root.InitDefaultHelpFlag()
	for _, c := range root.Commands() {
		c.InitDefaultHelpFlag()
	}
}

// settle takes settings from the environment and puts the common flags into effect.
func (p *Program) settle(cmd *cobra.Command) error {
	if err := fromEnvironment(cmd, os.Getenv); err != nil {
		return err
	}
	p.Ask.Keep()
	switch p.colour {
	case "always":
		p.Out.Colour = true
	case "never":
	case "auto":
		f, ok := p.Out.Stderr.(*os.File)
		p.Out.Colour = ok && os.Getenv("NO_COLOR") == "" && term.IsTerminal(int(f.Fd()))
	default:
		return cli.Usagef("--color %s is none of auto, always, never", cli.Quote(p.colour))
	}
	if p.Out.JSON {
		p.Ask.NoInput = true
		p.Out.Colour = false
	}
	return nil
}
