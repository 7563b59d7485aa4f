package metadatatest_test

import (
	"crypto/sha256"
	"fmt"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/metadata/metadatatest"
)

// full is a deployment with a flat product, a binned one, a stop and a rotated root.
func full(t *testing.T) *metadatatest.Deployment {
	t.Helper()
	d := metadatatest.New(t, metadatatest.Options{TLS: []string{fmt.Sprintf("%x", sha256.Sum256(nil))}})
	d.AddProduct("gw-100", metadatatest.Product{})
	d.AddProduct("pump-9", metadatatest.Product{Bins: 16, SBOM: metadata.SBOMRequired})
	d.Release("gw-100", "2.4.0", 16, metadatatest.Target{Data: []byte("old")})
	paths := d.Release("gw-100", "2.4.1", 17, metadatatest.Target{Data: []byte("new"), Edit: func(f *metadata.Firmware) { f.Floor = 12 }})
	for i := range 20 {
		d.Release("pump-9", fmt.Sprintf("1.0.%d", i), int64(i+1), metadatatest.Target{File: "pump.img", Data: fmt.Append(nil, i), Hardware: []string{"pump"}})
	}
	d.Stop(paths[0], "battery drains")
	d.RotateOnline(metadata.Image, "online-2")
	d.Hold(metadata.Image, 2, "rivera", "okafor", "meyer")
	return d
}

// checkAll carries out every rule for the newest files, as a server does.
func checkAll(t *testing.T, d *metadatatest.Deployment) {
	t.Helper()
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	root, err := metadata.ParseRoot(d.File(metadata.Image, metadata.Root), metadata.Profile)
	ok(err)
	director, err := metadata.ParseRoot(d.File(metadata.Director, metadata.Root), metadata.Profile)
	ok(err)
	targets, err := metadata.ParseTargets(d.File(metadata.Image, metadata.Targets), metadata.Profile)
	ok(err)
	ok(metadata.CheckRoot(root, "acme", metadata.Image))
	ok(metadata.CheckRoot(director, "acme", metadata.Director))
	ok(metadata.CheckMembers(root))
	ok(metadata.CheckMembers(director))
	ok(metadata.CheckKeys(root, director, targets))
	ok(metadata.CheckTopTargets(targets, "acme"))
	ok(metadata.CheckMembers(targets))
	verify := func(d *metadata.Delegation, err error, canonical []byte, sigs []metadata.Signature) {
		t.Helper()
		ok(err)
		ok(d.Check(metadata.Profile))
		ok(d.Verify(canonical, sigs))
	}
	top := func(role string, canonical []byte, sigs []metadata.Signature) {
		t.Helper()
		d, err := metadata.RootDelegation(root, role, metadata.Profile)
		verify(d, err, canonical, sigs)
	}
	top(metadata.Root, root.Canonical(), root.Signatures)
	top(metadata.Targets, targets.Canonical(), targets.Signatures)
	snapshot, err := metadata.ParseSnapshot(d.File(metadata.Image, metadata.Snapshot), metadata.Profile)
	ok(err)
	ok(metadata.CheckSnapshot(snapshot, "acme", metadata.Image))
	top(metadata.Snapshot, snapshot.Canonical(), snapshot.Signatures)
	timestamp, err := metadata.ParseTimestamp(d.File(metadata.Image, metadata.Timestamp), metadata.Profile)
	ok(err)
	ok(metadata.CheckTimestamp(timestamp, "acme", metadata.Image))
	top(metadata.Timestamp, timestamp.Canonical(), timestamp.Signatures)

	count := 0
	for entry := range snapshot.Signed.Meta {
		role := entry[:len(entry)-len(".json")]
		product, kind, err := metadata.SplitRole(role)
		ok(err)
		if kind == metadata.RoleTop {
			continue
		}
		count++
		f, err := metadata.ParseTargets(d.File(metadata.Image, role), metadata.Profile)
		ok(err)
		ok(metadata.CheckMembers(f))
		del, err := metadata.TargetsDelegation(targets, role, metadata.Profile)
		switch kind {
		case metadata.RoleProduct:
			ok(err)
			ok(metadata.CheckProduct(f, "acme", product, del))
		case metadata.RoleStop:
			ok(metadata.CheckStop(f, "acme", product))
		case metadata.RoleBin:
			p, err2 := metadata.ParseTargets(d.File(metadata.Image, product), metadata.Profile)
			ok(err2)
			ok(metadata.CheckBin(f, "acme", role, p.Signed.Delegations.SuccinctRoles))
			del, err = metadata.TargetsDelegation(p, role, metadata.Profile)
		}
		verify(del, err, f.Canonical(), f.Signatures)
	}
	if count < 6 {
		t.Errorf("%d delegated roles, want more", count)
	}
}

func TestDeploymentIsValid(t *testing.T) {
	d := full(t)
	checkAll(t, d)
	for v := int64(1); v < d.Version(metadata.Image, metadata.Root); v++ {
		prev, err := metadata.ParseRoot(d.Root(metadata.Image, v), metadata.Profile)
		if err != nil {
			t.Fatal(err)
		}
		next, err := metadata.ParseRoot(d.Root(metadata.Image, v+1), metadata.Profile)
		if err != nil {
			t.Fatal(err)
		}
		if err := metadata.CheckRootStep(prev, next); err != nil {
			t.Errorf("step to root %d: %v", v+1, err)
		}
	}
}

// A stock go-tuf client takes the same files.
func TestDeploymentForStockClient(t *testing.T) {
	d := full(t)
	files := d.Files()
	trusted, err := trustedmetadata.New(d.Root(metadata.Image, 1))
	if err != nil {
		t.Fatal(err)
	}
	trusted.RefTime = d.Now.Add(time.Hour)
	for v := int64(2); files[metadatatest.RootPath(v)] != nil; v++ {
		if _, err := trusted.UpdateRoot(files[metadatatest.RootPath(v)]); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := trusted.UpdateTimestamp(files["timestamp.json"]); err != nil {
		t.Fatal(err)
	}
	if _, err := trusted.UpdateSnapshot(d.File(metadata.Image, metadata.Snapshot), false); err != nil {
		t.Fatal(err)
	}
	if _, err := trusted.UpdateTargets(d.File(metadata.Image, metadata.Targets)); err != nil {
		t.Fatal(err)
	}
	for _, role := range []string{"gw-100", "gw-100.stop", "pump-9"} {
		if _, err := trusted.UpdateDelegatedTargets(d.File(metadata.Image, role), role, metadata.Targets); err != nil {
			t.Errorf("%s: %v", role, err)
		}
	}
}

func TestEditSignsAgain(t *testing.T) {
	d := full(t)
	d.Edit("gw-100", func(signed map[string]any) { signed["x-new"] = "kept" })
	checkFile := func(role string) *metadata.File[metadata.TargetsRole] {
		f, err := metadata.ParseTargets(d.File(metadata.Image, role), metadata.Profile)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	if f := checkFile("gw-100"); f.Signed.UnrecognizedFields["x-new"] != "kept" {
		t.Error("the edit is lost")
	}
	d.SignedBy("gw-100", "chen", "okafor")
	if f := checkFile("gw-100"); len(f.Signatures) != 2 {
		t.Errorf("%d signatures, want 2", len(f.Signatures))
	}
}
