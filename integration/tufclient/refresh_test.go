package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/countersign-ota/countersign/agent/trust/tuftest"
)

func TestInitAndRefresh(t *testing.T) {
	g := newRig(t, nil)
	g.asked()
	g.trusts("root=1")
	g.refresh(0)
	g.asked("metadata/2.root.json", "metadata/timestamp.json", "metadata/1.snapshot.json", "metadata/1.targets.json")
	g.trusts("root=1", "snapshot=1", "targets=1", "timestamp=1")
	// Nothing is new: nothing more is asked for.
	g.refresh(0)
	g.asked("metadata/2.root.json", "metadata/timestamp.json")
}

func TestInitialRootThatIsInvalid(t *testing.T) {
	for _, tt := range []struct{ name, old, new string }{
		{"unsigned", `"sig": "`, `"sig": "00`},
		{"without version", `"version": 1`, `"versions": 1`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := newRig(t, nil)
			g.md = t.TempDir()
			g.init(bytes.Replace(g.repo.File("root", 1), []byte(tt.old), []byte(tt.new), 1), 1)
			g.refresh(1)
			g.asked()
		})
	}
}

// A second init with an older root does not undo a chain.
func TestInitKeepsANewerRoot(t *testing.T) {
	g := newRig(t, nil)
	g.repo.Publish("root")
	g.refresh(0)
	g.init(g.repo.File("root", 1), 0)
	g.trusts("root=2", "snapshot=1", "targets=1", "timestamp=1")
}

func TestConsistentSnapshotsOff(t *testing.T) {
	g := newRig(t, func(r *tuftest.Repo) {
		r.Root.Signed.ConsistentSnapshot = false
		r.AddTarget("targets", "a/x.txt", []byte("content"))
		r.Put("root", 1)
		r.Publish("targets", "snapshot", "timestamp")
	})
	g.download(0, "a/x.txt")
	g.asked("metadata/2.root.json", "metadata/timestamp.json", "metadata/snapshot.json", "metadata/targets.json", "targets/a/x.txt")
	g.downloaded("content")
}

func TestRolesThatAreNotSigned(t *testing.T) {
	for _, tt := range []struct {
		role   string
		trusts []string
	}{
		{"root", []string{"root=1"}},
		{"timestamp", []string{"root=1"}},
		{"snapshot", []string{"root=1", "timestamp=2"}},
		{"targets", []string{"root=1", "timestamp=2", "snapshot=2"}},
	} {
		t.Run(tt.role, func(t *testing.T) {
			g := newRig(t, func(r *tuftest.Repo) {
				r.Keys[tt.role] = []*tuftest.Key{r.NewKey(tuftest.Ed25519)}
				if tt.role == "root" {
					r.Publish("root")
					return
				}
				r.Publish("targets", "snapshot", "timestamp")
			})
			g.refresh(1)
			g.trusts(tt.trusts...)
		})
	}
}

// rotation is one root: which of ten keys it names, how many it wants, which sign it.
type rotation struct {
	keys      []int
	threshold int
	sigs      []int
}

func TestRootRotation(t *testing.T) {
	for _, tt := range []struct {
		name  string
		roots []rotation
		fails bool
	}{
		{"1 of 1", []rotation{{[]int{1}, 1, []int{1}}, {[]int{2}, 1, []int{2, 1}}, {[]int{2}, 1, []int{2}}}, false},
		{"1 of 1, unused signatures", []rotation{{[]int{1}, 1, []int{3, 1, 4}}, {[]int{2}, 1, []int{3, 2, 1, 4}}}, false},
		{"3 of 5, other combinations", []rotation{{[]int{0, 1, 2, 3, 4}, 3, []int{0, 2, 4}}, {[]int{0, 1, 2, 3, 4}, 3, []int{0, 4, 1}}}, false},
		{"3 of 5, one key", []rotation{{[]int{0, 1, 2, 3, 4}, 3, []int{0, 2, 4}}, {[]int{0, 1, 3, 4, 5}, 3, []int{0, 4, 1}}}, false},
		{"3 of 5, all keys", []rotation{{[]int{0, 1, 2, 3, 4}, 3, []int{0, 2, 4}}, {[]int{5, 6, 7, 8, 9}, 3, []int{0, 2, 4, 5, 6, 7}}}, false},
		{"threshold up", []rotation{{[]int{1, 2, 3}, 1, []int{1}}, {[]int{1, 2, 3}, 2, []int{1, 2}}}, false},
		{"threshold down", []rotation{{[]int{1, 2, 3}, 2, []int{1, 2}}, {[]int{1, 2, 3}, 1, []int{1, 2}}, {[]int{1, 2, 3}, 1, []int{1}}}, false},
		{"not by the old key", []rotation{{[]int{1}, 1, []int{1}}, {[]int{2}, 1, []int{2, 3, 4}}}, true},
		{"not by the new key", []rotation{{[]int{1}, 1, []int{1}}, {[]int{2}, 1, []int{1, 3, 4}}}, true},
		{"not by 3 new keys", []rotation{{[]int{0, 1, 2, 3, 4}, 3, []int{0, 2, 4}}, {[]int{0, 1, 3, 4, 5}, 3, []int{0, 2, 4}}}, true},
		{"not by 3 old keys", []rotation{{[]int{0, 1, 2, 3, 4}, 3, []int{0, 2, 4}}, {[]int{0, 1, 3, 4, 5}, 3, []int{0, 4, 5}}}, true},
		{"new threshold not reached", []rotation{{[]int{1, 2, 3}, 1, []int{1}}, {[]int{1, 2, 3}, 2, []int{2}}}, true},
		{"old threshold not reached", []rotation{{[]int{1, 2, 3}, 2, []int{1, 2}}, {[]int{1, 2, 3}, 1, []int{1}}}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := newRig(t, func(r *tuftest.Repo) {
				var keys []*tuftest.Key
				for range 10 {
					keys = append(keys, r.NewKey(tuftest.ECDSA))
				}
				for i, root := range tt.roots {
					r.Trust("root", root.threshold, pick(keys, root.keys)...)
					r.Keys["root"] = pick(keys, root.sigs)
					r.Put("root", int64(i+1))
				}
			})
			last, want := int64(len(tt.roots)), 0
			if tt.fails {
				last, want = last-1, 1
			}
			g.refresh(want)
			got := read(t, g.md+"/root.json")
			if !bytes.Equal(got, g.repo.File("root", last)) {
				t.Errorf("the trusted root is not version %d", last)
			}
		})
	}
}

func pick(keys []*tuftest.Key, which []int) (picked []*tuftest.Key) {
	for _, i := range which {
		picked = append(picked, keys[i])
	}
	return picked
}

func TestKeyTypes(t *testing.T) {
	for _, kind := range []string{tuftest.Ed25519, tuftest.ECDSA, tuftest.RSA} {
		t.Run(kind, func(t *testing.T) {
			g := newRig(t, func(r *tuftest.Repo) {
				for _, role := range []string{"root", "timestamp", "snapshot", "targets"} {
					r.Trust(role, 1, r.NewKey(kind))
				}
				r.Put("root", 1)
				r.Publish("targets", "snapshot", "timestamp")
			})
			g.refresh(0)
		})
	}
}

// One key under two ids counts once.
func TestThresholdCountsKeys(t *testing.T) {
	g := newRig(t, nil)
	g.refresh(0)
	k := g.repo.NewKey(tuftest.ECDSA)
	again := *k.Public
	again.Type = "ecdsa-sha2-nistp256"
	public := again
	id, err := public.ID()
	if err != nil {
		t.Fatal(err)
	}
	g.repo.Trust("snapshot", 2, k, &tuftest.Key{Signer: k.Signer, Public: &public, ID: id})
	g.repo.Keys["snapshot"] = g.repo.Keys["snapshot"][:1]
	g.repo.Publish("root", "snapshot", "timestamp")
	g.refresh(1)
	g.trusts("root=2", "targets=1", "timestamp=2")
}

func TestUnknownMembersAreSigned(t *testing.T) {
	g := newRig(t, nil)
	g.refresh(0)
	signed := &g.repo.Root.Signed
	signed.UnrecognizedFields = map[string]any{"custom-field": "value"}
	signed.Roles["root"].UnrecognizedFields = map[string]any{"another-field": "value"}
	g.repo.Publish("root")
	g.refresh(0)
	g.trusts("root=2", "snapshot=1", "targets=1", "timestamp=1")
}

func TestExpiredRoles(t *testing.T) {
	past := time.Now().Add(-24 * time.Hour).UTC().Truncate(time.Second)
	for _, tt := range []struct {
		role   string
		trusts []string
	}{
		{"root", []string{"root=2", "snapshot=1", "targets=1", "timestamp=1"}},
		{"timestamp", []string{"root=1", "snapshot=1", "targets=1", "timestamp=1"}},
		{"snapshot", []string{"root=1", "snapshot=1", "targets=1", "timestamp=2"}},
		{"targets", []string{"root=1", "snapshot=2", "targets=1", "timestamp=2"}},
	} {
		t.Run(tt.role, func(t *testing.T) {
			g := newRig(t, nil)
			g.refresh(0)
			switch tt.role {
			case "root":
				g.repo.Root.Signed.Expires = past
				g.repo.Publish("root")
			case "timestamp":
				g.repo.Timestamp.Signed.Expires = past
			case "snapshot":
				g.repo.Snapshot.Signed.Expires = past
			case "targets":
				g.repo.Roles["targets"].Signed.Expires = past
			}
			g.repo.Publish("targets", "snapshot", "timestamp")
			g.refresh(1)
			g.trusts(tt.trusts...)
		})
	}
}

// Expired local files serve for updating to newer ones, by the time that date tells.
func TestExpiredLocalFiles(t *testing.T) {
	g := newRig(t, nil)
	now := time.Now().UTC().Truncate(time.Second)
	g.repo.Timestamp.Signed.Expires = now.Add(7 * 24 * time.Hour)
	g.repo.Publish("timestamp")
	g.refresh(0)
	g.at(now.Add(18 * 24 * time.Hour))
	g.refresh(1)
	g.repo.Timestamp.Signed.Expires = now.Add(21 * 24 * time.Hour)
	g.repo.Publish("targets", "snapshot", "timestamp")
	g.refresh(0)
	g.trusts("root=1", "snapshot=2", "targets=2", "timestamp=3")
}

func TestFastForwardRecovery(t *testing.T) {
	for _, rotate := range [][]string{{"timestamp"}, {"snapshot"}, {"timestamp", "snapshot"}} {
		g := newRig(t, nil)
		for _, role := range []string{"targets", "snapshot", "timestamp"} {
			g.repo.Put(role, 99)
		}
		g.refresh(0)
		for _, role := range rotate {
			g.repo.Rotate(role)
		}
		g.repo.Publish("root")
		for _, role := range []string{"targets", "snapshot", "timestamp"} {
			g.repo.Put(role, 2)
		}
		g.refresh(0)
		g.trusts("root=2", "snapshot=2", "targets=2", "timestamp=2")
	}
}
