package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign-ota/countersign/integration/world"
)

// A server is lost after two releases that its backup does not hold, and restored. Neither the tool nor
// the device that has seen more takes its word; the tool shows what it saw, an event file brings the rest,
// and after recovery everybody goes on, the device included.
func TestServerIsLostAndRestored(t *testing.T) {
	w := start(t)
	image(t, w, "one.img", 1<<20, 1)
	two := image(t, w, "two.img", 1<<20, 2)
	three := image(t, w, "three.img", 1<<20, 3)
	four := image(t, w, "four.img", 1<<20, 4)
	must(t, w.Release("gw-100/1.0.0", "one.img"))
	d, err := w.EnrolledDevice("gw-0001", world.DeviceOptions{})
	must(t, err)
	must(t, d.Update())

	config := filepath.Join(w.ServerDir(), "server.yaml")
	copied := filepath.Join(w.Dir, "copy")
	must(t, w.Server("backup", copied, "--config", config).Err()) // the server runs
	must(t, w.Release("gw-100/2.0.0", "two.img"))
	must(t, d.Update())
	runs(t, d, two)
	must(t, w.As(world.Engineer, "status", "--no-input", "--yes").Err())
	last, err := w.OpenRelease("gw-100/3.0.0", "three.img")
	must(t, err)
	must(t, w.SignAndPublish(last, "release 3.0.0", world.Engineer, world.Quality))
	must(t, w.As(world.Engineer, "event", "export", last, "-o", "last.event", "--no-input", "--yes").Err())

	must(t, w.Close())
	must(t, os.RemoveAll(w.ServerDir()))
	restored := w.Server("restore", copied)
	must(t, restored.Err())
	if !strings.Contains(restored.Stdout, "it signs nothing until recover") {
		t.Errorf("%s", restored)
	}
	_, err = w.Serve()
	must(t, err)

	r := w.As(world.Engineer, "status", "--no-input", "--yes")
	must(t, r.Want(3, "base-too-old"))
	if !strings.Contains(r.Stderr, "was shown gw-100 3") {
		t.Errorf("the tool did not show what it saw\n%s", r)
	}
	if r := d.Run("once"); r.Exit != 3 {
		t.Errorf("the device took an old server for good\n%s", r)
	}
	runs(t, d, two)
	if _, err := w.OpenRelease("gw-100/4.0.0", "four.img"); err == nil {
		t.Error("a release was opened before recovery")
	}

	event := filepath.Join(w.Desk(world.Engineer), "last.event")
	r = w.Server("recover", event, "--config", config, "--yes")
	must(t, r.Err())
	for _, want := range []string{"image gw-100 ", " 4   file last.event", "missing   gw-100/3.0.0/three.img ", "signing goes on with snapshot "} {
		if !strings.Contains(r.Stdout, want) {
			t.Errorf("no %q\n%s", want, r)
		}
	}

	// The newest release is in force again, and its bytes are on somebody's disk only.
	if r := d.Run("once"); r.Exit == 0 || r.Exit == 10 {
		t.Errorf("the device took what is not there\n%s", r)
	}
	must(t, w.As(world.Engineer, "publish", last, "--artifact", "three.img", "--no-input", "--yes").Err())
	must(t, d.Update())
	runs(t, d, three)
	must(t, w.Release("gw-100/4.0.0", "four.img"))
	must(t, d.Update())
	runs(t, d, four)

	// What nobody uploaded again is still named, beside the running server.
	r = w.Server("check", w.ServerDir())
	must(t, r.Want(8, "state-damaged"))
	if !strings.Contains(r.Stdout, "gw-100/2.0.0/two.img") || strings.Contains(r.Stdout, "three.img") {
		t.Errorf("%s", r)
	}
}
