package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/countersign-ota/countersign/cmd/internal/cli"
)

func completionCommand() *command {
	return &command{
		name: "completion", args: "SHELL", most: 1, short: "Print the completion script of a shell: bash, zsh or fish.",
		example: "source <(" + name + " completion bash)",
		run: func(_ context.Context, p *program, args []string) error {
			if len(args) == 0 {
				return cli.Usagef("completion wants SHELL").WithHint("%s completion bash", name)
			}
			script, ok := completions()[args[0]]
			if !ok {
				return cli.Usagef("no completion for %s; there is bash, fish, zsh", cli.Quote(args[0])).
					WithHint("%s completion bash", name)
			}
			p.print("%s", script)
			return nil
		},
	}
}

// completions returns a script for each shell: commands first, then flags.
func completions() map[string]string {
	var verbs, flags []string
	fish := ""
	for _, c := range commands() {
		verbs = append(verbs, c.name)
		fish += fmt.Sprintf("complete -c %s -n __fish_use_subcommand -f -a %s -d %q\n", name, c.name, c.short)
	}
	for _, list := range [][]about{commonFlags, settings} {
		for _, s := range list {
			flag, _, _ := strings.Cut(flagWord(s), " ")
			flags = append(flags, flag)
			fish += fmt.Sprintf("complete -c %s %s -d %q\n", name, fishFlag(flag), s.usage)
		}
	}
	bash := fmt.Sprintf(`_countersign_agent() {
  local cur=${COMP_WORDS[COMP_CWORD]}
  if [[ $cur == -* ]]; then COMPREPLY=($(compgen -W %q -- "$cur"))
  elif [[ $COMP_CWORD -eq 1 ]]; then COMPREPLY=($(compgen -W %q -- "$cur"))
  else COMPREPLY=($(compgen -f -- "$cur")); fi
}
complete -F _countersign_agent %s
`, strings.Join(flags, " "), strings.Join(verbs, " "), name)
	return map[string]string{
		"bash": bash,
		"zsh":  "autoload -U +X bashcompinit && bashcompinit\n" + bash,
		"fish": fish,
	}
}

func fishFlag(flag string) string {
	if long, ok := strings.CutPrefix(flag, "--"); ok {
		return "-l " + long
	}
	return "-s " + strings.TrimPrefix(flag, "-")
}
