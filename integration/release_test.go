package integration

import (
	"bytes"
	"testing"

	"github.com/countersign-ota/countersign/integration/world"
)

// The main job: three people found a deployment, add a product, release twice; a device over each
// transport enrols, installs, boots, confirms.
func TestReleaseReachesDevices(t *testing.T) {
	w := start(t)
	one := image(t, w, "one.img", 3<<20, 1)
	must(t, w.Release("gw-100/1.0.0", "one.img"))
	for _, tt := range []struct {
		name  string
		https bool
	}{{"gw-grpc", false}, {"gw-https", true}} {
		t.Run(tt.name, func(t *testing.T) {
			d, err := w.EnrolledDevice(tt.name, world.DeviceOptions{HTTPS: tt.https})
			must(t, err)
			must(t, d.Update())
			runs(t, d, one)
			if r := d.Run("once"); r.Exit != 0 {
				t.Errorf("nothing to do must be exit 0\n%s", r)
			}
		})
	}
	two := image(t, w, "two.img", 2<<20, 2)
	must(t, w.Release("gw-100/2.0.0", "two.img"))
	for _, id := range []string{"gw-grpc", "gw-https"} {
		d := w.Device(id)
		must(t, d.Update())
		runs(t, d, two)
	}
}

func runs(t *testing.T, d *world.Device, want []byte) {
	t.Helper()
	got, err := d.Current()
	must(t, err)
	if !bytes.HasPrefix(got, want) {
		t.Errorf("%s runs other bytes than the release", d.ID)
	}
}
