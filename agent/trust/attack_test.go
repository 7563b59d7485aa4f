package trust_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/metadata/metadatatest"
	"github.com/countersign-ota/countersign/proto/reason"
)

// attack is one thing that a hostile server, or a thief of some keys, does to a device that has seen
// the honest repository.
type attack struct {
	name string
	// do changes the evil deployment, which was equal to the honest one, or what its server answers.
	do   func(d *metadatatest.Deployment, s *server)
	want reason.Reason
	// stores are the roles of which the device may take newer files all the same: they are genuine.
	stores []string
	// target is what the device is instructed to install; firmware if empty.
	target string
}

// run lets a device see the honest repository, then the evil one, then the honest one that went on.
func (a attack) run(t *testing.T) {
	honest, evil := published(t), published(t)
	v := newDevice(t, honest)
	target := a.target
	if target == "" {
		target = firmware
	}
	v.mustCycle(serve(honest), firmware, binned)
	before, record := v.files(), v.record

	s := serve(evil)
	a.do(evil, s)
	err := v.cycle(s, target)
	if !reason.Is(err, a.want) {
		t.Fatalf("error %v [%s], want reason %s", err, reason.Of(err), a.want)
	}
	if got := changed(before, v.files()); !slices.Equal(got, a.stores) {
		t.Errorf("changed on disk: %q, want %q (after %v)", got, a.stores, err)
	}
	v.checkRecord(record)

	goOn(honest)
	record = v.record
	v.mustCycle(serve(honest), firmware, binned)
	v.checkRecord(record)
	for role, data := range v.files() {
		want := honest.File(metadata.Image, role)
		if role == "root.copy" {
			want = honest.File(metadata.Image, metadata.Root)
		}
		if !bytes.Equal(data, want) {
			t.Errorf("after the next good cycle %s is not the honest file", role)
		}
	}
}

func runAttacks(t *testing.T, attacks []attack) {
	for _, a := range attacks {
		t.Run(a.name, a.run)
	}
}

// timestamp and online are the roles that a thief of the online key can move.
var (
	timestamp = []string{"timestamp"}
	online    = []string{"snapshot", "timestamp"}
)

func path(d *metadatatest.Deployment, role string) string {
	return fmt.Sprintf("%d.%s.json", d.Version(metadata.Image, role), role)
}

func obj(v any, names ...string) map[string]any {
	m := v.(map[string]any)
	for _, name := range names {
		m = m[name].(map[string]any)
	}
	return m
}

func number(n int64) json.Number { return json.Number(fmt.Sprint(n)) }

// editRoot publishes a next root whose signed part was edited as JSON, signed by the holders.
func editRoot(d *metadatatest.Deployment, s *server, edit func(signed map[string]any)) {
	d.RotateRoot(metadata.Image, nil)
	d.Edit(metadata.Root, edit, "rivera", "chen", "okafor")
	_ = s
}

func TestAttacksOnRoot(t *testing.T) {
	other := metadatatest.New(t, metadatatest.Options{Deployment: "evil"})
	strangers := metadatatest.New(t, metadatatest.Options{Holders: []string{"mallory", "mara", "mick"}})
	runAttacks(t, []attack{
		{name: "arbitrary root", want: reason.Threshold, do: func(d *metadatatest.Deployment, s *server) {
			strangers.RotateRoot(metadata.Image, nil)
			s.swap["2.root.json"] = strangers.Root(metadata.Image, 2)
		}},
		{name: "root by fewer old holders than needed", want: reason.Threshold, do: func(d *metadatatest.Deployment, s *server) {
			d.RotateRoot(metadata.Image, nil)
			d.Edit(metadata.Root, nil, "rivera", "mallory")
		}},
		{name: "root by the online key", want: reason.Threshold, do: func(d *metadatatest.Deployment, s *server) {
			d.RotateRoot(metadata.Image, nil)
			d.SignedBy(metadata.Root, "online")
		}},
		{name: "new holders who did not sign", want: reason.Threshold, do: func(d *metadatatest.Deployment, s *server) {
			d.Hold(metadata.Image, 2, "okafor", "silva", "novak")
			d.Edit(metadata.Root, nil, "rivera", "chen", "okafor")
		}},
		{name: "one key twice for the threshold", want: reason.TooManySignatures, do: func(d *metadatatest.Deployment, s *server) {
			d.RotateRoot(metadata.Image, nil)
			d.Edit(metadata.Root, nil, "rivera")
			s.swap["2.root.json"] = twice(t, d.Root(metadata.Image, 2))
		}},
		{name: "root that skips a version", want: reason.Rollback, do: func(d *metadatatest.Deployment, s *server) {
			d.RotateRoot(metadata.Image, nil)
			d.RotateRoot(metadata.Image, nil)
			s.swap["2.root.json"] = d.Root(metadata.Image, 3)
		}},
		{name: "old root as the next", want: reason.Rollback, do: func(d *metadatatest.Deployment, s *server) {
			s.swap["2.root.json"] = d.Root(metadata.Image, 1)
		}},
		{name: "root of another deployment", want: reason.ScopeMismatch, do: func(d *metadatatest.Deployment, s *server) {
			other.RotateRoot(metadata.Image, nil)
			s.swap["2.root.json"] = other.Root(metadata.Image, 2)
		}},
		{name: "director root as image root", want: reason.ScopeMismatch, do: func(d *metadatatest.Deployment, s *server) {
			d.RotateRoot(metadata.Director, nil)
			s.swap["2.root.json"] = d.Root(metadata.Director, 2)
		}},
		{name: "plain TUF root", want: reason.RootWithoutScope, do: func(d *metadatatest.Deployment, s *server) {
			editRoot(d, s, func(signed map[string]any) { delete(signed, metadata.ScopeField) })
		}},
		{name: "root without quorum", want: reason.QuorumMissing, do: func(d *metadatatest.Deployment, s *server) {
			editRoot(d, s, func(signed map[string]any) { delete(signed, metadata.QuorumField) })
		}},
		{name: "root whose threshold is below its classes", want: reason.QuorumMalformed, do: func(d *metadatatest.Deployment, s *server) {
			editRoot(d, s, func(signed map[string]any) { obj(signed, "roles", "targets")["threshold"] = number(1) })
		}},
		{name: "root that gives targets to the online key", want: reason.QuorumMalformed, do: func(d *metadatatest.Deployment, s *server) {
			editRoot(d, s, func(signed map[string]any) {
				obj(signed, "roles")["targets"] = obj(signed, "roles", "timestamp")
			})
		}},
		{name: "holder's key as online key", want: reason.KeyTwice, do: func(d *metadatatest.Deployment, s *server) {
			editRoot(d, s, func(signed map[string]any) {
				id := d.Key("rivera", metadata.Image).ID
				for _, role := range []string{"timestamp", "snapshot"} {
					obj(signed, "roles", role)["keyids"] = []any{id}
				}
			})
		}},
		{name: "two online keys", want: reason.Profile, do: func(d *metadatatest.Deployment, s *server) {
			editRoot(d, s, func(signed map[string]any) {
				k := d.Key("second", metadata.Image)
				obj(signed, "keys")[k.ID] = k.Public
				obj(signed, "roles", "snapshot")["keyids"] = []any{k.ID}
			})
		}},
		{name: "inconsistent snapshots", want: reason.Profile, do: func(d *metadatatest.Deployment, s *server) {
			editRoot(d, s, func(signed map[string]any) { signed["consistent_snapshot"] = false })
		}},
		{name: "key under another id", want: reason.KeyIDMismatch, do: func(d *metadatatest.Deployment, s *server) {
			editRoot(d, s, func(signed map[string]any) {
				keys := obj(signed, "keys")
				keys[d.Key("rivera", metadata.Image).ID] = d.Key("mallory", metadata.Image).Public
			})
		}},
		{name: "example key", want: reason.KeyExample, do: func(d *metadatatest.Deployment, s *server) {
			editRoot(d, s, func(signed map[string]any) {
				id, key := exampleKey(t)
				obj(signed, "keys")[id] = key
			})
		}},
		{name: "endless root", want: reason.TooLarge, do: func(d *metadatatest.Deployment, s *server) {
			s.swap["2.root.json"] = make([]byte, metadata.MaxRoot+1)
		}},
		{name: "folded member beside the genuine one", want: reason.FoldedName, do: func(d *metadatatest.Deployment, s *server) {
			d.RotateRoot(metadata.Image, nil)
			s.swap["2.root.json"] = bytes.Replace(d.Root(metadata.Image, 2), []byte(`"signed":`), []byte(`"Signed":{},"signed":`), 1)
		}},
	})
}

// twice repeats the one signature of a file.
func twice(t *testing.T, file []byte) []byte {
	var f struct {
		Signed     json.RawMessage   `json:"signed"`
		Signatures []json.RawMessage `json:"signatures"`
	}
	if err := json.Unmarshal(file, &f); err != nil {
		t.Fatal(err)
	}
	f.Signatures = append(f.Signatures, f.Signatures[0])
	data, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

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
			s.swap["timestamp.json"] = resign(t, d, metadata.Timestamp, "mallory")
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
