package trust_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/metadata/metadatatest"
	"github.com/countersign-ota/countersign/proto/reason"
)

func TestAttacksOnTimestamp(t *testing.T) {
	runAttacks(t, []attack{
		{name: "rollback", want: reason.Rollback, do: func(d *metadatatest.Deployment, s *server) {
			old := serve(metadatatest.New(t, metadatatest.Options{}))
			s.swap["timestamp.json"] = old.d.File(metadata.Image, metadata.Timestamp)
		}},
		{name: "freeze by an expired file", want: reason.Expired, stores: timestamp, do: func(d *metadatatest.Deployment, s *server) {
			d.Publish()
			d.Expire(metadata.Timestamp, d.Now)
		}},
		{name: "same version with other content", want: reason.VersionUsed, do: func(d *metadatatest.Deployment, s *server) {
			version := d.Version(metadata.Image, metadata.Timestamp)
			d.Edit(metadata.Timestamp, func(signed map[string]any) {
				signed["version"] = number(version)
				signed["expires"] = d.Now.Add(8 * 24 * time.Hour).Format(time.RFC3339)
			})
		}},
		{name: "endless data", want: reason.TooLarge, do: func(d *metadatatest.Deployment, s *server) {
			s.swap["timestamp.json"] = make([]byte, metadata.MaxTimestamp+1)
		}},
		{name: "signed by a stranger", want: reason.Threshold, do: func(d *metadatatest.Deployment, s *server) {
			d.Edit(metadata.Timestamp, nil)
			s.swap["timestamp.json"] = resign[metadata.TimestampRole](t, d, metadata.Timestamp, "mallory")
		}},
		{name: "of another deployment", want: reason.ScopeMismatch, do: func(d *metadatatest.Deployment, s *server) {
			d.Edit(metadata.Timestamp, func(signed map[string]any) { signed[metadata.ScopeField] = "evil/image/timestamp" })
		}},
		{name: "without a scope", want: reason.ScopeMissing, do: func(d *metadatatest.Deployment, s *server) {
			d.Edit(metadata.Timestamp, func(signed map[string]any) { delete(signed, metadata.ScopeField) })
		}},
		{name: "snapshot rolled back", want: reason.Rollback, do: func(d *metadatatest.Deployment, s *server) {
			d.Edit(metadata.Timestamp, func(signed map[string]any) { obj(signed, "meta", "snapshot.json")["version"] = number(1) })
		}},
		{name: "snapshot of the same version with other bytes", want: reason.VersionUsed, do: func(d *metadatatest.Deployment, s *server) {
			d.Edit(metadata.Timestamp, func(signed map[string]any) {
				obj(signed, "meta", "snapshot.json", "hashes")["sha256"] = fmt.Sprintf("%064x", 1)
			})
		}},
		{name: "no snapshot", want: reason.Malformed, do: func(d *metadatatest.Deployment, s *server) {
			d.Edit(metadata.Timestamp, func(signed map[string]any) { signed["meta"] = map[string]any{} })
		}},
		{name: "null snapshot", want: reason.Null, do: func(d *metadatatest.Deployment, s *server) {
			d.Edit(metadata.Timestamp, func(signed map[string]any) { obj(signed, "meta")["snapshot.json"] = nil })
		}},
		{name: "snapshot without a hash", want: reason.Profile, do: func(d *metadatatest.Deployment, s *server) {
			d.Edit(metadata.Timestamp, func(signed map[string]any) { delete(obj(signed, "meta", "snapshot.json"), "hashes") })
		}},
		{name: "snapshot larger than allowed", want: reason.IntegerRange, do: func(d *metadatatest.Deployment, s *server) {
			d.Edit(metadata.Timestamp, func(signed map[string]any) {
				obj(signed, "meta", "snapshot.json")["length"] = number(metadata.MaxSnapshot + 1)
			})
		}},
		{name: "version beyond all reach", want: reason.IntegerRange, do: func(d *metadatatest.Deployment, s *server) {
			d.Edit(metadata.Timestamp, func(signed map[string]any) { signed["version"] = number(1<<53 - 1) })
		}},
		{name: "missing", want: reason.Unreachable, do: func(d *metadatatest.Deployment, s *server) {
			s.swap["timestamp.json"] = nil
		}},
	})
}

func TestAttacksOnSnapshot(t *testing.T) {
	newest := func(d *metadatatest.Deployment) string { return path(d, "snapshot") }
	runAttacks(t, []attack{
		{name: "mix and match with an old one", want: reason.HashMismatch, stores: timestamp, do: func(d *metadatatest.Deployment, s *server) {
			old := d.File(metadata.Image, metadata.Snapshot)
			d.Publish()
			s.swap[newest(d)] = old
		}},
		{name: "signed by a stranger", want: reason.Threshold, stores: timestamp, do: func(d *metadatatest.Deployment, s *server) {
			d.Publish()
			forged := resign[metadata.SnapshotRole](t, d, metadata.Snapshot, "mallory")
			d.Replace(metadata.Snapshot, func([]byte) []byte { return forged })
		}},
		{name: "one byte longer", want: reason.TooLarge, stores: timestamp, do: func(d *metadatatest.Deployment, s *server) {
			d.Publish()
			s.swap[newest(d)] = append(bytes.Clone(d.File(metadata.Image, metadata.Snapshot)), ' ')
		}},
		{name: "one byte shorter", want: reason.LengthMismatch, stores: timestamp, do: func(d *metadatatest.Deployment, s *server) {
			d.Publish()
			data := d.File(metadata.Image, metadata.Snapshot)
			s.swap[newest(d)] = data[:len(data)-1]
		}},
		{name: "drops a role", want: reason.Rollback, stores: timestamp, do: func(d *metadatatest.Deployment, s *server) {
			d.Edit(metadata.Snapshot, func(signed map[string]any) { delete(obj(signed, "meta"), "gw-100.stop.json") })
		}},
		{name: "rolls a product back", want: reason.Rollback, stores: timestamp, do: func(d *metadatatest.Deployment, s *server) {
			d.Edit(metadata.Snapshot, func(signed map[string]any) { obj(signed, "meta", "gw-100.json")["version"] = number(1) })
		}},
		{name: "rolls a stop list back", want: reason.Rollback, stores: timestamp, do: func(d *metadatatest.Deployment, s *server) {
			d.Edit(metadata.Snapshot, func(signed map[string]any) { obj(signed, "meta", "gw-100.stop.json")["version"] = number(1) })
		}},
		{name: "other bytes for a version in force", want: reason.VersionUsed, stores: timestamp, do: func(d *metadatatest.Deployment, s *server) {
			d.Edit(metadata.Snapshot, func(signed map[string]any) {
				obj(signed, "meta", "gw-100.json", "hashes")["sha256"] = fmt.Sprintf("%064x", 1)
			})
		}},
		{name: "freeze by an expired file", want: reason.Expired, stores: online, do: func(d *metadatatest.Deployment, s *server) {
			d.Edit(metadata.Snapshot, func(signed map[string]any) { signed["expires"] = d.Now.Format(time.RFC3339) })
		}},
		{name: "another version than the timestamp names", want: reason.Rollback, stores: timestamp, do: func(d *metadatatest.Deployment, s *server) {
			version := d.Version(metadata.Image, metadata.Snapshot)
			d.Edit(metadata.Timestamp, func(signed map[string]any) {
				obj(signed, "meta", "snapshot.json")["version"] = number(version + 1)
			})
			s.swap[fmt.Sprintf("%d.snapshot.json", version+1)] = d.File(metadata.Image, metadata.Snapshot)
		}},
		{name: "of another deployment", want: reason.ScopeMismatch, stores: timestamp, do: func(d *metadatatest.Deployment, s *server) {
			d.Edit(metadata.Snapshot, func(signed map[string]any) { signed[metadata.ScopeField] = "evil/image/snapshot" })
		}},
		{name: "entry without a hash", want: reason.Profile, stores: timestamp, do: func(d *metadatatest.Deployment, s *server) {
			d.Edit(metadata.Snapshot, func(signed map[string]any) { delete(obj(signed, "meta", "targets.json"), "hashes") })
		}},
		{name: "missing", want: reason.Unreachable, stores: timestamp, do: func(d *metadatatest.Deployment, s *server) {
			d.Publish()
			s.swap[newest(d)] = nil
		}},
	})
}
