package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/countersign-ota/countersign/agent/trust/tuftest"
)

// edit changes the newest file of a role as JSON, without signing it again.
func edit(g *rig, role string, version int64, change func(file map[string]any)) {
	g.t.Helper()
	var file map[string]any
	if err := json.Unmarshal(g.repo.File(role, version), &file); err != nil {
		g.t.Fatal(err)
	}
	change(file)
	data, err := json.Marshal(file)
	if err != nil {
		g.t.Fatal(err)
	}
	g.repo.PutFile(role, version, data)
}

func signature(file map[string]any, i int) map[string]any {
	return file["signatures"].([]any)[i].(map[string]any)
}

// What is not needed for the threshold may be wrong, empty or by a stranger.
func TestInvalidSignaturesBesideEnoughValidOnes(t *testing.T) {
	g := newRig(t, nil)
	g.repo.Trust("timestamp", 1, g.repo.NewKey(tuftest.Ed25519), g.repo.NewKey(tuftest.ECDSA))
	for i, sig := range []string{"00ff", "", strings.Repeat("ab", 64)} {
		g.repo.Publish("root", "timestamp")
		edit(g, "timestamp", int64(i+2), func(file map[string]any) { signature(file, 0)["sig"] = sig })
		g.refresh(0)
	}
}

func TestSignaturesThatAreRefused(t *testing.T) {
	for name, change := range map[string]func(file map[string]any){
		"twice by one key": func(file map[string]any) {
			file["signatures"] = append(file["signatures"].([]any), signature(file, 0))
		},
		"wrong":       func(file map[string]any) { signature(file, 0)["sig"] = strings.Repeat("ab", 64) },
		"none":        func(file map[string]any) { file["signatures"] = []any{} },
		"null":        func(file map[string]any) { file["signatures"] = nil },
		"by no key":   func(file map[string]any) { signature(file, 0)["keyid"] = strings.Repeat("00", 32) },
		"no hex":      func(file map[string]any) { signature(file, 0)["sig"] = "not hex" },
		"folded name": func(file map[string]any) { file["Signed"] = map[string]any{} },
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, nil)
			edit(g, "snapshot", 1, change)
			g.refresh(1)
			g.trusts("root=1", "timestamp=1")
		})
	}
}

// Files are stored as they came, not written anew.
func TestBytesAreStoredAsServed(t *testing.T) {
	g := newRig(t, nil)
	g.repo.PutFile("timestamp", 1, append(bytes.Clone(g.repo.File("timestamp", 1)), ' ', '\n'))
	g.refresh(0)
	g.trusts("root=1", "snapshot=1", "targets=1", "timestamp=1")
}

func TestMissingFiles(t *testing.T) {
	for _, tt := range []struct {
		role   string
		trusts []string
		asked  string
	}{
		{"timestamp", []string{"root=1", "snapshot=1", "targets=1", "timestamp=1"}, "metadata/timestamp.json"},
		{"snapshot", []string{"root=1", "snapshot=1", "targets=1", "timestamp=2"}, "metadata/2.snapshot.json"},
		{"targets", []string{"root=1", "snapshot=2", "targets=1", "timestamp=2"}, "metadata/2.targets.json"},
	} {
		t.Run(tt.role, func(t *testing.T) {
			g := newRig(t, nil)
			g.refresh(0)
			g.repo.Publish("targets", "snapshot", "timestamp")
			g.repo.PutFile(tt.role, 2, nil)
			g.repo.Requests()
			g.refresh(1)
			g.trusts(tt.trusts...)
			if log := g.repo.Requests(); log[len(log)-1] != tt.asked {
				t.Errorf("requests %q, wanted the last to be %q", log, tt.asked)
			}
		})
	}
}

// A snapshot that looks like a timestamp and is signed by the timestamp's key.
func TestWrongType(t *testing.T) {
	g := newRig(t, nil)
	g.repo.Trust("snapshot", 1, g.repo.Keys["timestamp"]...)
	g.repo.Snapshot.Signed.Meta = g.repo.Timestamp.Signed.Meta
	g.repo.Publish("root", "snapshot")
	g.repo.PutFile("timestamp", 2, g.repo.File("snapshot", 2))
	g.refresh(1)
	g.trusts("root=2")
}

// The client sees the time that the suite fakes.
func TestFakedTime(t *testing.T) {
	g := newRig(t, nil)
	now := time.Now().UTC().Truncate(time.Second)
	g.repo.Root.Signed.Expires = now.Add(7 * 24 * time.Hour)
	g.repo.Publish("root")
	g.refresh(0)
	g.repo.Requests()
	g.at(now.Add(8 * 24 * time.Hour))
	g.refresh(1)
	g.asked("metadata/3.root.json")
}
