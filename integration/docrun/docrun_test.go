package docrun

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A document with all that a block may hold runs, and each way to differ from it is noticed.
func TestRun(t *testing.T) {
	Run(t, "testdata/all.md", Options{
		Replace: [][2]string{{"/media/stick", ""}, {"updates.example:8443", "127.0.0.1:2"}},
		Secret:  func(who, prompt string) string { return who + " knows" },
		Env:     []string{"FRUIT=pear"},
	})
}

func TestRunNoticesADifference(t *testing.T) {
	for name, c := range map[string]struct{ block, want string }{
		"another line":              {"rivera$ echo one\ntwo", "the document says  two\nthe program says   one"},
		"a line too many":           {"rivera$ echo one; echo two\none", "(nothing more)\nthe program says   two"},
		"a line too few":            {"rivera$ echo one\none\ntwo", "the program says   (nothing more)"},
		"an exit code":              {"rivera$ exit 3", "exit 3, the document says 0"},
		"an exit code that is none": {"rivera$ true\n(exit 3)", "exit 0, the document says 3"},
		"no question":               {"rivera$ echo done\nSign? Type yes: yes", "it did not ask"},
		"an id that changes":        {"rivera$ echo 0123456789ab\n3abd72ec6352\nrivera$ echo 0123456789ac\n3abd72ec6352", "the program says   0123456789ac"},
		"nothing to stop":           {"rivera$ kill %1", "runs nothing"},
		"a server that ends badly":  {"rivera$ sh -c 'echo up; exit 1' &\nup\nrivera$ kill %1", "exit status 1"},
		"a server that says no":     {"rivera$ echo down &\nup", "the document says  up"},
	} {
		t.Run(name, func(t *testing.T) {
			steps, err := console(strings.Split(c.block, "\n"), 1)
			if err != nil {
				t.Fatal(err)
			}
			r := newRunner(t, Options{})
			for _, s := range steps {
				if err = r.step(s); err != nil {
					break
				}
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"no end":               {"a\n```console\nrivera$ true\n", "2: the block does not end"},
		"output first":         {"```console\nfine\n```\n", "2: output before"},
		"output after the end": {"```console\nrivera$ false\n(exit 1)\nfine\n```\n", "4: output after"},
		"exit 0":               {"```console\nrivera$ true\n(exit 0)\n```\n", "3: (exit 0)"},
		"a file of nobody":     {"```yaml plan.yaml\n```\n", `1: "plan.yaml" is not WHO/PATH`},
		"a file elsewhere":     {"```yaml rivera/../x\n```\n", "is not WHO/PATH"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := parse(c.text); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

func TestLines(t *testing.T) {
	for _, c := range []struct {
		name, document, output string
		same                   bool
	}{
		{"spaces", "a   b\n\n", "a b", true},
		{"anything in a line", "a … d", "a b c d", true},
		{"no line between", "a\n…\nb", "a\nb", true},
		{"lines between", "a\n…\nb", "a\nx\ny\nb", true},
		{"not the line after them", "a\n…\nb", "a\nx", false},
		{"lines at the end", "a\n…", "a\nx\ny", true},
		{"dates and times", "2026-11-25 09:20 UTC, 09:20:11", "2031-01-02 23:59 UTC, 00:00:00", true},
		{"durations", "in 41 d, 2 h ago", "in 3 min, 1 s ago", true},
		{"other numbers of units count", "spread 24 h", "spread 72 h", false},
		{"online versions", "snapshot 1795599060", "snapshot 1800000000", true},
		{"an id", "event b8e1f80bd70a", "event 0123456789ab", true},
		{"an id of another length", "event b8e1f80bd70a", "event 0123456789", false},
		{"the same id twice", "b8e1f80bd70a b8e1f80bd70a", "0123456789ab 0123456789ab", true},
		{"the same id, then not", "b8e1f80bd70a b8e1f80bd70a", "0123456789ab 0123456789ac", false},
		{"its beginning", "b8e1f80bd70a\nb8e1f80b", "0123456789ab\n01234567", true},
		{"another beginning", "b8e1f80bd70a\nb8e1f80b", "0123456789ab\n91234567", false},
		{"two ids that are one", "b8e1f80bd70a 3abd72ec6352", "0123456789ab 0123456789ab", false},
		{"words", "signed by rivera", "signed by chen", false},
		{"signs of expressions", "a (b) [c] *", "a (b) [c] *", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			var m Matcher
			err := m.Lines(strings.Split(c.document, "\n"), strings.Split(c.output, "\n"))
			if (err == nil) != c.same {
				t.Errorf("got %v", err)
			}
		})
	}
	any := Matcher{AnyNumber: true}
	if err := any.Lines([]string{"version 30 → 31, 9,412,608 bytes, b8e1f80bd70a"}, []string{"version 2 → 3, 12 bytes, 0123456789ab"}); err != nil {
		t.Error(err)
	}
	if got := any.Real("sign b8e1 face b8e1f80bd70a"); got != "sign 0123456789ab face 0123456789ab" {
		t.Errorf("got %q", got)
	}
}

func TestScreen(t *testing.T) {
	for output, want := range map[string][]string{
		"a\r\nb":                       {"a", "b"},
		"10 %\r20 %\r\n":               {"20 %", ""},
		"bar\r\n\x1b[1A\x1b[Jdone\r\n": {"done", ""},
		"long\rx\x1b[K\r\n":            {"x", ""},
		"\x1b[31mred\x1b[0m":           {"red"},
		"pin ····":                     {"pin ····"},
		"\xff":                         {"\ufffd"},
	} {
		if got := screen(output); !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", output, got, want)
		}
	}
}

// The example of the package's comment is read as it says.
func TestExampleOfTheComment(t *testing.T) {
	text, err := os.ReadFile("docrun.go")
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(string(text), "//	```console\n")
	block, _, _ = strings.Cut(block, "//	```\n")
	steps, err := console(strings.Split(strings.ReplaceAll(block, "//	", ""), "\n"), 1)
	if err != nil || len(steps) != 2 || steps[1].exit != 6 || len(steps[0].output) != 4 {
		t.Fatalf("got %+v, %v", steps, err)
	}
	if q, ok := promptOf(steps[0].output[2]); !ok || !q.secret || q.wrong {
		t.Errorf("got %+v", q)
	}
	if _, err := os.Stat(filepath.Join("testdata", "all.md")); err != nil {
		t.Error(err)
	}
}
