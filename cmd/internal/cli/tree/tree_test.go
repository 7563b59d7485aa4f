package tree

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/countersign-ota/countersign/cmd/internal/cli"
)

// program returns a program with a few commands, and what it prints.
func program() (p *Program, stdout, stderr *strings.Builder, ran *string) {
	stdout, stderr, ran = &strings.Builder{}, &strings.Builder{}, new(string)
	p = New(Text{Name: "prog", Short: "Do things.", Jobs: "prog: ten lines by job\n", Topics: []Topic{{"ids", "about ids", "An id is an id.\n"}}})
	p.Out.Stdout, p.Out.Stderr = stdout, stderr
	var output string
	sign := &cobra.Command{Use: "sign EVENT… [--artifact PATH]", Short: "Sign.", Example: "  prog sign x", RunE: func(_ *cobra.Command, args []string) error {
		*ran = strings.Join(append([]string{"sign"}, args...), " ")
		return nil
	}}
	sign.Flags().String("artifact", "", "`PATH`")
	sign.Flags().String("expect", "", "`ID`")
	invite := &cobra.Command{Use: "invite ID --role IDS [--site ID] -o FILE", Short: "Invite.", RunE: func(_ *cobra.Command, args []string) error {
		*ran = "invite " + args[0] + " " + output
		return nil
	}}
	invite.Flags().StringVarP(&output, "output", "o", "", "`FILE`")
	operator := &cobra.Command{Use: "operator", Short: "People."}
	operator.AddCommand(invite, &cobra.Command{Use: "list", Short: "List.", RunE: func(*cobra.Command, []string) error { *ran = "list"; return nil }})
	p.Add(sign, operator, &cobra.Command{Use: "key [KEY]", Short: "Key.", RunE: func(_ *cobra.Command, args []string) error {
		*ran = strings.Join(append([]string{"key"}, args...), " ")
		return nil
	}})
	return p, stdout, stderr, ran
}

func TestCommandLine(t *testing.T) {
	for _, tt := range []struct {
		name, args string
		code       int
		ran        string
		stdout     string // a part
		stderr     string // all
	}{
		{"bare", "", 0, "", "prog: ten lines by job", ""},
		{"several arguments", "sign a b", 0, "sign a b", "", ""},
		{"optional argument", "key", 0, "key", "", ""},
		{"optional argument given", "key k", 0, "key k", "", ""},
		{"flags of sub-commands", "operator invite chen -o f", 0, "invite chen f", "", ""},
		{"group", "operator", 0, "", "operator invite ID", ""},
		{"none given", "sign", 2, "", "", "prog: error: sign wants EVENT… [usage]\nprog: hint: prog sign EVENT… [--artifact PATH]\n"},
		{"one too many", "operator invite a b", 2, "", "", "prog: error: operator invite takes ID, got \"b\" as well [usage]\nprog: hint: prog operator invite ID --role IDS [--site ID] -o FILE\n"},
		{"none wanted", "operator list x", 2, "", "", "prog: error: operator list takes no argument, got \"x\" [usage]\nprog: hint: prog operator list\n"},
		{"nearest command", "sgin x", 2, "", "", "prog: error: unknown command \"sgin\" [usage]\nprog: hint: prog sign\n"},
		{"nothing near", "deploy", 2, "", "", "prog: error: unknown command \"deploy\" [usage]\nprog: hint: prog help\n"},
		{"nearest sub-command", "operator invit x", 2, "", "", "prog: error: operator has no command \"invit\" [usage]\nprog: hint: prog operator invite\n"},
		{"nearest flag", "sign x --artefact y", 2, "", "", "prog: error: sign has no flag --artefact [usage]\nprog: hint: --artifact\n"},
		{"flag without value", "sign x --artifact", 2, "", "", "prog: error: flag needs an argument: --artifact [usage]\nprog: hint: prog sign EVENT… [--artifact PATH]\n"},
		{"error as json", "--json deploy", 2, "", "", `{"reason":"usage","message":"unknown command \"deploy\"","hint":"prog help","exit":2}` + "\n"},
		{"json after the fault", "sign --bad --json", 2, "", "", `{"reason":"usage","message":"sign has no flag --bad","hint":"prog sign EVENT… [--artifact PATH]","exit":2}` + "\n"},
		{"color", "--color red key", 2, "", "", "prog: error: --color \"red\" is none of auto, always, never [usage]\n"},
		{"version", "version", 0, "", "prog unknown go1.", ""},
		{"version as json", "version --json", 0, "", `{"name":"prog","version":"unknown"`, ""},
		{"topic", "help ids", 0, "", "An id is an id.", ""},
		{"common topic", "help exit-codes", 0, "", "not authentic", ""},
		{"help of a command", "help sign", 0, "", "usage: prog sign EVENT… [--artifact PATH]\n\nexample:\n  prog sign x", ""},
		{"help of a sub-command", "help operator invite", 0, "", "Invite.", ""},
		{"help flag", "sign --help", 0, "", "Sign.\n\nusage:", ""},
		{"index", "help", 0, "", "operator invite", ""},
		{"unknown topic", "help id", 2, "", "", "prog: error: no command or topic \"id\" [usage]\nprog: hint: prog help ids\n"},
		{"completion", "completion bash", 0, "", "__start_prog", ""},
		{"no such shell", "completion bsh", 2, "", "", "prog: error: no completion for \"bsh\"; there is bash, zsh, fish, powershell [usage]\nprog: hint: prog completion bash\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, stdout, stderr, ran := program()
			code := p.Run(t.Context(), strings.Fields(tt.args))
			if code != tt.code || *ran != tt.ran || stderr.String() != tt.stderr || !strings.Contains(stdout.String(), tt.stdout) {
				t.Errorf("code %d, want %d; ran %q, want %q\nstdout %s\nwant   %s\nstderr %s\nwant   %s", code, tt.code, *ran, tt.ran, stdout, tt.stdout, stderr, tt.stderr)
			}
		})
	}
}

func TestEnvironmentSetsFlags(t *testing.T) {
	for k, v := range map[string]string{"COUNTERSIGN_ARTIFACT": "gw.img", "COUNTERSIGN_EXPECT": "abc", "COUNTERSIGN_YES": "true", "COUNTERSIGN_NO_INPUT": "true", "COUNTERSIGN_OUTPUT": "f"} {
		t.Setenv(k, v)
	}
	p, _, _, ran := program()
	if code := p.Run(t.Context(), []string{"operator", "invite", "chen"}); code != 0 || *ran != "invite chen f" {
		t.Errorf("code %d, ran %q", code, *ran)
	}
	if p.Ask.Yes || !p.Ask.NoInput {
		t.Errorf("--yes %t, --no-input %t", p.Ask.Yes, p.Ask.NoInput)
	}
	sign, _, err := p.Root.Find([]string{"sign"})
	if err != nil {
		t.Fatal(err)
	}
	if err := fromEnvironment(sign, os.Getenv); err != nil {
		t.Fatal(err)
	}
	if a, e := sign.Flag("artifact").Value.String(), sign.Flag("expect").Value.String(); a != "gw.img" || e != "" {
		t.Errorf("artifact %q, expect %q", a, e)
	}
	t.Setenv("COUNTERSIGN_JSON", "maybe")
	p, _, stderr, _ := program()
	if code := p.Run(t.Context(), []string{"key"}); code != 2 || !strings.Contains(stderr.String(), "COUNTERSIGN_JSON") {
		t.Errorf("code %d, %s", code, stderr)
	}
}

func TestJSONNeverAsks(t *testing.T) {
	p, _, _, _ := program()
	if code := p.Run(t.Context(), []string{"key", "--json"}); code != 0 || !p.Ask.NoInput {
		t.Errorf("code %d, --no-input %t", code, p.Ask.NoInput)
	}
}

func TestInterruptedExits130(t *testing.T) {
	p, _, stderr, _ := program()
	ctx, cancel := context.WithCancel(t.Context())
	p.Add(&cobra.Command{Use: "wait", Short: "Wait.", RunE: func(cmd *cobra.Command, _ []string) error {
		cancel()
		<-cmd.Context().Done()
		return cmd.Context().Err()
	}})
	if code := p.Run(ctx, []string{"wait"}); code != cli.ExitInterrupted || stderr.Len() != 0 {
		t.Errorf("code %d, %s", code, stderr)
	}
}

func TestManPages(t *testing.T) {
	p, stdout, _, _ := program()
	dir := filepath.Join(t.TempDir(), "man1")
	if code := p.Run(t.Context(), []string{"help", "--man", dir}); code != 0 {
		t.Fatalf("code %d", code)
	}
	page, err := os.ReadFile(filepath.Join(dir, "prog-operator-invite.1"))
	if err != nil || !strings.Contains(string(page), "Invite.") {
		t.Errorf("%v\n%s", err, page)
	}
	if !strings.HasPrefix(stdout.String(), "wrote ") {
		t.Errorf("printed %q", stdout)
	}
}

func TestArity(t *testing.T) {
	for use, want := range map[string][2]int{
		"plan": {0, 0}, "init PLAN -o FILE": {1, 1}, "sign EVENT… [--artifact PATH --reason T]": {1, 1<<16 + 1}, "help [TOPIC…]": {0, 1<<16 + 1},
		"show [KEY] [--public]": {0, 1}, "list [--since --who --what]": {0, 0}, "change PLAN [-o FILE]": {1, 1}, "mirror SOURCE DEST [--dry-run]": {2, 2},
	} {
		if least, most, _ := arity(use); least != want[0] || most != want[1] {
			t.Errorf("%q: %d to %d, want %d to %d", use, least, most, want[0], want[1])
		}
	}
}
