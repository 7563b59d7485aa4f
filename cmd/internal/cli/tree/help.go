package tree

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/countersign-ota/countersign/cmd/internal/cli"
)

var commonTopics = []Topic{
	{"exit-codes", "what the exit codes mean, in all three programs", cli.ExitTable},
	{"settings", "where a setting comes from", `A setting comes from its flag, else from the environment variable COUNTERSIGN_ and the flag's name in
capitals with _ for -, such as COUNTERSIGN_DEPLOYMENT, else from the configuration file, else it is the default.
No variable stands for --yes and --expect.
`},
}

// printHelp prints a sentence, the usage, an example, commands and flags.
func (p *Program) printHelp(cmd *cobra.Command) {
	if !cmd.HasParent() {
		p.printIndex()
		return
	}
	w := &strings.Builder{}
	defer p.print(w)
	fmt.Fprintf(w, "%s\n\nusage: %s\n", cmd.Short, usageLine(cmd))
	if cmd.Long != "" {
		fmt.Fprintf(w, "\n%s\n", strings.TrimRight(cmd.Long, "\n"))
	}
	if cmd.Example != "" {
		fmt.Fprintf(w, "\nexample:\n%s\n", cmd.Example)
	}
	if cmd.HasSubCommands() {
		fmt.Fprintln(w, "\ncommands:")
		for _, c := range cmd.Commands() {
			fmt.Fprintf(w, "  %-44s %s\n", commandPath(cmd)+" "+c.Use, c.Short)
		}
	}
	if f := cmd.LocalNonPersistentFlags(); f.HasAvailableFlags() {
		fmt.Fprintf(w, "\nflags:\n%s", f.FlagUsages())
	}
	if f := cmd.InheritedFlags(); f.HasAvailableFlags() {
		fmt.Fprintf(w, "\nflags of all commands:\n%s", f.FlagUsages())
	}
}

// printIndex lists all commands and topics.
func (p *Program) printIndex() {
	w := &strings.Builder{}
	defer p.print(w)
	fmt.Fprintf(w, "%s\n\ncommands:\n", p.Root.Short)
	for _, c := range p.Root.Commands() {
		if !c.HasSubCommands() {
			fmt.Fprintf(w, "  %-24s %s\n", c.Name(), c.Short)
			continue
		}
		for _, sub := range c.Commands() {
			fmt.Fprintf(w, "  %-24s %s\n", c.Name()+" "+sub.Name(), sub.Short)
		}
	}
	fmt.Fprintf(w, "\ntopics of %s help:\n", p.Root.Name())
	for _, t := range p.topics {
		fmt.Fprintf(w, "  %-24s %s\n", t.Name, t.Short)
	}
}

// print puts a page of help out: it is text, with --json too.
func (p *Program) print(page *strings.Builder) { _, _ = io.WriteString(p.Out.Stdout, page.String()) }

func (p *Program) helpCommand() *cobra.Command {
	var man string
	c := &cobra.Command{
		Use:     "help [TOPIC…]",
		Short:   "Explain a command or a topic, or write the man pages.",
		Example: fmt.Sprintf("  %s help exit-codes\n  %s help --man ./man1", p.Out.Name, p.Out.Name),
		RunE: func(_ *cobra.Command, args []string) error {
			if man != "" {
				return p.writeMan(man)
			}
			return p.help(args)
		},
	}
	c.Flags().StringVar(&man, "man", "", "write the man page of each command into `DIR`")
	prepare(c)
	return c
}

func (p *Program) help(args []string) error {
	if len(args) == 0 {
		p.printIndex()
		return nil
	}
	var names []string
	for _, t := range p.topics {
		if t.Name == args[0] && len(args) == 1 {
			_, err := io.WriteString(p.Out.Stdout, t.Text)
			return err
		}
		names = append(names, t.Name)
	}
	cmd, rest, err := p.Root.Find(args)
	if err == nil && len(rest) == 0 && cmd.HasParent() {
		cmd.InitDefaultHelpFlag()
		p.printHelp(cmd)
		return nil
	}
	for _, c := range p.Root.Commands() {
		names = append(names, c.Name())
	}
	e := cli.Usagef("no command or topic %s", cli.Quote(strings.Join(args, " ")))
	if near := cli.Nearest(args[0], names); near != "" {
		return e.WithHint("%s help %s", p.Root.Name(), near)
	}
	return e.WithHint("%s help", p.Root.Name())
}

// writeMan writes one page a command into dir, which it makes.
func (p *Program) writeMan(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	header := &doc.GenManHeader{Section: "1", Source: p.Root.Name() + " " + cli.Version}
	if err := doc.GenManTree(p.Root, header, dir); err != nil {
		return fmt.Errorf("write man pages: %w", err)
	}
	pages, err := filepath.Glob(filepath.Join(dir, p.Root.Name()+"*.1"))
	if err != nil {
		return err
	}
	p.Out.Line("wrote %d man pages to %s", len(pages), cli.Safe(dir))
	return nil
}

func (p *Program) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print version, Go version and platform.",
		Example: fmt.Sprintf("  %s version --json", p.Out.Name),
		RunE: func(*cobra.Command, []string) error {
			about := cli.AboutProgram(p.Root.Name())
			return p.Out.Result(about, func() { p.Out.Line("%s", about) })
		},
	}
}

func (p *Program) completionCommand() *cobra.Command {
	shells := []string{"bash", "zsh", "fish", "powershell"}
	return &cobra.Command{
		Use:       "completion SHELL",
		Short:     "Print the completion script of a shell: bash, zsh, fish or powershell.",
		Example:   fmt.Sprintf("  source <(%s completion bash)", p.Out.Name),
		ValidArgs: shells,
		RunE: func(_ *cobra.Command, args []string) error {
			w := p.Out.Stdout
			switch args[0] {
			case "bash":
				return p.Root.GenBashCompletionV2(w, true)
			case "zsh":
				return p.Root.GenZshCompletion(w)
			case "fish":
				return p.Root.GenFishCompletion(w, true)
			case "powershell":
				return p.Root.GenPowerShellCompletionWithDesc(w)
			}
			e := cli.Usagef("no completion for %s; there is %s", cli.Quote(args[0]), strings.Join(shells, ", "))
			if near := cli.Nearest(args[0], shells); near != "" {
				return e.WithHint("%s completion %s", p.Root.Name(), near)
			}
			return e
		},
	}
}
