package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// The transcript in the documents is what testdata/rehearse.txtar compares the program's output with, up
// to the clock.
func TestRehearsalTranscript(t *testing.T) {
	script, err := txtar.ParseFile("testdata/rehearse.txtar")
	if err != nil {
		t.Fatal(err)
	}
	var want string
	for _, f := range script.Files {
		if f.Name == "rivera/retire.txt" {
			want = string(f.Data)
		}
	}
	data, err := os.ReadFile("../../docs/commands.md")
	if err != nil {
		t.Fatal(err)
	}
	_, doc, ok := strings.Cut(string(data), "rivera$ countersign rehearse retire.yaml --lost okafor\n")
	if !ok || want == "" {
		t.Fatal("no transcript")
	}
	doc, _, _ = strings.Cut(doc, "rivera$")
	for _, r := range []struct{ from, to string }{
		{`20[0-9]{2}-[0-9]{2}-[0-9]{2}`, "DATE"}, {`DATE [0-9]{2}:[0-9]{2} UTC`, "NOW"}, {`in 36[0-9] days`, "in N days"},
	} {
		doc = regexp.MustCompile(r.from).ReplaceAllString(doc, r.to)
	}
	if doc != want {
		t.Errorf("docs/commands.md has\n%s\nthe program prints\n%s", doc, want)
	}
}
