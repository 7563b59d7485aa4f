package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign-ota/countersign/integration/docrun"
	"github.com/countersign-ota/countersign/integration/world"
)

// spec is a release as transcript 3 shows it.
const spec = `spread_hours: %d
floor: 1
class: security
conditions: {battery_percent_min: 40, idle: true, downtime_seconds: 180}
evidence: {sbom: gw.cdx.json}
targets:
- {file: gw.img, component: main, hardware: [gw-100-c, gw-100-d], installer: slot}
`

// Transcript 3 of docs/commands.md, the review and its refusal without a yes, is what chen sees at a
// terminal. Only its numbers are of a deployment that has lived longer.
func TestReviewTranscript(t *testing.T) {
	text, err := os.ReadFile("../docs/commands.md")
	must(t, err)
	_, lines, ok := strings.Cut(string(text), "\n# 3 Review: chen$ ")
	if !ok {
		t.Fatal("docs/commands.md has no transcript 3")
	}
	command, lines, _ := strings.Cut(lines, "\n")
	lines, _, ok = strings.Cut(lines, "(exit 7)\n")
	if !ok {
		t.Fatal("transcript 3 does not end in (exit 7)")
	}
	_, id, _ := strings.Cut(lines, "\nevent    ")
	id = strings.Fields(id)[0]

	w := start(t)
	yaml := strings.Replace(world.TwoClasses, "sbom: none", "sbom: required", 1)
	must(t, w.AddProducts(map[string]string{"gw-100": yaml}))
	image(t, w, "gw.img", 400_000, 5)
	must(t, w.Put(world.Engineer, "gw.cdx.json", `{"bomFormat":"CycloneDX","specVersion":"1.5","components":[]}`))
	open := func(release string, spread int) string {
		t.Helper()
		must(t, w.Put(world.Engineer, "release.yaml", fmt.Sprintf(spec, spread)))
		event, err := w.Open(world.Engineer, "release", release, "--spec", "release.yaml", "--no-input", "--yes")
		must(t, err)
		return event
	}
	must(t, w.SignAndPublish(open("gw-100/2.4.0", 72), "build 8800", world.Engineer, world.Quality))
	image(t, w, "gw.img", 500_000, 6)
	real := open("gw-100/2.4.1", 24)
	must(t, w.Sign(world.Engineer, real, real, "--reason", "build 8812").Err())

	dir := t.TempDir()
	firmware, err := os.ReadFile(filepath.Join(w.Desk(world.Engineer), "gw.img"))
	must(t, err)
	home := filepath.Join(dir, "home", world.Quality)
	must(t, os.MkdirAll(home, 0o700))
	must(t, os.WriteFile(filepath.Join(home, "gw.img"), firmware, 0o600))
	// The first command tells which id of the document is which.
	doc := fmt.Sprintf("```console\nchen$ echo %s\n%s\nchen$ %s\n%s(exit 7)\n```\n", real, id, command, lines)
	path := filepath.Join(dir, "transcript.md")
	must(t, os.WriteFile(path, []byte(doc), 0o600))
	docrun.Run(t, path, docrun.Options{
		Path: []string{programs.Dir}, Dir: dir, AnyNumber: true,
		Env: []string{"COUNTERSIGN_HOME=" + filepath.Join(w.Desk(world.Quality), ".countersign")},
	})
	r := w.As(world.Quality, "event", "show", real)
	must(t, r.Err())
	if !strings.Contains(r.Stdout, "quality 0/1: chen, okafor can") {
		t.Errorf("signed without a yes:\n%s", r)
	}
}
