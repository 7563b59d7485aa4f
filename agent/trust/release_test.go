package trust_test

import (
	"context"
	"slices"
	"testing"

	"github.com/countersign-ota/countersign/agent/trust"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/metadata/metadatatest"
	"github.com/countersign-ota/countersign/proto/reason"
)

// refreshed returns a client of the deployment after a Refresh.
func refreshed(t *testing.T, d *metadatatest.Deployment, f trust.Fetcher) *trust.Client {
	t.Helper()
	c, err := trust.New(newDevice(t, d).config())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Refresh(context.Background(), f); err != nil {
		t.Fatal(err)
	}
	return c
}

// A release is found whole, in a flat product and in bins, and what is stopped is told and not hidden.
func TestReleaseForPeople(t *testing.T) {
	d := published(t)
	files := []metadatatest.Target{
		{File: "a.img", Data: []byte("a"), Component: "a"},
		{File: "b.img", Data: []byte("b"), Component: "b"},
		{File: "c.img", Data: []byte("c"), Component: "c"},
		{File: "d.img", Data: []byte("d"), Component: "d"},
	}
	d.Release("pump-9", "1.1.0", 2, files...)
	d.Release("pump-9", "1.1.0-rc1", 3, metadatatest.Target{Data: []byte("not of 1.1.0")})
	d.Stop("pump-9/1.1.0/c.img", "leaks")
	s := serve(d)
	c := refreshed(t, d, s)
	if c.Role("pump-9") != nil {
		t.Error("a role that was not met")
	}
	targets, err := c.Release(context.Background(), s, "pump-9", "1.1.0")
	if err != nil {
		t.Fatal(err)
	}
	var paths, bins []string
	for _, target := range targets {
		paths = append(paths, target.Path)
		bins = append(bins, target.Role)
		if isStopped := target.Stop != nil; isStopped != (target.Path == "pump-9/1.1.0/c.img") {
			t.Errorf("%s: stop %v", target.Path, target.Stop)
		}
		file := c.Role(target.Role)
		if file == nil || file.Signed.Targets[target.Path] == nil || target.Firmware.Counter != 2 {
			t.Errorf("%s: in %s, counter %d", target.Path, target.Role, target.Firmware.Counter)
		}
	}
	if want := []string{"pump-9/1.1.0/a.img", "pump-9/1.1.0/b.img", "pump-9/1.1.0/c.img", "pump-9/1.1.0/d.img"}; !slices.Equal(paths, want) {
		t.Errorf("found %q, want %q", paths, want)
	}
	if slices.Sort(bins); len(slices.Compact(bins)) < 2 {
		t.Errorf("all in one bin: %q tests nothing", bins)
	}

	flat, err := c.Release(context.Background(), s, "gw-100", "2.4.0")
	if err != nil || len(flat) != 1 || flat[0].Path != stopped || flat[0].Stop == nil || flat[0].Stop.Reason != "leaks" {
		t.Errorf("stopped release: %v, %v", flat, err)
	}
	listed, err := c.Listed(context.Background(), s, stopped)
	if err != nil || listed.Stop == nil || listed.SHA256 != flat[0].SHA256 {
		t.Errorf("stopped target: %v, %v", listed, err)
	}
	if _, err := c.Target(context.Background(), s, stopped); !reason.Is(err, reason.Stopped) {
		t.Errorf("a device gets it: %v", err)
	}
}

func TestReleaseRefusals(t *testing.T) {
	for _, tt := range []struct {
		name, product, version string
		attack                 func(d *metadatatest.Deployment, s *server)
		want                   reason.Reason
	}{
		{"withdrawn", "gw-100", "2.4.1", func(d *metadatatest.Deployment, _ *server) { d.Withdraw("gw-100", firmware) }, reason.NotFound},
		{"never released", "gw-100", "2.4", nil, reason.NotFound},
		{"no such product", "gw-200", "2.4.1", nil, reason.NotFound},
		{"no product id", "../gw", "2.4.1", nil, reason.Malformed},
		{"no version", "gw-100", "", nil, reason.Malformed},
		{"bin by a stranger", "pump-9", "1.0.0", func(d *metadatatest.Deployment, _ *server) {
			d.SignedBy(theBin, "mallory")
		}, reason.Threshold},
		{"missing bin", "pump-9", "1.0.0", func(d *metadatatest.Deployment, s *server) {
			s.swap[fetchPath(theBin, d.Version(metadata.Image, theBin))] = nil
		}, reason.Unreachable},
		{"missing stop list", "gw-100", "2.4.1", func(d *metadatatest.Deployment, s *server) {
			s.swap[fetchPath("gw-100.stop", d.Version(metadata.Image, "gw-100.stop"))] = nil
		}, reason.StopListMissing},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := published(t)
			s := serve(d)
			if tt.attack != nil {
				tt.attack(d, s)
			}
			c := refreshed(t, d, s)
			targets, err := c.Release(context.Background(), s, tt.product, tt.version)
			if !reason.Is(err, tt.want) || targets != nil {
				t.Errorf("%v, %v [%s], want %s", targets, err, reason.Of(err), tt.want)
			}
		})
	}
	c, err := trust.New(newDevice(t, published(t)).config())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Release(context.Background(), serve(published(t)), "gw-100", "2.4.1"); err == nil {
		t.Error("a release without a Refresh")
	}
}
