package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"countersign": main})
}

// TestScripts runs testdata/*.txtar. Beside testscript's own commands they have:
//
//	as PERSON                 from here on this person's machine: COUNTERSIGN_HOME and the current folder
//	exit CODE PROGRAM ARG…    run it; it must end with this code
//	until REGEXP PROGRAM ARG…    run it until it prints that: what the server does by itself takes a moment
//	copies FILE PERSON…       give a file to other people
//	signs EVENT PERSON…       each on the own machine: an id, or a file below $WORK, which is signed in place
//	twin FILE ID              gives a withdrawal another reason, with which its id begins with the same 4 digits as ID
//	save NAME FILE|stdout REGEXP     the first group becomes $NAME
//	server DEPLOYMENT         an empty real server, its online.pub and first token in $WORK
//	world DEPLOYMENT          a real server with a founded deployment: rivera, chen and okafor are logged in,
//	                          product gw-100 of engineering (rivera) and quality (chen, okafor) exists
//	world DEPLOYMENT DAYS     the same, and all that people signed expires so soon
//	also DEPLOYMENT           a second one of the same people
//	stop DEPLOYMENT           its server ends
//	start DEPLOYMENT          and begins again
//	token LABEL               a real SoftHSM2 token and its plug-in; a key is ${STORE}NAME${MODULE}, its PIN in $WORK/pin
//	drop LABEL NAME           removes a key from it
//	copied DEPLOYMENT DIR     a copy of the repository that it serves, with the images, as a mirror has it
//	bundle DIR FILE [PERCENT] a tar of a directory, or only so much of it
//	replace FILES OLD NEW     put one text for another, once in each file that a pattern names
func TestScripts(t *testing.T) {
	t.Cleanup(removeWorlds)
	t.Cleanup(removePlugin)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", filepath.Join(env.WorkDir, "home"))
			env.Setenv("NO_COLOR", "1")
			return passphraseFile(env.WorkDir)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"as": cmdAs, "exit": cmdExit, "until": cmdUntil, "copies": cmdCopies, "save": cmdSave, "signs": cmdSigns, "twin": cmdTwin,
			"server": cmdServer, "world": cmdWorld, "also": cmdAlso, "start": cmdStart, "stop": cmdStop,
			"token": cmdToken, "drop": cmdDrop,
			"copied": cmdCopied, "bundle": cmdBundle, "replace": cmdReplace,
		},
	})
}

const passphrase = "correct horse battery staple"

func passphraseFile(dir string) error {
	return os.WriteFile(filepath.Join(dir, "pass"), []byte(passphrase+"\n"), 0o600)
}

func cmdAs(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: as PERSON")
	}
	dir := filepath.Join(ts.Getenv("WORK"), args[0])
	ts.Check(os.MkdirAll(dir, 0o755))
	ts.Setenv("COUNTERSIGN_HOME", filepath.Join(dir, "countersign"))
	ts.Check(ts.Chdir(dir))
}

func cmdExit(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exit CODE PROGRAM ARG…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var e *exec.ExitError
		if !errors.As(err, &e) {
			ts.Fatalf("%v", err)
		}
		got = e.ExitCode()
	}
	if got != want {
		ts.Fatalf("%s ended with %d, want %d", args[1], got, want)
	}
}

func cmdUntil(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until REGEXP PROGRAM ARG…")
	}
	want := regexp.MustCompile(args[0])
	for range 500 {
		ts.Check(ts.Exec(args[1], args[2:]...))
		if want.MatchString(ts.ReadFile("stdout")) {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	ts.Fatalf("%s never printed %s", args[1], args[0])
}

func cmdCopies(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: copies FILE PERSON…")
	}
	data, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	for _, person := range args[1:] {
		dir := filepath.Join(ts.Getenv("WORK"), person)
		ts.Check(os.MkdirAll(dir, 0o755))
		ts.Check(os.WriteFile(filepath.Join(dir, filepath.Base(args[0])), data, 0o644))
	}
}

func cmdSave(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: save NAME FILE|stdout REGEXP")
	}
	m := regexp.MustCompile("(?m)" + args[2]).FindStringSubmatch(ts.ReadFile(args[1]))
	if len(m) != 2 {
		ts.Fatalf("%s has no match of %s with one group:\n%s", args[1], args[2], ts.ReadFile(args[1]))
	}
	ts.Setenv(args[0], m[1])
}

// tool runs the program in a person's folder below dir and returns what it printed.
func runTool(dir, person string, args ...string) (string, error) {
	home := filepath.Join(dir, person)
	if err := os.MkdirAll(home, 0o755); err != nil {
		return "", err
	}
	cmd := exec.Command("countersign", args...)
	cmd.Dir = home
	cmd.Env = append(os.Environ(), "COUNTERSIGN_HOME="+filepath.Join(home, "countersign"), "NO_COLOR=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s$ countersign %s: %w\n%s", person, strings.Join(args, " "), err, out)
	}
	return string(out), nil
}
