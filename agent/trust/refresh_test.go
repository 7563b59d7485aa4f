package trust_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/countersign-ota/countersign/agent/trust"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/metadata/metadatatest"
	"github.com/countersign-ota/countersign/proto/reason"
)

func TestFirstCycleFetchesInOrderAndStoresWhatWasServed(t *testing.T) {
	d := published(t)
	s, v := serve(d), newDevice(t, d)
	v.mustCycle(s, firmware)
	version := func(role string) string {
		return fmt.Sprintf("%d.%s.json", d.Version(metadata.Image, role), role)
	}
	want := []string{"2.root.json", "timestamp.json", version("snapshot"), version("targets"), version("gw-100.stop"), version("gw-100")}
	if !slices.Equal(s.log, want) {
		t.Errorf("requests %q, want %q", s.log, want)
	}
	files := v.files()
	for _, role := range []string{"root", "timestamp", "snapshot", "targets", "gw-100", "gw-100.stop"} {
		if !bytes.Equal(files[role], d.File(metadata.Image, role)) {
			t.Errorf("%s on disk is not what was served", role)
		}
		if got := v.record[role].Version; got != d.Version(metadata.Image, role) {
			t.Errorf("record of %s: version %d", role, got)
		}
	}
	if !bytes.Equal(files["root.copy"], files["root"]) || len(files) != 7 {
		t.Errorf("files on disk: %d, and the copy of the root must equal it", len(files))
	}
	v.checkRecord(nil)
}

func TestIdlePollAsksTwiceAndWritesNothing(t *testing.T) {
	d := published(t)
	s, v := serve(d), newDevice(t, d)
	v.mustCycle(s, firmware)
	s.log = nil
	counted := &countingStore{Store: v.store}
	v.store = counted
	v.mustCycle(s, firmware)
	if want := []string{"2.root.json", "timestamp.json"}; !slices.Equal(s.log, want) {
		t.Errorf("requests %q, want %q", s.log, want)
	}
	if counted.writes != 0 {
		t.Errorf("%d writes, want none", counted.writes)
	}
}

func TestOnlyWhatChangedIsFetched(t *testing.T) {
	d := published(t)
	s, v := serve(d), newDevice(t, d)
	v.mustCycle(s, firmware)
	d.Release("gw-100", "2.4.2", 18, metadatatest.Target{Data: []byte("newer")})
	s.log = nil
	v.mustCycle(s, "gw-100/2.4.2/gw.img")
	want := []string{
		"2.root.json", "timestamp.json", fmt.Sprintf("%d.snapshot.json", d.Version(metadata.Image, "snapshot")),
		fmt.Sprintf("%d.gw-100.json", d.Version(metadata.Image, "gw-100")),
	}
	if !slices.Equal(s.log, want) {
		t.Errorf("requests %q, want %q", s.log, want)
	}
}

func TestTargetSaysWhatTheBytesMustBe(t *testing.T) {
	d := published(t)
	v := newDevice(t, d)
	v.mustCycle(serve(d))
	got, err := v.last.Target(context.Background(), serve(d), firmware)
	if err != nil {
		t.Fatal(err)
	}
	if got.Path != firmware || got.Length != 8 || got.Role != "gw-100" || got.Firmware.Counter != 17 ||
		!bytes.Equal(got.Hashes["sha256"], got.SHA256[:]) || len(got.Custom) == 0 || got.Stop != nil {
		t.Errorf("target %+v", got)
	}
	if want := d.Now.Add(365 * 24 * time.Hour); !got.Expires.Equal(want) {
		t.Errorf("expires %s, want %s", got.Expires, want)
	}
}

func TestBinnedProductLoadsOneBin(t *testing.T) {
	d := published(t)
	s, v := serve(d), newDevice(t, d)
	v.mustCycle(s)
	s.log = nil
	got, err := v.last.Target(context.Background(), s, binned)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.log) != 3 || got.Role != metadata.BinOf(binsOf(t, d), got.Path) {
		t.Errorf("requests %q for a target of %s", s.log, got.Role)
	}
	_, err = v.last.Target(context.Background(), s, "pump-9/1.0.1/other.img")
	if !reason.Is(err, reason.NotFound) {
		t.Errorf("unknown target: %v [%s], want %s", err, reason.Of(err), reason.NotFound)
	}
	if _, err := v.last.Product(context.Background(), s, "pump-9"); !reason.Is(err, reason.Config) {
		t.Errorf("list of a binned product: %v, want reason %s", err, reason.Config)
	}
}

func binsOf(t *testing.T, d *metadatatest.Deployment) *tuf.SuccinctRoles {
	t.Helper()
	f, err := metadata.ParseTargets(d.File(metadata.Image, "pump-9"), metadata.Profile)
	if err != nil {
		t.Fatal(err)
	}
	return f.Signed.Delegations.SuccinctRoles
}

func TestProductListsAllTargetsWithTheirStops(t *testing.T) {
	d := published(t)
	v := newDevice(t, d)
	v.mustCycle(serve(d))
	targets, err := v.last.Product(context.Background(), serve(d), "gw-100")
	if err != nil {
		t.Fatal(err)
	}
	if len(targets) != 2 || targets[0].Firmware.Counter != 16 || targets[0].Stop == nil || targets[1].Path != firmware || targets[1].Stop != nil {
		t.Errorf("targets %+v", targets)
	}
	for _, unknown := range []string{"pump-8", "gw-100.stop", "targets", ""} {
		if _, err := v.last.Product(context.Background(), serve(d), unknown); err == nil {
			t.Errorf("product %q was found", unknown)
		}
	}
}

func TestRootChainIsFollowedStepByStep(t *testing.T) {
	d := published(t)
	v := newDevice(t, d)
	v.mustCycle(serve(d), firmware)
	d.Hold(metadata.Image, 2, "chen", "okafor", "silva")
	d.Hold(metadata.Image, 3, "chen", "okafor", "silva", "novak")
	s := serve(d)
	v.mustCycle(s, firmware)
	if !slices.Equal(s.log[:3], []string{"2.root.json", "3.root.json", "4.root.json"}) {
		t.Errorf("requests %q", s.log)
	}
	if got := v.last.Root().Signed.Version; got != 3 {
		t.Errorf("root version %d, want 3", got)
	}
	// An older embedded root does not take its place, a lost record changes nothing.
	v.record = nil
	v.mustCycle(serve(d), firmware)
	if got := v.record["root"].Version; got != 3 {
		t.Errorf("root version %d after a restart, want 3", got)
	}
}

func TestRootChainIsBoundedInEachCycle(t *testing.T) {
	d := published(t)
	v := newDevice(t, d)
	for range 300 {
		d.RotateRoot(metadata.Image, nil)
	}
	s := serve(d)
	v.mustCycle(s)
	if got := v.last.Root().Signed.Version; got != 257 {
		t.Errorf("root version %d after one cycle, want 257", got)
	}
	v.mustCycle(s)
	if got := v.last.Root().Signed.Version; got != 301 {
		t.Errorf("root version %d after two cycles, want 301", got)
	}
}

func TestNewerEmbeddedRootIsTakenAndStored(t *testing.T) {
	d := published(t)
	v := newDevice(t, d)
	v.mustCycle(serve(d))
	d.RotateRoot(metadata.Image, nil)
	v.root = d.Root(metadata.Image, 2)
	v.mustCycle(serve(d))
	if files := v.files(); !bytes.Equal(files["root"], v.root) || !bytes.Equal(files["root.copy"], v.root) {
		t.Error("the newer embedded root is not stored twice")
	}
}

func TestRefreshRootStopsAtTheRoot(t *testing.T) {
	d := published(t)
	d.RotateRoot(metadata.Director, nil)
	v := newDevice(t, d)
	cfg := v.config()
	cfg.Repository, cfg.Root = metadata.Director, d.Root(metadata.Director, 1)
	c, err := trust.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := serve(d)
	s.swap["2.root.json"] = d.Root(metadata.Director, 2)
	if err := c.RefreshRoot(context.Background(), s); err != nil {
		t.Fatal(err)
	}
	if want := []string{"2.root.json", "3.root.json"}; !slices.Equal(s.log, want) || c.Root().Signed.Version != 2 {
		t.Errorf("requests %q, root version %d", s.log, c.Root().Signed.Version)
	}
	if err := c.Refresh(context.Background(), s); !reason.Is(err, reason.Profile) {
		t.Errorf("refresh of the director: %v, want reason %s", err, reason.Profile)
	}
}

func TestClientSurvivesANetworkThatFails(t *testing.T) {
	d := published(t)
	for _, path := range []string{"2.root.json", "timestamp.json", "2.gw-100.stop.json"} {
		t.Run(path, func(t *testing.T) {
			v := newDevice(t, d)
			c, err := trust.New(v.config())
			if err != nil {
				t.Fatal(err)
			}
			s := serve(d)
			s.broken[path] = true
			err = c.Refresh(context.Background(), s)
			if err == nil {
				_, err = c.Target(context.Background(), s, firmware)
			}
			if !reason.Is(err, reason.Unreachable) {
				t.Fatalf("error %v [%s], want %s", err, reason.Of(err), reason.Unreachable)
			}
			if err := c.Refresh(context.Background(), serve(d)); err != nil {
				t.Fatalf("again with a network: %v", err)
			}
			if _, err := c.Target(context.Background(), serve(d), firmware); err != nil {
				t.Fatalf("again with a network: %v", err)
			}
		})
	}
}

func TestTargetWithoutRefreshIsAMistakeOfTheCaller(t *testing.T) {
	d := published(t)
	v := newDevice(t, d)
	c, err := trust.New(v.config())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Target(context.Background(), serve(d), firmware); err == nil {
		t.Error("a target was found without a Refresh")
	}
	v.mustCycle(serve(d), firmware)
	if c, err = trust.New(v.config()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Target(context.Background(), nil, firmware); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Target(context.Background(), serve(d), firmware); err == nil {
		t.Error("stored files alone passed for a Refresh")
	}
}

func TestFileStoreRefusesUnsafeNames(t *testing.T) {
	s := &trust.FileStore{Dir: t.TempDir()}
	for _, role := range []string{"", "../root", "a/b", "ROOT", "root.copy.copy", "gw-100.bin-zz"} {
		if err := s.Save(role, []byte("x")); err == nil {
			t.Errorf("role %q was stored", role)
		}
		if _, err := s.Load(role); err == nil {
			t.Errorf("role %q was loaded", role)
		}
		if err := s.Drop(role); err == nil {
			t.Errorf("role %q was dropped", role)
		}
	}
	gone := &trust.FileStore{Dir: filepath.Join(s.Dir, "gone")}
	if err := gone.Save("root", []byte("x")); !reason.Is(err, reason.StateDamaged) {
		t.Errorf("without its folder: %v, want reason %s", err, reason.StateDamaged)
	}
	plain := &trust.FileStore{Dir: s.Dir, Mode: metadata.Plain}
	if err := plain.Save("../a b?", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(s.Dir, "..%2Fa%20b%3F.json")); err != nil {
		t.Error(err)
	}
	if err := plain.Drop("never stored"); err != nil {
		t.Error(err)
	}
}

func BenchmarkIdlePoll(b *testing.B) {
	d := published(b)
	v, s := newDevice(b, d), serve(d)
	v.mustCycle(s, firmware)
	for b.Loop() {
		v.mustCycle(s, firmware)
	}
}
