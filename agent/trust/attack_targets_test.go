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

// next publishes the next version of a targets role, edited as JSON, signed by its people or by the
// given ones; the thief of the online key can always make snapshot and timestamp name it.
func next(d *metadatatest.Deployment, role string, edit func(signed map[string]any), people ...string) {
	version := d.Version(metadata.Image, role) + 1
	d.Edit(role, func(signed map[string]any) {
		signed["version"] = number(version)
		if edit != nil {
			edit(signed)
		}
	}, people...)
}

// forge is an attack that publishes a next version of a role.
func forge(name string, want reason.Reason, role string, edit func(signed map[string]any), people ...string) attack {
	return attack{name: name, want: want, stores: online, do: func(d *metadatatest.Deployment, _ *server) {
		next(d, role, edit, people...)
	}}
}

// delegation returns the delegation to a role in top-level targets.
func delegation(signed map[string]any, role string) map[string]any {
	for _, r := range obj(signed, "delegations")["roles"].([]any) {
		if obj(r)["name"] == role {
			return obj(r)
		}
	}
	panic("no delegation to " + role)
}

// entry returns one target of a role.
func entry(signed map[string]any, path string) map[string]any { return obj(signed, "targets", path) }

func document(signed map[string]any, path string) map[string]any {
	return obj(entry(signed, path), "custom", "countersign")
}

func TestAttacksOnTopLevelTargets(t *testing.T) {
	const role = metadata.Targets
	runAttacks(t, []attack{
		forge("by one holder", reason.Threshold, role, nil, "rivera"),
		forge("by the online key", reason.Threshold, role, nil, "online"),
		forge("by strangers", reason.Threshold, role, nil, "mallory", "mara"),
		forge("of another deployment", reason.ScopeMismatch, role, func(signed map[string]any) {
			signed[metadata.ScopeField] = "evil/image/targets"
		}),
		forge("lists a target itself", reason.Profile, role, func(signed map[string]any) {
			signed["targets"] = map[string]any{firmware: map[string]any{"length": number(1), "hashes": map[string]any{"sha256": fmt.Sprintf("%064x", 1)}}}
		}),
		forge("delegates to a role that is no product", reason.Profile, role, func(signed map[string]any) {
			delegation(signed, "gw-100")["name"] = "gw-100.bin-0"
		}),
		forge("drops a stop role", reason.Profile, role, func(signed map[string]any) {
			ds := obj(signed, "delegations")
			ds["roles"] = ds["roles"].([]any)[:1]
		}),
		forge("a product for all paths", reason.Profile, role, func(signed map[string]any) {
			delegation(signed, "pump-9")["paths"] = []any{"*/*/*"}
		}),
		forge("a stop role that can name firmware", reason.Profile, role, func(signed map[string]any) {
			delegation(signed, "gw-100.stop")["paths"] = []any{"gw-100/*/*"}
		}),
		forge("a product that is not terminating", reason.Profile, role, func(signed map[string]any) {
			delegation(signed, "gw-100")["terminating"] = false
		}),
		forge("a product without a quorum", reason.QuorumMissing, role, func(signed map[string]any) {
			delete(delegation(signed, "gw-100"), metadata.QuorumField)
		}),
		forge("an unknown member in a quorum", reason.UnknownMember, role, func(signed map[string]any) {
			obj(delegation(signed, "gw-100"), metadata.QuorumField)["unless"] = "never"
		}),
		forge("one key for two people", reason.KeyTwice, role, func(signed map[string]any) {
			people := obj(delegation(signed, "gw-100"), metadata.QuorumField)["people"].([]any)
			obj(people[0])["id"] = "mallory"
		}),
		forge("the online key as a person's", reason.KeyTwice, role, func(signed map[string]any) {
			k := metadatatest.NewKey(t, "online", metadata.Image)
			obj(signed, "delegations", "keys")[k.ID] = k.Public
			role := delegation(signed, "gw-100.stop")
			role["keyids"] = []any{k.ID}
			obj(role, metadata.QuorumField)["people"] = []any{map[string]any{"id": "mallory", "class": "stop", "keyid": k.ID, "name": "M"}}
		}),
		forge("an example key", reason.KeyExample, role, func(signed map[string]any) {
			id, key := exampleKey(t)
			obj(signed, "delegations", "keys")[id] = key
		}),
		{name: "other bytes than the snapshot names", want: reason.HashMismatch, stores: online, do: func(d *metadatatest.Deployment, s *server) {
			next(d, role, nil)
			s.swap[path(d, role)] = bytes.Replace(d.File(metadata.Image, role), []byte("rivera"), []byte("Rivera"), 1)
		}},
		{name: "missing", want: reason.Unreachable, stores: online, do: func(d *metadatatest.Deployment, s *server) {
			next(d, role, nil)
			s.swap[path(d, role)] = nil
		}},
		{name: "expired", want: reason.Expired, stores: []string{"snapshot", "targets", "timestamp"}, do: func(d *metadatatest.Deployment, s *server) {
			next(d, role, func(signed map[string]any) { signed["expires"] = d.Now.Format(time.RFC3339) })
		}},
	})
}

func TestAttacksOnProduct(t *testing.T) {
	const role = "gw-100"
	runAttacks(t, []attack{
		forge("two people of one class", reason.QuorumNotMet, role, nil, "chen", "okafor"),
		forge("one person", reason.Threshold, role, nil, "rivera"),
		forge("stolen online keys", reason.Threshold, role, nil, "online"),
		forge("a stranger beside a person", reason.Threshold, role, nil, "rivera", "mallory"),
		forge("of another deployment", reason.ScopeMismatch, role, func(signed map[string]any) {
			signed[metadata.ScopeField] = "evil/image/gw-100"
		}),
		forge("without a scope", reason.ScopeMissing, role, func(signed map[string]any) { delete(signed, metadata.ScopeField) }),
		forge("a target of another product", reason.ProductMismatch, role, func(signed map[string]any) {
			targets := obj(signed, "targets")
			targets["pump-9/2.4.1/gw.img"] = targets[firmware]
		}),
		forge("a document of another product", reason.ProductMismatch, role, func(signed map[string]any) {
			document(signed, firmware)["product"] = "pump-9"
		}),
		forge("a document of another version", reason.ProductMismatch, role, func(signed map[string]any) {
			document(signed, firmware)["version"] = "9.9.9"
		}),
		forge("a path that climbs", reason.Malformed, role, func(signed map[string]any) {
			targets := obj(signed, "targets")
			targets["gw-100/../gw.img"] = targets[firmware]
		}),
		forge("two counters for one image", reason.CounterUsed, role, func(signed map[string]any) {
			document(signed, stopped)["counter"] = number(17)
		}),
		forge("a counter above the highest", reason.Profile, role, func(signed map[string]any) {
			document(signed, firmware)["counter"] = number(18)
		}),
		forge("a floor above the counter", reason.Floor, role, func(signed map[string]any) {
			document(signed, firmware)["floor"] = number(18)
		}),
		forge("paths that fold", reason.PathFolds, role, func(signed map[string]any) {
			targets := obj(signed, "targets")
			targets["gw-100/2.4.1/GW.img"] = targets[firmware]
		}),
		forge("a second hash", reason.Profile, role, func(signed map[string]any) {
			obj(entry(signed, firmware), "hashes")["sha512"] = fmt.Sprintf("%0128x", 1)
		}),
		{name: "a float in the document", want: reason.NotInteger, stores: online, do: func(d *metadatatest.Deployment, s *server) {
			next(d, role, nil)
			d.Replace(role, func(file []byte) []byte {
				return bytes.Replace(file, []byte(`"installer_args":{}`), []byte(`"installer_args":{"ratio":1.5}`), 1)
			})
		}},
		forge("no highest counter", reason.Profile, role, func(signed map[string]any) { delete(signed, metadata.HighField) }),
		forge("delegates onwards", reason.Profile, role, func(signed map[string]any) {
			k := metadatatest.NewKey(t, "mallory", metadata.Image)
			signed["delegations"] = map[string]any{"keys": map[string]any{k.ID: k.Public}, "roles": []any{map[string]any{
				"name": "mallory", "keyids": []any{k.ID}, "threshold": number(1), "terminating": true, "paths": []any{"gw-100/*/*"},
			}}}
			signed["targets"] = map[string]any{}
		}),
		{name: "the stop list in place of the product", want: reason.ScopeMismatch, stores: []string{"gw-100.stop", "snapshot", "timestamp"}, do: func(d *metadatatest.Deployment, s *server) {
			next(d, "gw-100.stop", nil)
			next(d, "gw-100.stop", nil)
			stop := d.File(metadata.Image, "gw-100.stop")
			d.Replace(role, func([]byte) []byte { return stop })
			s.swap["4.gw-100.json"] = stop
		}},
		{name: "withdrawn", want: reason.NotFound, stores: []string{"gw-100", "snapshot", "timestamp"}, do: func(d *metadatatest.Deployment, s *server) {
			d.Withdraw(role, firmware)
		}},
		{name: "expired", want: reason.Expired, stores: []string{"gw-100", "snapshot", "timestamp"}, do: func(d *metadatatest.Deployment, s *server) {
			next(d, role, func(signed map[string]any) { signed["expires"] = d.Now.Format(time.RFC3339) })
		}},
		{name: "larger than stated", want: reason.TooLarge, stores: online, do: func(d *metadatatest.Deployment, s *server) {
			next(d, role, nil)
			s.swap[path(d, role)] = make([]byte, metadata.MaxTargets)
		}},
	})
}

func TestAttacksOnBins(t *testing.T) {
	attacks := []attack{
		forge("bins with fewer people", reason.Profile, "pump-9", func(signed map[string]any) {
			s := obj(signed, "delegations", "succinct_roles")
			s["threshold"] = number(1)
			s["keyids"] = s["keyids"].([]any)[:1]
			q := obj(s, metadata.QuorumField)
			first := obj(q["people"].([]any)[0])
			first["keyid"] = s["keyids"].([]any)[0]
			q["people"] = []any{first}
			q["require"] = map[string]any{first["class"].(string): number(1)}
			q["meaning"] = map[string]any{}
		}),
		forge("another name for the bins", reason.Profile, "pump-9", func(signed map[string]any) {
			obj(signed, "delegations", "succinct_roles")["name_prefix"] = "gw-100.bin"
		}),
		forge("a target beside the bins", reason.Profile, "pump-9", func(signed map[string]any) {
			signed["targets"] = map[string]any{binned: map[string]any{"length": number(1), "hashes": map[string]any{"sha256": fmt.Sprintf("%064x", 1)}}}
		}),
		{name: "a bin by the online key", want: reason.Threshold, stores: online, do: func(d *metadatatest.Deployment, s *server) {
			next(d, theBin, nil, "online")
		}},
		{name: "a target in the wrong bin", want: reason.Profile, stores: online, do: func(d *metadatatest.Deployment, s *server) {
			next(d, theBin, func(signed map[string]any) {
				targets := obj(signed, "targets")
				document(signed, binned)["version"] = "1.0.1"
				targets["pump-9/1.0.1/gw.img"] = targets[binned]
				delete(targets, binned)
			})
		}},
	}
	for i := range attacks {
		attacks[i].target = binned
	}
	runAttacks(t, attacks)
}

func TestAttacksOnStopList(t *testing.T) {
	const role = "gw-100.stop"
	runAttacks(t, []attack{
		forge("by the online key", reason.Threshold, role, nil, "online"),
		forge("of another product", reason.ScopeMismatch, role, func(signed map[string]any) {
			signed[metadata.ScopeField] = "acme/image/pump-9.stop"
		}),
		forge("names firmware", reason.Profile, role, func(signed map[string]any) {
			signed["targets"] = map[string]any{firmware: map[string]any{"length": number(1), "hashes": map[string]any{"sha256": fmt.Sprintf("%064x", 1)}}}
		}),
		forge("without its list", reason.Profile, role, func(signed map[string]any) { delete(signed, metadata.StopField) }),
		{name: "a stopped target", want: reason.Stopped, stores: nil, target: stopped, do: func(*metadatatest.Deployment, *server) {}},
		{name: "a target that is stopped now", want: reason.Stopped, stores: []string{"gw-100.stop", "snapshot", "timestamp"}, do: func(d *metadatatest.Deployment, s *server) {
			d.Stop(firmware, "leaks too")
		}},
		{name: "withheld", want: reason.StopListMissing, stores: online, do: func(d *metadatatest.Deployment, s *server) {
			d.Stop(firmware, "leaks too")
			s.swap[path(d, role)] = nil
		}},
		{name: "an older one in its place", want: reason.LengthMismatch, stores: online, do: func(d *metadatatest.Deployment, s *server) {
			old := d.File(metadata.Image, role)
			d.Stop(firmware, "leaks too")
			s.swap[path(d, role)] = old
		}},
	})
}
