package agent

import (
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/metadata/metadatatest"
	"github.com/countersign-ota/countersign/proto/reason"
)

// twin makes the deployment of a device once more: same keys, same bytes so far, another future.
func twin(t *testing.T) *metadatatest.Deployment {
	d := metadatatest.New(t, metadatatest.Options{})
	d.AddProduct("gw-100", metadatatest.Product{})
	d.Release("gw-100", "2.4.1", 17, metadatatest.Target{Data: image("2.4.1"), Installer: "file"})
	return d
}

// attacks are what a server, a network or a hasty signer may do. Each is refused with its reason, and
// nothing is staged. evil has been the device's own deployment up to release 2.4.1.
var attacks = []struct {
	name string
	want reason.Reason
	// do publishes on evil, or changes the files that are served.
	do func(t *testing.T, v *device, evil *metadatatest.Deployment, files map[string][]byte)
}{
	{"a changed byte in the image", reason.HashMismatch, func(_ *testing.T, v *device, evil *metadatatest.Deployment, _ map[string][]byte) {
		next(evil, nil)
		v.net.blob = func(b []byte) []byte { b[1000] ^= 1; return b }
	}},
	{"a longer image", reason.LengthMismatch, func(_ *testing.T, v *device, evil *metadatatest.Deployment, _ map[string][]byte) {
		next(evil, nil)
		v.net.blob = func(b []byte) []byte { return append(b, 0) }
	}},
	{"two signatures of one class", reason.QuorumNotMet, func(_ *testing.T, _ *device, evil *metadatatest.Deployment, _ map[string][]byte) {
		next(evil, nil)
		evil.SignedBy("gw-100", "chen", "okafor")
	}},
	{"one signature", reason.Threshold, func(_ *testing.T, _ *device, evil *metadatatest.Deployment, _ map[string][]byte) {
		next(evil, nil)
		evil.SignedBy("gw-100", "chen")
	}},
	{"a release forged with the online keys", reason.Threshold, func(_ *testing.T, _ *device, evil *metadatatest.Deployment, _ map[string][]byte) {
		next(evil, nil)
		evil.SignedBy("gw-100", "online")
	}},
	{"a file of another deployment", reason.ScopeMismatch, func(t *testing.T, _ *device, evil *metadatatest.Deployment, files map[string][]byte) {
		other := metadatatest.New(t, metadatatest.Options{Deployment: "globex"})
		other.AddProduct("gw-100", metadatatest.Product{})
		for other.Version(metadata.Image, metadata.Timestamp) <= evil.Version(metadata.Image, metadata.Timestamp) {
			other.Publish()
		}
		maps.Copy(files, other.Files())
	}},
	{"a product role without scope", reason.ScopeMissing, func(_ *testing.T, _ *device, evil *metadatatest.Deployment, _ map[string][]byte) {
		next(evil, nil)
		evil.Edit("gw-100", func(s map[string]any) { delete(s, metadata.ScopeField) })
	}},
	{"no stop list", reason.StopListMissing, func(_ *testing.T, _ *device, evil *metadatatest.Deployment, files map[string][]byte) {
		next(evil, nil)
		evil.Change("gw-100.stop", func(*metadata.TargetsRole) {})
		maps.Copy(files, evil.Files())
		delete(files, fmt.Sprintf("%d.gw-100.stop.json", evil.Version(metadata.Image, "gw-100.stop")))
	}},
	{"an expired product role", reason.Expired, func(_ *testing.T, v *device, evil *metadatatest.Deployment, _ map[string][]byte) {
		next(evil, nil)
		evil.Expire("gw-100", v.now.Add(-time.Second))
	}},
	{"an example key among the product's", reason.KeyExample, func(t *testing.T, _ *device, evil *metadatatest.Deployment, _ map[string][]byte) {
		next(evil, nil)
		evil.Edit(metadata.Targets, func(s map[string]any) {
			s["version"] = evil.Version(metadata.Image, metadata.Targets) + 1
			addExampleKey(t, s)
		})
	}},
	{"another installer", reason.Installer, func(_ *testing.T, _ *device, evil *metadatatest.Deployment, _ map[string][]byte) {
		next(evil, func(f *metadata.Firmware) { f.Installer = "slot" })
	}},
	{"a requirement that no component meets", reason.Requires, func(_ *testing.T, _ *device, evil *metadatatest.Deployment, _ map[string][]byte) {
		next(evil, func(f *metadata.Firmware) {
			f.Requires = []metadata.Requirement{{Product: "pump-9", MinCounter: 8}}
		})
	}},
	{"a spread", reason.Spread, func(_ *testing.T, _ *device, evil *metadatatest.Deployment, _ map[string][]byte) {
		next(evil, func(f *metadata.Firmware) { f.SpreadHours = 1 })
	}},
	{"the same counter with other bytes", reason.CounterUsed, func(_ *testing.T, _ *device, evil *metadatatest.Deployment, _ map[string][]byte) {
		evil.Withdraw("gw-100", "gw-100/2.4.1/gw.img")
		evil.Release("gw-100", "2.4.2", 17, metadatatest.Target{Data: image("2.4.2"), Installer: "file"})
	}},
	{"no files at all", "", func(_ *testing.T, v *device, _ *metadatatest.Deployment, files map[string][]byte) {
		clear(files)
		files["none"] = nil
	}},
	{"an unreachable server", reason.Unreachable, func(_ *testing.T, v *device, _ *metadatatest.Deployment, _ map[string][]byte) {
		v.net.down = reason.Errorf(reason.Unreachable, "the cable is out")
	}},
	{"a timestamp that is no JSON", reason.Malformed, func(_ *testing.T, _ *device, evil *metadatatest.Deployment, files map[string][]byte) {
		maps.Copy(files, evil.Files())
		files["timestamp.json"] = []byte("<html>sign in to the guest network</html>")
	}},
	{"an endless timestamp", reason.TooLarge, func(_ *testing.T, _ *device, evil *metadatatest.Deployment, files map[string][]byte) {
		maps.Copy(files, evil.Files())
		files["timestamp.json"] = make([]byte, 1<<20)
	}},
}

// next publishes release 2.4.2 of another future.
func next(d *metadatatest.Deployment, edit func(*metadata.Firmware)) {
	d.Release("gw-100", "2.4.2", 18, metadatatest.Target{Data: image("evil"), Installer: "file", Edit: edit})
}

// exampleKey is a key of keys-example by its published seed.
func exampleKey(t *testing.T) (*metadata.Key, string) {
	t.Helper()
	seed := sha256.Sum256([]byte("countersign example key: rivera image"))
	k, err := metadata.NewKey(ed25519.NewKeyFromSeed(seed[:]).Public())
	must(t, err)
	if !metadata.ExampleKey(k) {
		t.Fatal("this is no example key any more")
	}
	id, err := metadata.KeyID(k)
	must(t, err)
	return k, id
}

// addExampleKey puts an example key into the product's delegation, as a second engineer.
func addExampleKey(t *testing.T, targets map[string]any) {
	t.Helper()
	k, id := exampleKey(t)
	delegations := targets["delegations"].(map[string]any)
	delegations["keys"].(map[string]any)[id] = map[string]any{
		"keytype": k.Type, "scheme": k.Scheme, "keyval": map[string]any{"public": k.Value.PublicKey},
	}
	for _, r := range delegations["roles"].([]any) {
		role := r.(map[string]any)
		if role["name"] != "gw-100" {
			continue
		}
		role["keyids"] = append(role["keyids"].([]any), id)
		q := role[metadata.QuorumField].(map[string]any)
		q["people"] = append(q["people"].([]any), map[string]any{
			"id": "mallory", "class": "engineering", "keyid": id, "name": "M",
		})
	}
}

func TestAttacks(t *testing.T) {
	for _, tt := range attacks {
		t.Run(tt.name, func(t *testing.T) {
			v := deviceOf(t, twin(t), fileInstaller(t))
			_, err := v.once()
			must(t, err)
			v.runs("2.4.1")
			before := v.status()

			evil, files := twin(t), map[string][]byte{}
			tt.do(t, v, evil, files)
			if len(files) == 0 {
				files = evil.Files()
			}
			v.net.files = files
			u, err := v.once()
			if tt.want == "" && err == nil || tt.want != "" && !reason.Is(err, tt.want) {
				t.Fatalf("got %v, %v [%s]; want reason %s", u, err, reason.Of(err), tt.want)
			}
			v.runs("2.4.1")
			if len(v.staged()) != 0 {
				t.Errorf("staged: %v", v.staged())
			}
			after := v.status()
			if after.Components[0] != before.Components[0] {
				t.Errorf("component %+v, before %+v", after.Components[0], before.Components[0])
			}
			if tt.want != reason.Unreachable && tt.want != "" && (after.Refusal == nil || after.Refusal.Reason != string(tt.want)) {
				t.Errorf("status says %+v", after.Refusal)
			}
			notFallen(t, before, after)

			v.net.down, v.net.blob = nil, nil
			good := v.d
			for range 4 {
				for _, role := range []string{"gw-100", "gw-100.stop", metadata.Targets} {
					good.Change(role, func(*metadata.TargetsRole) {})
				}
			}
			v.release("2.4.3", 19, nil)
			_, err = v.once()
			must(t, err)
			v.runs("2.4.3")
			if r := v.status().Refusal; r != nil {
				t.Errorf("a refusal stands after the good cycle: %+v", r)
			}
		})
	}
}

// notFallen checks that no version, counter or floor is lower than before.
func notFallen(t *testing.T, before, after *Status) {
	t.Helper()
	versions := map[string]int64{}
	for _, r := range after.Roles {
		versions[r.Name] = r.Version
	}
	for _, r := range before.Roles {
		if versions[r.Name] < r.Version {
			t.Errorf("%s fell from version %d to %d", r.Name, r.Version, versions[r.Name])
		}
	}
	for i, c := range before.Components {
		if a := after.Components[i]; a.Counter < c.Counter || a.Floor < c.Floor {
			t.Errorf("component %+v, before %+v", a, c)
		}
	}
	if len(after.Stopped) < len(before.Stopped) {
		t.Errorf("stops %v, before %v", after.Stopped, before.Stopped)
	}
}

// TestReplay: everything as it was before the last release.
func TestReplay(t *testing.T) {
	v := newDevice(t, fileInstaller(t))
	v.release("2.4.1", 17, nil)
	old := v.d.Files()
	_, err := v.once()
	must(t, err)
	v.release("2.4.2", 18, nil)
	_, err = v.once()
	must(t, err)
	v.net.files = old
	_, err = v.once()
	wantReason(t, err, reason.Rollback)
	v.runs("2.4.2")
	v.publish()
	_, err = v.once()
	must(t, err)
}
