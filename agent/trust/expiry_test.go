package trust_test

import (
	"slices"
	"testing"
	"time"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

func TestExpiredRootIsStoredAndItsSuccessorTaken(t *testing.T) {
	d := published(t)
	v := newDevice(t, d)
	v.mustCycle(serve(d), firmware)
	d.RotateRoot(metadata.Image, nil)
	d.Expire(metadata.Root, d.Now)
	s := serve(d)
	if err := v.cycle(s, firmware); !reason.Is(err, reason.Expired) {
		t.Fatalf("error %v [%s], want %s", err, reason.Of(err), reason.Expired)
	}
	if want := []string{"2.root.json", "3.root.json"}; !slices.Equal(s.log, want) {
		t.Errorf("requests %q, want %q", s.log, want)
	}
	if v.record["root"].Version != 2 {
		t.Error("the expired root does not bind")
	}
	d.RotateRoot(metadata.Image, nil)
	v.mustCycle(serve(d), firmware)
}

// Years on a shelf: all that is stored has expired, and the chain of roots leads back (DESIGN 1.6).
func TestDeviceFromTheShelf(t *testing.T) {
	d := published(t)
	v := newDevice(t, d)
	v.mustCycle(serve(d), firmware)
	d.Now = d.Now.Add(5 * 365 * 24 * time.Hour)
	v.now = d.Now
	if err := v.cycle(serve(d)); !reason.Is(err, reason.Expired) {
		t.Fatalf("error %v [%s], want %s", err, reason.Of(err), reason.Expired)
	}
	d.Hold(metadata.Image, 2, "chen", "okafor", "silva")
	goOn(d)
	v.mustCycle(serve(d), firmware)
}

func TestExpiredStopListBindsAndIsReported(t *testing.T) {
	d := published(t)
	d.Expire("gw-100.stop", d.Now.Add(time.Hour))
	v := newDevice(t, d)
	v.now = d.Now.Add(2 * time.Hour)
	v.mustCycle(serve(d), firmware)
	if err := v.cycle(serve(d), stopped); !reason.Is(err, reason.Stopped) {
		t.Errorf("stopped target: %v [%s], want %s", err, reason.Of(err), reason.Stopped)
	}
	stops := v.last.Stops("gw-100")
	if len(stops) != 1 || stops[0].Path != stopped {
		t.Errorf("stops %+v", stops)
	}
	var late []string
	for _, e := range v.last.Expiries() {
		if e.Expired {
			late = append(late, e.Role)
		}
	}
	if !slices.Equal(late, []string{"gw-100.stop"}) {
		t.Errorf("expired roles %q, want the stop list alone", late)
	}
}

func TestFrozenTimestampExpires(t *testing.T) {
	d := published(t)
	v := newDevice(t, d)
	v.mustCycle(serve(d), firmware)
	v.now = d.Now.Add(8 * 24 * time.Hour)
	s := serve(d)
	if err := v.cycle(s, firmware); !reason.Is(err, reason.Expired) {
		t.Fatalf("error %v [%s], want %s", err, reason.Of(err), reason.Expired)
	}
	d.Now = v.now
	d.Publish()
	v.mustCycle(serve(d), firmware)
}
