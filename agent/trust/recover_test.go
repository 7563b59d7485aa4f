package trust_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/countersign-ota/countersign/agent/trust"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/metadata/metadatatest"
	"github.com/countersign-ota/countersign/proto/reason"
)

// fastForward signs, with the stolen online key, the highest versions that exist.
func fastForward(d *metadatatest.Deployment) {
	d.Edit(metadata.Snapshot, func(signed map[string]any) { signed["version"] = number(metadata.MaxVersion) })
	d.Edit(metadata.Timestamp, func(signed map[string]any) {
		signed["version"] = number(metadata.MaxVersion)
		obj(signed, "meta", "snapshot.json")["version"] = number(metadata.MaxVersion)
	})
}

func TestFastForwardRecovery(t *testing.T) {
	for _, lose := range []string{"", "record", "timestamp", "snapshot", "all files"} {
		t.Run("lost "+lose, func(t *testing.T) {
			honest, evil := published(t), published(t)
			v := newDevice(t, honest)
			v.mustCycle(serve(honest), firmware)
			fastForward(evil)
			v.mustCycle(serve(evil), firmware)
			if v.record["timestamp"].Version != metadata.MaxVersion {
				t.Fatal("the device did not take the thief's timestamp")
			}
			goOn(honest)
			if err := v.cycle(serve(honest), firmware); !reason.Is(err, reason.Rollback) {
				t.Fatalf("before the rotation: %v [%s], want %s", err, reason.Of(err), reason.Rollback)
			}
			v.lose(lose)
			honest.RotateOnline(metadata.Image, "online-2")
			v.mustCycle(serve(honest), firmware)
			for _, role := range online {
				if got := v.record[role].Version; got != honest.Version(metadata.Image, role) {
					t.Errorf("record of %s: version %d", role, got)
				}
			}
		})
	}
}

func (v *device) lose(what string) {
	var roles []string
	switch what {
	case "":
		return
	case "record":
		v.record = nil
		return
	case "all files":
		roles = []string{"root", "root.copy", "timestamp", "snapshot", "targets", "gw-100", "gw-100.stop"}
	default:
		roles = []string{what}
	}
	for _, role := range roles {
		must(v.t, v.store.Drop(role))
	}
}

// Offline versions stay when the online keys change: a thief of the old ones must not gain by it.
func TestRotationOfOnlineKeysKeepsOfflineVersions(t *testing.T) {
	honest, evil := published(t), published(t)
	v := newDevice(t, honest)
	v.mustCycle(serve(honest), firmware)
	evil.RotateOnline(metadata.Image, "online-2")
	evil.Edit(metadata.Snapshot, func(signed map[string]any) { obj(signed, "meta", "gw-100.json")["version"] = number(2) })
	if err := v.cycle(serve(evil), firmware); !reason.Is(err, reason.Rollback) {
		t.Fatalf("older product under the new key: %v [%s], want %s", err, reason.Of(err), reason.Rollback)
	}
	evil.Edit(metadata.Snapshot, func(signed map[string]any) { delete(obj(signed, "meta"), "gw-100.stop.json") })
	if err := v.cycle(serve(evil), firmware); !reason.Is(err, reason.Rollback) {
		t.Fatalf("dropped stop list under the new key: %v [%s], want %s", err, reason.Of(err), reason.Rollback)
	}
	evil.Publish()
	v.mustCycle(serve(evil), firmware)
}

// dyingStore loses power at the n-th write, before or after it.
type dyingStore struct {
	trust.Store
	left  int
	after bool
}

var errPower = errors.New("power cut")

func (s *dyingStore) write(do func() error) error {
	if s.left < 0 {
		return errPower
	}
	if s.left--; s.left >= 0 {
		return do()
	}
	if s.after {
		if err := do(); err != nil {
			return err
		}
	}
	return errPower
}

func (s *dyingStore) Save(role string, data []byte) error {
	return s.write(func() error { return s.Store.Save(role, data) })
}

func (s *dyingStore) Drop(role string) error {
	return s.write(func() error { return s.Store.Drop(role) })
}

// A power cut at any write, while the root changes the online keys after a fast-forward attack, leaves
// a device that the next cycle brings up to date. The record is the one of before.
func TestPowerCutAtEveryWriteOfARecovery(t *testing.T) {
	for _, after := range []bool{false, true} {
		for n := 0; ; n++ {
			died := false
			t.Run(fmt.Sprintf("write %d, after %t", n, after), func(t *testing.T) {
				honest, evil := published(t), published(t)
				v := newDevice(t, honest)
				v.mustCycle(serve(honest), firmware)
				fastForward(evil)
				v.mustCycle(serve(evil), firmware)
				record := v.record
				goOn(honest)
				honest.RotateRoot(metadata.Image, nil)
				honest.RotateOnline(metadata.Image, "online-2")
				honest.RotateRoot(metadata.Image, nil)

				good := v.store
				v.store = &dyingStore{Store: good, left: n, after: after}
				err := v.cycle(serve(honest), firmware)
				died = errors.Is(err, errPower)
				if err != nil && !died {
					t.Fatal(err)
				}
				v.store, v.record = good, record
				v.mustCycle(serve(honest), firmware)
			})
			if !died {
				break
			}
		}
	}
}

// go-tuf keeps what we refuse, so nothing is asked of a client after it.
func TestClientIsDeadAfterRefusedBytes(t *testing.T) {
	d := published(t)
	v := newDevice(t, d)
	c, err := trust.New(v.config())
	must(t, err)
	s := serve(d)
	s.swap["timestamp.json"] = resign[metadata.TimestampRole](t, d, metadata.Timestamp, "mallory")
	first := c.Refresh(context.Background(), s)
	if !reason.Is(first, reason.Threshold) {
		t.Fatalf("error %v, want %s", first, reason.Threshold)
	}
	s = serve(d)
	for _, again := range []error{
		c.Refresh(context.Background(), s), c.RefreshRoot(context.Background(), s), second(c.Target(context.Background(), s, firmware)),
		second(c.Target(context.Background(), nil, firmware)), second(c.Product(context.Background(), s, "gw-100")),
	} {
		if again != first { //nolint:errorlint // the very same
			t.Errorf("error %v, want the first one again", again)
		}
	}
	if len(s.log) != 0 {
		t.Errorf("requests %q of a dead client", s.log)
	}
}

func second[T any](_ T, err error) error { return err }

// A missing stop list is not the end: another product can be had, and the list may come.
func TestClientSurvivesAMissingStopList(t *testing.T) {
	d := published(t)
	v := newDevice(t, d)
	c, err := trust.New(v.config())
	must(t, err)
	s := serve(d)
	must(t, c.Refresh(context.Background(), s))
	s.swap["2.gw-100.stop.json"] = nil
	if _, err := c.Target(context.Background(), s, firmware); !reason.Is(err, reason.StopListMissing) {
		t.Fatalf("error %v, want %s", err, reason.StopListMissing)
	}
	_, err = c.Target(context.Background(), s, binned)
	must(t, err)
	delete(s.swap, "2.gw-100.stop.json")
	_, err = c.Target(context.Background(), s, firmware)
	must(t, err)
}

func TestFullDiskKeepsTheOldFiles(t *testing.T) {
	d := published(t)
	v := newDevice(t, d)
	v.mustCycle(serve(d), firmware)
	before := v.files()
	goOn(d)
	good := v.store
	v.store = &dyingStore{Store: good}
	if err := v.cycle(serve(d), firmware); !errors.Is(err, errPower) {
		t.Fatalf("error %v", err)
	}
	if got := changed(before, v.files()); got != nil {
		t.Errorf("changed on disk: %q", got)
	}
	v.checkRecord(v.record)
	v.store = good
	v.mustCycle(serve(d), firmware)
}

// A mirror may leave out signatures that are not needed. A device that lost both copies of its root
// takes such a file for the version that it knows.
func TestRecordedRootWithFewerSignatures(t *testing.T) {
	d := published(t)
	v := newDevice(t, d)
	d.RotateRoot(metadata.Image, nil)
	v.mustCycle(serve(d), firmware)
	v.lose("all files")
	d.SignedBy(metadata.Root, "rivera", "chen")
	v.mustCycle(serve(d), firmware)
	v.checkRecord(nil)
}
