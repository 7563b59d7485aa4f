package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign-ota/countersign/integration/docrun"
)

// Transcript 7 of docs/commands.md is what okafor sees at a terminal. Only its numbers are of a deployment
// that has lived longer.
func TestStopTranscript(t *testing.T) {
	text, err := os.ReadFile("../../docs/commands.md")
	must(t, err)
	_, lines, ok := strings.Cut(string(text), "\n# 7 Stop, withdraw, refresh")
	if !ok {
		t.Fatal("docs/commands.md has no transcript 7")
	}
	_, lines, _ = strings.Cut(lines, "\n")
	lines, _, _ = strings.Cut(lines, "\n```")

	d := &deceived{dir: t.TempDir()}
	must(t, found(d.dir, "acme", lifetime))
	d.serve(t, d.dir)
	for name, text := range map[string]string{
		"release.yaml": strings.Replace(specText, "[gw-100-c]", "[gw-100-c, gw-100-d]", 1), "gw.img": "firmware",
		"gw.cdx.json": `{"bomFormat":"CycloneDX","specVersion":"1.6","version":1,"components":[]}`,
	} {
		must(t, os.WriteFile(filepath.Join(d.dir, "rivera", name), []byte(text), 0o600))
	}
	d.publish(t, d.dir, "2.4.0")
	d.publish(t, d.dir, "2.4.1")

	dir := t.TempDir()
	path := filepath.Join(dir, "transcript.md")
	must(t, os.WriteFile(path, fmt.Appendf(nil, "```console\n%s\n```\n", lines), 0o600))
	docrun.Run(t, path, docrun.Options{
		Dir: dir, AnyNumber: true, Env: []string{"COUNTERSIGN_HOME=" + filepath.Join(d.dir, "okafor", "countersign")},
		Secret: func(string, string) string { return passphrase },
	})
}
