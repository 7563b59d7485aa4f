package trust_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/metadata/metadatatest"
	"github.com/countersign-ota/countersign/proto/reason"
)

// editRoot publishes a next root whose signed part was edited as JSON, signed by the holders.
func editRoot(d *metadatatest.Deployment, edit func(signed map[string]any)) {
	d.RotateRoot(metadata.Image, nil)
	d.Edit(metadata.Root, edit, "rivera", "chen", "okafor")
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
		{name: "director root as image root", want: reason.Threshold, do: func(d *metadatatest.Deployment, s *server) {
			d.RotateRoot(metadata.Director, nil)
			s.swap["2.root.json"] = d.Root(metadata.Director, 2)
		}},
		{name: "plain TUF root", want: reason.RootWithoutScope, do: func(d *metadatatest.Deployment, s *server) {
			editRoot(d, func(signed map[string]any) { delete(signed, metadata.ScopeField) })
		}},
		{name: "root without quorum", want: reason.QuorumMissing, do: func(d *metadatatest.Deployment, s *server) {
			editRoot(d, func(signed map[string]any) { delete(signed, metadata.QuorumField) })
		}},
		{name: "root whose threshold is below its classes", want: reason.QuorumMalformed, do: func(d *metadatatest.Deployment, s *server) {
			editRoot(d, func(signed map[string]any) { obj(signed, "roles", "targets")["threshold"] = number(1) })
		}},
		{name: "root that gives targets to the online key", want: reason.QuorumMalformed, do: func(d *metadatatest.Deployment, s *server) {
			editRoot(d, func(signed map[string]any) {
				obj(signed, "roles")["targets"] = obj(signed, "roles", "timestamp")
			})
		}},
		{name: "holder's key as online key", want: reason.KeyTwice, do: func(d *metadatatest.Deployment, s *server) {
			editRoot(d, func(signed map[string]any) {
				id := d.Key("rivera", metadata.Image).ID
				for _, role := range []string{"timestamp", "snapshot"} {
					obj(signed, "roles", role)["keyids"] = []any{id}
				}
			})
		}},
		{name: "two online keys", want: reason.Profile, do: func(d *metadatatest.Deployment, s *server) {
			editRoot(d, func(signed map[string]any) {
				k := d.Key("second", metadata.Image)
				obj(signed, "keys")[k.ID] = k.Public
				obj(signed, "roles", "snapshot")["keyids"] = []any{k.ID}
			})
		}},
		{name: "inconsistent snapshots", want: reason.Profile, do: func(d *metadatatest.Deployment, s *server) {
			editRoot(d, func(signed map[string]any) { signed["consistent_snapshot"] = false })
		}},
		{name: "key under another id", want: reason.KeyIDMismatch, do: func(d *metadatatest.Deployment, s *server) {
			editRoot(d, func(signed map[string]any) {
				keys := obj(signed, "keys")
				keys[d.Key("rivera", metadata.Image).ID] = d.Key("mallory", metadata.Image).Public
			})
		}},
		{name: "example key", want: reason.KeyExample, do: func(d *metadatatest.Deployment, s *server) {
			editRoot(d, func(signed map[string]any) {
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
