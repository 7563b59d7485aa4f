// Command errorsdoc writes docs/errors.md from the table of proto/reason. `go generate` runs it.
package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/countersign-ota/countersign/proto/reason"
)

var headings = map[reason.Class]string{
	reason.Usage:        "2: wrong use",
	reason.NotAuthentic: "3: not authentic. No script repeats it; a person must look",
	reason.NotAllowed:   "4: not allowed. The bytes are genuine, a rule or permission forbids the step",
	reason.NotReachable: "5: not reachable. Repeat later",
	reason.NotYet:       "6: not yet. Repeat later",
	reason.NotProven:    "7: person not proven",
	reason.Machine:      "8: this machine",
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: errorsdoc FILE")
		os.Exit(2)
	}
	if err := os.WriteFile(os.Args[1], []byte(document()), 0o644); err != nil {
		fmt.Fprintln(os.Stderr, "errorsdoc:", err)
		os.Exit(1)
	}
}

func document() string {
	var b strings.Builder
	b.WriteString("# Errors\n\n" +
		"An error of any of the three programs ends in `[reason]`. The reason is one of these constants; it also stands in\n" +
		"the JSON error line, in gRPC's `ErrorInfo` (domain `countersign`) and in the audit log, and never changes its\n" +
		"meaning. Its class decides the exit code. This file is generated from `proto/reason` by `make generate`.\n")
	class := reason.Class(0)
	for _, r := range reason.All() {
		if r.Class() != class {
			class = r.Class()
			fmt.Fprintf(&b, "\n## %s\n\n| reason | meaning | gRPC code |\n|---|---|---|\n", headings[class])
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", r, r.Meaning(), r.Code())
	}
	return b.String()
}
