package main

import (
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/countersign-ota/countersign/integration/softhsm"
)

// plugin is the folder with sigstore-kms-pkcs11, built once for all scripts.
var plugin struct {
	once sync.Once
	dir  string
	err  error
}

// cmdToken makes a token in $WORK/LABEL, which only the script's programs see from here on, and puts the
// plug-in on their PATH. $STORE is the beginning of its keys' URIs, $MODULE the end; pin holds its PIN.
func cmdToken(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: token LABEL")
	}
	plugin.once.Do(func() {
		if plugin.dir, plugin.err = os.MkdirTemp("", "countersign-plugin-"); plugin.err == nil {
			plugin.err = softhsm.Build(plugin.dir)
		}
	})
	ts.Check(plugin.err)
	work := ts.Getenv("WORK")
	k, err := softhsm.In(filepath.Join(work, "tokens"), args[0])
	ts.Check(err)
	name, value, _ := strings.Cut(k.Env(), "=")
	ts.Setenv(name, value)
	ts.Setenv("PATH", plugin.dir+string(os.PathListSeparator)+ts.Getenv("PATH"))
	store, module, _ := strings.Cut(k.URI("X"), "X")
	ts.Setenv("STORE", store)
	ts.Setenv("MODULE", module)
	ts.Check(os.WriteFile(filepath.Join(work, "pin"), []byte(softhsm.PIN+"\n"), 0o600))
	ts.Check(os.WriteFile(filepath.Join(work, "answers"), []byte("yes\n"+softhsm.PIN+"\n"), 0o600))
	ts.Check(os.WriteFile(filepath.Join(work, "wrong"), []byte("yes\n000000\n"), 0o600))
}

// cmdDrop removes a key pair from a token of cmdToken.
func cmdDrop(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: drop LABEL OBJECT")
	}
	_, module, _ := strings.Cut(ts.Getenv("MODULE"), "module-path=")
	k := &softhsm.Token{Label: args[0], Dir: filepath.Join(ts.Getenv("WORK"), "tokens"), Module: module}
	ts.Check(k.Drop(args[1]))
}

func removePlugin() { _ = os.RemoveAll(plugin.dir) }
