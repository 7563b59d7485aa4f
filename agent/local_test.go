package agent

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/metadata/metadatatest"
	"github.com/countersign-ota/countersign/proto/reason"
)

// local is a device that has 2.4.2 (counter 18, floor 16) and takes local instructions.
func local(t *testing.T) *device {
	v := newDevice(t, fileInstaller(t))
	v.cfg.AllowLocal = true
	v.release("2.4.0", 15, nil)
	v.release("2.4.1", 17, nil)
	v.release("2.4.2", 18, func(f *metadata.Firmware) { f.Floor = 16 })
	_, err := v.once()
	must(t, err)
	v.d.Release("gw-100", "2.5.0", 19,
		metadatatest.Target{File: "c.img", Data: image("2.5.0"), Installer: "file", Hardware: []string{"gw-100-c"}},
		metadatatest.Target{File: "e.img", Data: image("for e"), Installer: "file", Hardware: []string{"gw-100-e"}},
		metadatatest.Target{File: "radio.img", Data: image("radio"), Installer: "file", Component: "radio"},
		metadatatest.Target{File: "stopped.img", Data: image("stopped"), Installer: "file", Hardware: []string{"gw-100-d"}})
	v.d.Stop("gw-100/2.5.0/stopped.img", "smoke")
	v.d.AddProduct("pump-9", metadatatest.Product{})
	v.d.Release("pump-9", "1.0", 99, metadatatest.Target{Data: image("pump"), Installer: "file"})
	v.publish()
	return v
}

func TestLocalInstructions(t *testing.T) {
	for _, tt := range []struct {
		name, path string
		want       reason.Reason
	}{
		{"other hardware", "gw-100/2.5.0/e.img", reason.Hardware},
		{"other component", "gw-100/2.5.0/radio.img", reason.ProductMismatch},
		{"other product", "pump-9/1.0/gw.img", reason.ProductMismatch},
		{"stopped", "gw-100/2.5.0/stopped.img", reason.Stopped},
		{"lower counter", "gw-100/2.4.1/gw.img", reason.CounterLow},
		{"below the floor", "gw-100/2.4.0/gw.img", reason.Floor},
		{"not listed", "gw-100/2.5.0/none.img", reason.NotFound},
		{"no such product", "gw-200/2.5.0/gw.img", reason.NotFound},
		{"no path", "../../etc/passwd", reason.Malformed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := local(t)
			v.with(func(a *Agent) {
				u, err := a.CheckLocal(ctx, Local{Path: tt.path})
				wantReason(t, err, tt.want)
				if u != nil {
					t.Errorf("an update with the refusal: %v", u)
				}
			})
			v.runs("2.4.2")
			if len(v.staged()) != 0 {
				t.Errorf("staged: %v", v.staged())
			}
			_, err := v.once()
			must(t, err)
			v.runs("2.5.0")
		})
	}
}

func TestLocalFile(t *testing.T) {
	v := local(t)
	file := filepath.Join(t.TempDir(), "c.img")
	must(t, os.WriteFile(file, image("2.5.0"), 0o600))
	v.with(func(a *Agent) {
		u, err := a.CheckLocal(ctx, Local{File: file})
		must(t, err)
		v.net.down = reason.Errorf(reason.Unreachable, "no images from the network")
		must(t, a.Stage(ctx, u, nil))
		must(t, a.Install(ctx, u))
	})
	v.runs("2.5.0")
}

func TestLocalFileRefusals(t *testing.T) {
	v := local(t)
	dir := t.TempDir()
	other := filepath.Join(dir, "other.img")
	must(t, os.WriteFile(other, image("nobody signed this"), 0o600))
	v.with(func(a *Agent) {
		_, err := a.CheckLocal(ctx, Local{File: other})
		wantReason(t, err, reason.NotFound)
		_, err = a.CheckLocal(ctx, Local{File: filepath.Join(dir, "none")})
		wantReason(t, err, reason.UsageError)
		// The path names the target, so other bytes are not taken for it.
		u, err := a.CheckLocal(ctx, Local{Path: "gw-100/2.5.0/c.img", File: other})
		must(t, err)
		if err := a.Stage(ctx, u, nil); !reason.Is(err, reason.HashMismatch) && !reason.Is(err, reason.LengthMismatch) {
			t.Errorf("Stage of other bytes: %v", err)
		}
	})
	v.cfg.AllowLocal = false
	v.with(func(a *Agent) {
		_, err := a.CheckLocal(ctx, Local{Path: "gw-100/2.5.0/c.img"})
		wantReason(t, err, reason.Permission)
	})
	v.runs("2.4.2")
}

func TestSpreadExempt(t *testing.T) {
	v := newDevice(t, fileInstaller(t))
	v.cfg.SpreadExempt = true
	v.release("2.4.1", 17, func(f *metadata.Firmware) { f.SpreadHours = 72 })
	_, err := v.once()
	must(t, err)
	v.runs("2.4.1")
}

func TestBinnedProduct(t *testing.T) {
	d := metadatatest.New(t, metadatatest.Options{})
	d.AddProduct("gw-100", metadatatest.Product{Bins: 16})
	v := deviceOf(t, d, fileInstaller(t))
	v.cfg.AllowLocal = true
	path := v.release("2.4.1", 17, nil)
	_, err := v.once()
	wantReason(t, err, reason.Config)
	v.with(func(a *Agent) {
		u, err := a.CheckLocal(ctx, Local{Path: path})
		must(t, err)
		must(t, a.Stage(ctx, u, nil))
		must(t, a.Install(ctx, u))
	})
	v.runs("2.4.1")
}
