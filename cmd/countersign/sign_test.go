package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/countersign-ota/countersign/signer/event"
)

func cmdSigns(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: signs EVENT PERSON…")
	}
	work, name := ts.Getenv("WORK"), args[0]
	if isFile(name) {
		name = ts.MkAbs(name)
	}
	for _, person := range args[1:] {
		out, err := runTool(work, person, "event", "show", name, "--json")
		ts.Check(err)
		id := regexp.MustCompile(`"event":"([0-9a-f]{64})"`).FindStringSubmatch(out)
		if id == nil {
			ts.Fatalf("no id in %s", out)
		}
		_, err = runTool(work, person, "sign", name, "--expect", id[1], "--passphrase-file", filepath.Join(work, "pass"), "--reason", "as "+person)
		ts.Check(err)
	}
}

func cmdTwin(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: twin FILE ID")
	}
	path := ts.MkAbs(args[0])
	data, err := os.ReadFile(path)
	ts.Check(err)
	e, err := event.Parse(data)
	ts.Check(err)
	why := e.Proposal.Reason
	for n := range 1 << 22 { // one in 2^16 fits
		e.Proposal.Reason = fmt.Sprintf("%s, case %d", why, n)
		if e.ID()[:minPrefix] == args[1][:minPrefix] {
			data, err := e.Bytes()
			ts.Check(err)
			ts.Check(os.WriteFile(path, data, 0o644))
			return
		}
	}
	ts.Fatalf("no twin of %s", args[1])
}
