package main

import (
	"bytes"
	"os"
	"testing"

	"github.com/countersign-ota/countersign/agent/trust/tuftest"
)

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func hashes(r *tuftest.Repo) { r.Hashes = true }

func TestRollbacks(t *testing.T) {
	for name, change := range map[string]func(*tuftest.Repo){"": nil, " with hashes": hashes} {
		t.Run("timestamp"+name, func(t *testing.T) {
			g := newRig(t, change)
			g.repo.Publish("timestamp")
			g.refresh(0)
			g.repo.Requests()
			g.repo.Put("timestamp", 1)
			g.refresh(1)
			g.asked("metadata/2.root.json", "metadata/timestamp.json")
		})
		t.Run("snapshot"+name, func(t *testing.T) {
			g := newRig(t, change)
			g.repo.Publish("snapshot", "timestamp")
			g.refresh(0)
			g.repo.Requests()
			g.repo.Put("snapshot", 1)
			g.repo.Publish("timestamp")
			g.refresh(1)
			g.asked("metadata/2.root.json", "metadata/timestamp.json")
			g.trusts("root=1", "snapshot=2", "targets=1", "timestamp=2")
		})
		t.Run("targets"+name, func(t *testing.T) {
			g := newRig(t, change)
			g.repo.Publish("targets", "snapshot", "timestamp")
			g.refresh(0)
			g.repo.Put("targets", 1)
			g.repo.Publish("snapshot", "timestamp")
			g.refresh(1)
			g.trusts("root=1", "snapshot=2", "targets=2", "timestamp=3")
		})
		t.Run("a role that the snapshot drops"+name, func(t *testing.T) {
			g := newRig(t, change)
			g.refresh(0)
			delete(g.repo.Snapshot.Signed.Meta, "targets.json")
			g.repo.Publish("snapshot", "timestamp")
			g.refresh(1)
			g.trusts("root=1", "snapshot=1", "targets=1", "timestamp=2")
		})
		t.Run("root"+name, func(t *testing.T) {
			g := newRig(t, change)
			g.refresh(0)
			g.repo.PutFile("root", 2, g.repo.File("root", 1))
			g.refresh(1)
			g.trusts("root=1", "snapshot=1", "targets=1", "timestamp=1")
		})
	}
}

// A timestamp with other content and no higher version is not taken, and is no error.
func TestTimestampContentChanges(t *testing.T) {
	g := newRig(t, nil)
	g.refresh(0)
	before := read(t, g.md+"/timestamp.json")
	g.repo.Timestamp.Signed.Meta["snapshot.json"].Version = 100
	g.repo.Put("timestamp", 1)
	g.repo.Requests()
	g.refresh(0)
	g.asked("metadata/2.root.json", "metadata/timestamp.json")
	if !bytes.Equal(read(t, g.md+"/timestamp.json"), before) {
		t.Error("the changed timestamp was stored")
	}
}

func TestSnapshotVersionMismatch(t *testing.T) {
	g := newRig(t, nil)
	g.repo.Put("snapshot", 3)
	g.repo.PutFile("snapshot", 2, g.repo.File("snapshot", 0))
	g.repo.Timestamp.Signed.Meta["snapshot.json"].Version = 2
	g.repo.Publish("timestamp")
	g.refresh(1)
	g.trusts("root=1", "timestamp=2")
	g.asked("metadata/2.root.json", "metadata/timestamp.json", "metadata/2.snapshot.json")
}

func TestTargetsHashMismatch(t *testing.T) {
	g := newRig(t, hashes)
	g.repo.Publish("targets", "snapshot", "timestamp")
	g.refresh(0)
	g.repo.Publish("targets", "snapshot", "timestamp")
	g.repo.PutFile("targets", 3, append(bytes.Clone(g.repo.File("targets", 3)), ' '))
	g.refresh(1)
	g.trusts("root=1", "snapshot=3", "targets=2", "timestamp=3")
}

func TestEndlessData(t *testing.T) {
	for role, max := range map[string]int{"root": 512 << 10, "timestamp": 16 << 10, "snapshot": 2 << 20, "targets": 5 << 20} {
		t.Run(role, func(t *testing.T) {
			g := newRig(t, nil)
			g.refresh(0)
			g.repo.Publish("targets", "snapshot", "timestamp", "root")
			g.repo.PutFile(role, 2, bytes.Repeat([]byte(" "), max+1))
			g.refresh(1)
		})
	}
}

func TestDamagedLocalFiles(t *testing.T) {
	for _, role := range []string{"timestamp", "snapshot", "targets"} {
		for name, data := range map[string][]byte{"empty": {}, "zeroed": make([]byte, 500), "truncated": []byte(`{"signed": {`)} {
			t.Run(role+" "+name, func(t *testing.T) {
				g := newRig(t, nil)
				g.refresh(0)
				if err := os.WriteFile(g.md+"/"+role+".json", data, 0o600); err != nil {
					t.Fatal(err)
				}
				g.refresh(0)
				g.trusts("root=1", "snapshot=1", "targets=1", "timestamp=1")
			})
		}
	}
}
