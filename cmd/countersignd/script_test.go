package main

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/countersign-ota/countersign/integration/loopback"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"countersignd": main})
}

// TestScripts runs testdata/*.txtar. $GRPC and $HTTPS are addresses on which nothing listens, pass is
// a file with a passphrase. Beside testscript's own commands they have:
//
//	waitfor ADDRESS      until it speaks TLS 1.3
//	mode FILE OCTAL      chmod
//	replace FILE A B     B for A, which stands there once
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			for _, name := range []string{"GRPC", "HTTPS"} {
				address, err := loopback.Address()
				if err != nil {
					return err
				}
				env.Setenv(name, address)
			}
			return os.WriteFile(filepath.Join(env.WorkDir, "pass"), []byte("correct horse battery staple\n"), 0o600)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"waitfor": cmdWaitFor, "mode": cmdMode, "replace": cmdReplace},
	})
}

func cmdWaitFor(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: waitfor ADDRESS")
	}
	for range 1000 {
		// The server's name is not the matter here: whether it speaks TLS 1.3 is.
		c, err := tls.Dial("tcp", args[0], &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}) //nolint:gosec // see above
		if err == nil {
			c.Close()
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	ts.Fatalf("nothing speaks TLS 1.3 on %s", args[0])
}

func cmdMode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mode FILE OCTAL")
	}
	modes := map[string]os.FileMode{"600": 0o600, "640": 0o640, "644": 0o644}
	mode, ok := modes[args[1]]
	if !ok {
		ts.Fatalf("mode %s is not one of these tests'", args[1])
	}
	ts.Check(os.Chmod(ts.MkAbs(args[0]), mode))
}

func cmdReplace(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: replace FILE A B")
	}
	text := ts.ReadFile(args[0])
	if strings.Count(text, args[1]) != 1 {
		ts.Fatalf("%s holds %q %d times", args[0], args[1], strings.Count(text, args[1]))
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.Replace(text, args[1], args[2], 1)), 0o644))
}
