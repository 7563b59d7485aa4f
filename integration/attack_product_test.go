package integration

import (
	"crypto/sha256"
	"fmt"
	"strings"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// product has engineering and quality sign a product file that they never should.
func product(edit func(l *liar, signed map[string]any)) func(*liar) error {
	return func(l *liar) error {
		return l.role("gw-100", func(s map[string]any) { edit(l, s) }, l.signers("rivera", "chen")...)
	}
}

// target edits the one target of the product file, with its firmware document.
func target(edit func(target, firmware map[string]any)) func(*liar) error {
	return product(func(_ *liar, s map[string]any) {
		t := object(s, "targets", "gw-100/1.0.0/one.img")
		edit(t, object(t, "custom", "countersign"))
	})
}

// release2 adds a target of counter 2 as a genuine release would, then edits it.
func release2(edit func(target, firmware map[string]any)) func(*liar) error {
	return product(func(l *liar, s map[string]any) {
		bytes := []byte("release two, as nobody should sign it")
		sum := sha256.Sum256(bytes)
		fw := map[string]any{}
		for k, v := range object(s, "targets", "gw-100/1.0.0/one.img", "custom", "countersign") {
			fw[k] = v
		}
		fw["version"], fw["counter"] = "2.0.0", 2
		t := map[string]any{"length": len(bytes), "hashes": map[string]any{"sha256": fmt.Sprintf("%x", sum)}, "custom": map[string]any{"countersign": fw}}
		edit(t, fw)
		object(s, "targets")["gw-100/2.0.0/two.img"] = t
		object(s, metadata.HighField)["counter"] = 2
		l.Put(fmt.Sprintf("targets/gw-100/2.0.0/%x.two.img", sum), bytes)
	})
}

var productAttacks = []attack{
	{"signed by nobody", func(l *liar) error { return l.role("gw-100", func(map[string]any) {}) }, reason.Threshold},
	{"signed by one person", func(l *liar) error {
		return l.role("gw-100", func(map[string]any) {}, l.signers("rivera")...)
	}, reason.Threshold},
	{"signed by two people of one class", func(l *liar) error {
		return l.role("gw-100", func(map[string]any) {}, l.signers("chen", "okafor")...)
	}, reason.QuorumNotMet},
	{"signed by an outsider and one person", func(l *liar) error {
		return l.role("gw-100", func(map[string]any) {}, append(l.signers("rivera"), l.wrong)...)
	}, reason.Threshold},
	{"signed with the stolen online key", func(l *liar) error {
		online, err := l.OnlineKey()
		if err != nil {
			return err
		}
		return l.role("gw-100", func(map[string]any) {}, online)
	}, reason.Threshold},
	{"without scope", product(func(_ *liar, s map[string]any) { delete(s, metadata.ScopeField) }), reason.ScopeMissing},
	{"of another product", product(func(_ *liar, s map[string]any) { s[metadata.ScopeField] = "acme/image/pump-9" }), reason.ScopeMismatch},
	{"of another deployment", product(func(_ *liar, s map[string]any) { s[metadata.ScopeField] = "beta/image/gw-100" }), reason.ScopeMismatch},
	{"of the director", product(func(_ *liar, s map[string]any) { s[metadata.ScopeField] = "acme/director/gw-100" }), reason.ScopeMismatch},
	{"expired", product(func(_ *liar, s map[string]any) { s["expires"] = "2026-01-01T00:00:00Z" }), reason.Expired},
	{"null target", product(func(_ *liar, s map[string]any) { object(s, "targets")["gw-100/1.0.0/one.img"] = nil }), reason.Null},
	{"null targets", product(func(_ *liar, s map[string]any) { s["targets"] = nil }), reason.Null},
	{"another version than the snapshot names", func(l *liar) error {
		return l.role("gw-100", func(s map[string]any) { s["version"] = 99 }, l.signers("rivera", "chen")...)
	}, reason.Malformed},
	{"longer than the snapshot says", func(l *liar) error {
		if err := l.text("gw-100", func(s string) string { return s }); err != nil {
			return err
		}
		old, err := l.Role("gw-100")
		if err != nil {
			return err
		}
		name := fmt.Sprintf("%d.gw-100.json", old.Signed.Version)
		l.Put(name, []byte(string(l.Get(name))+strings.Repeat(" ", 1<<20)))
		return nil
	}, reason.TooLarge},
	{"no high counter", product(func(_ *liar, s map[string]any) { delete(s, metadata.HighField) }), reason.Profile},
	{"high counter below a target's", release2(func(_, fw map[string]any) { fw["counter"] = 7 }), reason.Profile},
	{"sha512 alone", target(func(t, _ map[string]any) {
		t["hashes"] = map[string]any{"sha512": strings.Repeat("ab", 64)}
	}), reason.Profile},
	{"a second hash", target(func(t, _ map[string]any) { object(t, "hashes")["sha512"] = strings.Repeat("ab", 64) }), reason.Profile},
	{"upper-case hex", target(func(t, _ map[string]any) {
		object(t, "hashes")["sha256"] = strings.ToUpper(object(t, "hashes")["sha256"].(string))
	}), reason.NotCanonical},
	{"no firmware document", target(func(t, _ map[string]any) { delete(t, "custom") }), reason.Malformed},
	{"a float in the installer's arguments", func(l *liar) error {
		return l.text("gw-100", replace(`"installer_args":{}`, `"installer_args":{"x":0.5}`))
	}, reason.NotInteger},
	{"null in the document", target(func(_, fw map[string]any) { fw["floor"] = nil }), reason.Null},
	{"a folded name in the document", target(func(_, fw map[string]any) { fw["Counter"] = 99 }), reason.FoldedName},
	{"v 2", target(func(_, fw map[string]any) { fw["v"] = 2 }), reason.Malformed},
	{"counter zero", target(func(_, fw map[string]any) { fw["counter"] = 0 }), reason.IntegerRange},
	{"floor above its counter", target(func(_, fw map[string]any) { fw["floor"] = 5 }), reason.Floor},
	{"a document of another product", target(func(_, fw map[string]any) { fw["product"] = "pump-9" }), reason.ProductMismatch},
	{"a document of another version", target(func(_, fw map[string]any) { fw["version"] = "9.9.9" }), reason.ProductMismatch},
	{"a path of another product", product(func(_ *liar, s map[string]any) {
		ts := object(s, "targets")
		ts["pump-9/1.0.0/one.img"] = ts["gw-100/1.0.0/one.img"]
		delete(ts, "gw-100/1.0.0/one.img")
	}), reason.ProductMismatch},
	{"paths that fold", product(func(_ *liar, s map[string]any) {
		ts := object(s, "targets")
		ts["gw-100/1.0.0/ONE.img"] = ts["gw-100/1.0.0/one.img"]
	}), reason.PathFolds},
	{"one counter twice for a component and hardware", product(func(_ *liar, s map[string]any) {
		ts := object(s, "targets")
		ts["gw-100/1.0.0/other.img"] = ts["gw-100/1.0.0/one.img"]
	}), reason.CounterUsed},
	{"delegates onwards", product(func(l *liar, s map[string]any) {
		top, err := l.Role(metadata.Targets)
		if err != nil {
			panic(err)
		}
		s["delegations"] = top.Signed.Delegations
	}), reason.Profile},
	{"spread that this agent cannot measure yet", release2(func(_, fw map[string]any) { fw["spread_hours"] = 24 }), reason.Spread},
	{"another installer", release2(func(_, fw map[string]any) { fw["installer"] = "file" }), reason.Installer},
	{"a requirement that is not met", release2(func(_, fw map[string]any) {
		fw["requires"] = []any{map[string]any{"product": "pump-9", "min_counter": 3}}
	}), reason.Requires},
	{"a condition that does not hold", release2(func(_, fw map[string]any) {
		fw["conditions"] = map[string]any{"battery_percent_min": 100, "idle": true}
	}), reason.Gate},
}

// topTargets has two holders sign top-level targets that they never should.
func topTargets(edit func(signed map[string]any)) func(*liar) error {
	return func(l *liar) error {
		return l.role(metadata.Targets, edit, l.signers("rivera", "chen")...)
	}
}

// delegation edits the delegation to gw-100.
func delegation(edit func(role map[string]any)) func(*liar) error {
	return topTargets(func(s map[string]any) {
		for _, r := range object(s, "delegations")["roles"].([]any) {
			if role := r.(map[string]any); role["name"] == "gw-100" {
				edit(role)
			}
		}
	})
}

// quorum edits the quorum of gw-100.
func quorum(edit func(quorum map[string]any)) func(*liar) error {
	return delegation(func(role map[string]any) { edit(object(role, metadata.QuorumField)) })
}

func person(q map[string]any, i int) map[string]any { return q["people"].([]any)[i].(map[string]any) }

var targetsAttacks = []attack{
	{"signed by one holder", func(l *liar) error {
		return l.role(metadata.Targets, func(map[string]any) {}, l.signers("rivera")...)
	}, reason.Threshold},
	{"with a target of its own", topTargets(func(s map[string]any) {
		s["targets"] = map[string]any{"gw-100/1.0.0/x": map[string]any{"length": 1, "hashes": map[string]any{"sha256": strings.Repeat("ab", 32)}}}
	}), reason.Profile},
	{"paths that reach further", delegation(func(r map[string]any) { r["paths"] = []any{"*/*/*"} }), reason.Profile},
	{"not terminating", delegation(func(r map[string]any) { r["terminating"] = false }), reason.Profile},
	{"paths and path_hash_prefixes", delegation(func(r map[string]any) { r["path_hash_prefixes"] = []any{"00"} }), reason.Malformed},
	{"no quorum", delegation(func(r map[string]any) { delete(r, metadata.QuorumField) }), reason.QuorumMissing},
	{"no product policy", delegation(func(r map[string]any) { delete(r, metadata.ProductField) }), reason.Profile},
	{"threshold below what the classes require", delegation(func(r map[string]any) { r["threshold"] = 1 }), reason.QuorumMalformed},
	{"threshold zero", delegation(func(r map[string]any) { r["threshold"] = 0 }), reason.IntegerRange},
	{"a class that requires nobody", quorum(func(q map[string]any) { object(q, "require")["quality"] = 0 }), reason.QuorumMalformed},
	{"a class without people", quorum(func(q map[string]any) { object(q, "require")["legal"] = 1 }), reason.QuorumMalformed},
	{"a person of a class that is not required", quorum(func(q map[string]any) { person(q, 0)["class"] = "legal" }), reason.QuorumMalformed},
	{"one person twice", quorum(func(q map[string]any) { person(q, 1)["id"] = person(q, 0)["id"] }), reason.QuorumMalformed},
	{"one key for two people", quorum(func(q map[string]any) { person(q, 1)["keyid"] = person(q, 0)["keyid"] }), reason.KeyTwice},
	{"an unknown member in the quorum", quorum(func(q map[string]any) { q["unless"] = "monday" }), reason.UnknownMember},
	{"a reserved name for a person", quorum(func(q map[string]any) { person(q, 0)["id"] = "root" }), reason.QuorumMalformed},
	{"a key under another id", topTargets(func(s map[string]any) {
		keys := object(s, "delegations", "keys")
		for id, k := range keys {
			k.(map[string]any)["keyval"] = map[string]any{"public": strings.Repeat("ab", 32)}
			_ = id
			break
		}
	}), reason.KeyIDMismatch},
	{"an Ed25519 key of the wrong length", topTargets(func(s map[string]any) {
		for _, k := range object(s, "delegations", "keys") {
			k.(map[string]any)["keyval"] = map[string]any{"public": "abcd"}
			break
		}
	}), reason.KeyMalformed},
	{"a null key", topTargets(func(s map[string]any) {
		keys := object(s, "delegations", "keys")
		for id := range keys {
			keys[id] = nil
			break
		}
	}), reason.Null},
	{"a product without its stop role", topTargets(func(s map[string]any) {
		ds := object(s, "delegations")
		var rest []any
		for _, r := range ds["roles"].([]any) {
			if r.(map[string]any)["name"] != "gw-100.stop" {
				rest = append(rest, r)
			}
		}
		ds["roles"] = rest
	}), reason.Profile},
	{"without scope", topTargets(func(s map[string]any) { delete(s, metadata.ScopeField) }), reason.ScopeMissing},
	{"succinct_roles at the top", topTargets(func(s map[string]any) {
		ds := object(s, "delegations")
		ids := ds["roles"].([]any)[0].(map[string]any)["keyids"]
		delete(ds, "roles")
		ds["succinct_roles"] = map[string]any{"keyids": ids, "threshold": 2, "bit_length": 4, "name_prefix": "gw-100.bin"}
	}), reason.Profile},
	{"expired", topTargets(func(s map[string]any) { s["expires"] = "2026-01-01T00:00:00Z" }), reason.Expired},
}

// stop has somebody sign a stop list.
func stop(edit func(signed map[string]any), people ...string) func(*liar) error {
	return func(l *liar) error { return l.role("gw-100.stop", edit, l.signers(people...)...) }
}

var stopAttacks = []attack{
	{"signed by nobody", stop(func(map[string]any) {}), reason.Threshold},
	{"with a target", stop(func(s map[string]any) {
		s["targets"] = map[string]any{"gw-100/1.0.0/x": map[string]any{"length": 1, "hashes": map[string]any{"sha256": strings.Repeat("ab", 32)}}}
	}, "rivera"), reason.Profile},
	{"an entry that is no entry", stop(func(s map[string]any) { s[metadata.StopField] = []any{map[string]any{"path": "x"}} }, "rivera"), reason.Malformed},
	{"scope of the product", stop(func(s map[string]any) { s[metadata.ScopeField] = "acme/image/gw-100" }, "rivera"), reason.ScopeMismatch},
	{"withheld", func(l *liar) error {
		stolen, err := l.Role("gw-100.stop")
		if err != nil {
			return err
		}
		return l.Publish(func(meta map[string]*tuf.MetaFiles) {
			m := *meta["gw-100.stop.json"]
			m.Version = stolen.Signed.Version + 1
			meta["gw-100.stop.json"] = &m
		})
	}, reason.StopListMissing},
}
