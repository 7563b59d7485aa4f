package metadata_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/metadata/metadatatest"
	"github.com/countersign-ota/countersign/proto/reason"
)

// deployment is the base of most tests: a flat and a binned product, one release each, one stop.
func deployment(t testing.TB) *metadatatest.Deployment {
	t.Helper()
	d := metadatatest.New(t, metadatatest.Options{})
	d.AddProduct("gw-100", metadatatest.Product{})
	d.AddProduct("pump-9", metadatatest.Product{Bins: 16})
	paths := d.Release("gw-100", "2.4.1", 17, metadatatest.Target{Data: []byte("firmware"), Edit: func(f *metadata.Firmware) {
		f.Floor = 12
		f.Requires = []metadata.Requirement{{Product: "pump-9", MinCounter: 8}}
		f.Conditions = &metadata.Conditions{BatteryPercentMin: 40, Idle: true, DowntimeSeconds: 180}
		f.Fixes = []string{"CVE-2026-0001"}
		f.InstallerArgs = map[string]any{"slot": "a"}
		f.Evidence = map[string]metadata.EvidenceRef{"sbom": d.Evidence("gw-100/2.4.1/gw.cdx.json", []byte("{}"))}
	}})
	d.Release("pump-9", "1.0", 8, metadatatest.Target{Data: []byte("pump"), Hardware: []string{"pump-9-a"}})
	d.Stop(paths[0], "battery drains")
	return d
}

// replace changes exactly one place of a file, and fails when there is none.
func replace(t testing.TB, file []byte, from, to string) []byte {
	t.Helper()
	if !bytes.Contains(file, []byte(from)) {
		t.Fatalf("the file holds no %q", from)
	}
	return bytes.Replace(file, []byte(from), []byte(to), 1)
}

// wantReason fails unless err has the reason, or is nil for "".
func wantReason(t testing.TB, err error, want reason.Reason) {
	t.Helper()
	if got := reason.Of(err); got != want || (err == nil) != (want == "") {
		t.Errorf("got %v [%s], want reason %q", err, got, want)
	}
}

// wantText also looks for a part of the message.
func wantText(t testing.TB, err error, part string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), part) {
		t.Errorf("got %v, want %q in it", err, part)
	}
}

// parseAs parses a file by the type of its role.
func parseAs(data []byte, role string, m metadata.Mode) error {
	var err error
	switch role {
	case metadata.Root:
		_, err = metadata.ParseRoot(data, m)
	case metadata.Timestamp:
		_, err = metadata.ParseTimestamp(data, m)
	case metadata.Snapshot:
		_, err = metadata.ParseSnapshot(data, m)
	default:
		_, err = metadata.ParseTargets(data, m)
	}
	return err
}
