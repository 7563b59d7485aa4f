package event_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign-ota/countersign/proto/reason"
)

func TestCompareArtifact(t *testing.T) {
	w := newWorld(t)
	w.found(twoProducts)
	e := w.release("2.4.1", basicSpec)
	j, err := w.opened(e)
	if err != nil {
		t.Fatal(err)
	}
	w.write("same/gw.img", "firmware 2.4.1")
	w.write("same/gw.cdx.json", "{}")
	w.write("renamed/firmware.bin", "firmware 2.4.1")
	w.write("other/gw.img", "firmware 2.4.1 with something in it")
	w.write("longer/gw.img", "firmware 2.4.1.")
	w.write("both/old/gw.img", "firmware 2.4.0")
	w.write("both/new/gw.img", "firmware 2.4.1")
	w.write("none/readme", "nothing")
	for _, c := range []struct {
		path  string
		want  reason.Reason
		files int
	}{
		{"same", "", 2},
		{"same/gw.img", "", 1},
		{"renamed/firmware.bin", "", 1},
		{"other/gw.img", reason.ArtifactDiffers, 1},
		{"longer", reason.ArtifactDiffers, 1},
		{"both", "", 1},
		{"none/readme", reason.ArtifactDiffers, 1},
		{"absent", reason.NotFound, 0},
	} {
		t.Run(c.path, func(t *testing.T) {
			found, err := j.CompareArtifact(filepath.Join(w.dir, c.path))
			wantReason(t, err, c.want)
			if len(found) != c.files {
				t.Errorf("%d files, want %d: %+v", len(found), c.files, found)
			}
		})
	}
	t.Run("empty folder", func(t *testing.T) {
		dir := filepath.Join(w.dir, "void")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		_, err := j.CompareArtifact(dir)
		wantReason(t, err, reason.NotFound)
	})
	if got := w.spec(basicSpec).Artifacts(e); len(got) != 2 || !strings.HasSuffix(got[1].File, "build/gw.img") || !strings.HasSuffix(got[0].File, "gw.cdx.json") {
		t.Errorf("artifacts %+v", got)
	}
}
