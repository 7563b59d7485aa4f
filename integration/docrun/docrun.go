// Package docrun runs the commands that a Markdown document shows, and compares what they print with
// what it says they print. So a guide cannot differ from the programs. Start with Run; Matcher compares a
// transcript with output that a test got in another way.
//
// Fenced blocks whose first word is console are executed, in order:
//
//	```console
//	chen$ countersign sign acme.event --reason "first roots"
//	…
//	Sign 3 files of acme as chen (holder, "approved")? Type yes: yes
//	Passphrase for chen, keys 3abd72ec6352 and 90be44106c1e: ········
//	acme.event: signed by chen; quorum complete in 0 of 3 files
//	chen$ countersign publish acme.event
//	countersign: error: …                                                        (exit 6)
//	```
//
// A line "WHO$ COMMAND" or "WHO# COMMAND" is a command for sh in WHO's home, which is HOME and the working
// directory; one that ends in "\" goes on in the next line. Each command has its own shell, so that cd and
// export end with it. People share nothing but the folders of Options.Replace: what goes from one to
// another is carried by a cp that the document shows. A line of "#" and a space is for the reader.
//
// The lines below are all that the command shows on its terminal, standard output and error included.
// A command ends with exit code 0 unless "(exit N)" ends its last line or stands alone there. A line
// ends in "Type yes: ANSWER" where a question is answered; in dots, ": ········", where a secret is typed
// that Options.Secret names, and "(wrong)" after the dots types another one.
//
// "WHO$ COMMAND &" starts a server, which runs in the background until "WHO$ kill %1" or the end of the
// document and then has to end well; its lines are waited for, others may stand between them.
//
// A block "```LANGUAGE WHO/PATH" is a file in WHO's home, written when the run comes to it. All other
// text is for the reader.
//
// What matches what. Lines are equal when their words are; the number of spaces does not count, nor do
// empty lines. In the document
//
//	…                   matches any text, and alone in a line any number of lines
//	3abd72ec6352        8 or more hexadecimal digits with a letter among them: as many others, and the same
//	                    ones wherever the document has the same; commands get the real ones, also for a
//	                    beginning of 4 or more digits
//	1795599060          8 or more decimal digits: any 8 or more
//	2026-11-25, 09:20   any date, any time of the day
//	in 41 d, 2 h ago    any duration of days, hours, minutes or seconds
package docrun

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Options say where a document runs. The zero value runs it with the programs on PATH.
type Options struct {
	// Path are folders with programs, looked in before PATH.
	Path []string
	// Dir is the folder in which everything happens; empty is one of the test's own.
	Dir string
	// Replace has pairs of a text of the document, such as /media/stick or updates.example:8443, and of
	// what stands in its place in commands and files; output is changed back. Of a pair with an empty
	// second text, a path, a folder below Dir is made. /home is replaced so in every document.
	Replace [][2]string
	// Secret is what WHO types at a prompt for a passphrase or PIN.
	Secret func(who, prompt string) string
	// Env is added to the environment of each command.
	Env []string
	// AnyNumber lets every number match every other (Matcher).
	AnyNumber bool
}

// Run executes the document at path. It fails at the first difference, naming the line.
func Run(t *testing.T, path string, o Options) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	steps, err := parse(string(text))
	if err != nil {
		t.Fatalf("%s:%v", path, err)
	}
	if len(steps) == 0 {
		t.Fatalf("%s has nothing to execute", path)
	}
	r := newRunner(t, o)
	for _, s := range steps {
		if err := r.step(s); err != nil {
			t.Fatalf("%s:%d: %s\n%v", path, s.line, s.title(), err)
		}
	}
	if err := r.stopAll(); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// runner is one run of a document.
type runner struct {
	t       *testing.T
	o       Options
	replace [][2]string // from the document's text to the real one, the longest first
	match   Matcher
	servers map[string]*server // by WHO
}

func newRunner(t *testing.T, o Options) *runner {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	r := &runner{t: t, o: o, match: Matcher{AnyNumber: o.AnyNumber}, servers: map[string]*server{}}
	r.replace = append(slices.Clone(o.Replace), [2]string{"/home", ""})
	for i, p := range r.replace {
		if p[1] != "" {
			continue
		}
		r.replace[i][1] = filepath.Join(o.Dir, p[0])
		if err := os.MkdirAll(r.replace[i][1], 0o755); err != nil {
			t.Fatal(err)
		}
	}
	slices.SortStableFunc(r.replace, func(a, b [2]string) int { return len(b[0]) - len(a[0]) })
	t.Cleanup(func() { _ = r.stopAll() })
	return r
}

// home is the folder of a person, made when it is not there.
func (r *runner) home(who string) (string, error) {
	dir := filepath.Join(r.o.Dir, "home", who)
	return dir, os.MkdirAll(dir, 0o700)
}

// real puts what stands in its place into a text of the document.
func (r *runner) real(text string) string { return replaced(r.replace, text, 0, 1) }

// shown is the opposite of real, for output.
func (r *runner) shown(text string) string { return replaced(r.replace, text, 1, 0) }

// replaced replaces all at once, so that no replacement is replaced again.
func replaced(pairs [][2]string, text string, from, to int) string {
	var words []string
	for _, p := range pairs {
		words = append(words, p[from], p[to])
	}
	return strings.NewReplacer(words...).Replace(text)
}

func (r *runner) step(s step) error {
	dir, err := r.home(s.who)
	if err != nil {
		return err
	}
	switch {
	case s.file != "":
		path := filepath.Join(dir, s.file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		return os.WriteFile(path, []byte(r.real(s.content)), 0o644)
	case s.command == "kill %1":
		return r.stop(s.who)
	case strings.HasSuffix(s.command, "&"):
		return r.serve(s, dir)
	}
	return r.run(s, dir)
}
