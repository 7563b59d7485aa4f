package tree

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/countersign-ota/countersign/cmd/internal/cli"
)

// arity reads the arguments out of a Use line: capital words count, "X…" is one or more, "[X]" at
// most one, "[X…]" any number; a flag takes the rest of its bracket with it, and so does -o.
func arity(use string) (least, most int, names []string) {
	words := strings.Fields(use)
	for i := 1; i < len(words); i++ {
		w := words[i]
		if strings.HasPrefix(w, "[-") {
			for !strings.HasSuffix(words[i], "]") {
				i++
			}
			continue
		}
		if strings.HasPrefix(w, "-") {
			i++ // its value
			continue
		}
		optional := strings.HasPrefix(w, "[")
		name := strings.Trim(w, "[]")
		names = append(names, name)
		if !optional {
			least++
		}
		if strings.HasSuffix(name, "…") {
			most = 1 << 16
		}
		most++
	}
	return least, most, names
}

// checkArgs refuses the wrong number of arguments.
func checkArgs(cmd *cobra.Command, args []string) error {
	least, most, names := arity(cmd.Use)
	path := commandPath(cmd)
	switch {
	case len(args) < least:
		return cli.Usagef("%s wants %s", path, strings.Join(names[:least], " ")).WithHint("%s", usageLine(cmd))
	case len(args) > most && most == 0:
		return cli.Usagef("%s takes no argument, got %s", path, cli.Quote(args[0])).WithHint("%s", usageLine(cmd))
	case len(args) > most:
		return cli.Usagef("%s takes %s, got %s as well", path, strings.Join(names, " "), cli.Quote(args[most])).
			WithHint("%s", usageLine(cmd))
	}
	return nil
}

// group runs a command that has sub-commands: help without a word, else an error with the nearest.
func group(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		if cmd.HasParent() {
			return cmd.Help()
		}
		cmd.Println(strings.TrimRight(cmd.Long, "\n"))
		return nil
	}
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() || c.Name() == "help" {
			names = append(names, c.Name())
		}
	}
	err := cli.Usagef("unknown command %s", cli.Quote(args[0]))
	if cmd.HasParent() {
		err = cli.Usagef("%s has no command %s", commandPath(cmd), cli.Quote(args[0]))
	}
	if near := cli.Nearest(args[0], names); near != "" {
		return err.WithHint("%s %s", cmd.CommandPath(), near)
	}
	return err.WithHint("%s help", cmd.Root().Name())
}

// flagError turns an error of the flag library into ours, with the nearest flag.
func flagError(cmd *cobra.Command, err error) error {
	text := err.Error()
	word, ok := strings.CutPrefix(text, "unknown flag: --")
	if !ok {
		return cli.Usagef("%s", text).WithHint("%s", usageLine(cmd))
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	e := cli.Usagef("%s has no flag --%s", commandPath(cmd), word)
	if near := cli.Nearest(word, names); near != "" {
		return e.WithHint("--%s", near)
	}
	return e.WithHint("%s", usageLine(cmd))
}

// fromEnvironment sets the flags that were not given from their variables (docs/commands.md 1).
func fromEnvironment(cmd *cobra.Command, getenv func(string) string) error {
	var first error
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Changed || first != nil {
			return
		}
		v, ok := cli.FromEnvironment(getenv, f.Name)
		if !ok {
			return
		}
		if err := cmd.Flags().Set(f.Name, v); err != nil {
			first = cli.Usagef("%s: %v", cli.Environment(f.Name), err)
		}
	})
	return first
}

// commandPath is the path of a command without the program's name; the program's name for the root.
func commandPath(cmd *cobra.Command) string {
	if !cmd.HasParent() {
		return cmd.Name()
	}
	return strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name()+" ")
}

func usageLine(cmd *cobra.Command) string {
	if !cmd.HasParent() {
		return cmd.Name() + " help"
	}
	return cmd.Parent().CommandPath() + " " + cmd.Use
}
