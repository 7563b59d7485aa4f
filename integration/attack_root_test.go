package integration

import (
	"fmt"
	"strings"

	"github.com/countersign-ota/countersign/integration/thief"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// root serves root 2, changed by edit.
func root(edit func(l *liar, signed map[string]any), people ...string) func(*liar) error {
	return func(l *liar) error {
		one, err := metadata.ParseRoot(l.Get("1.root.json"), metadata.Profile)
		if err != nil {
			return err
		}
		canonical, err := thief.Edit(one.Canonical(), func(s map[string]any) {
			s["version"] = 2
			edit(l, s)
		})
		if err != nil {
			return err
		}
		file, err := thief.Sign(canonical, l.signers(people...)...)
		if err != nil {
			return err
		}
		l.Put("2.root.json", file)
		return nil
	}
}

var rootAttacks = []attack{
	{"signed by one holder", root(func(*liar, map[string]any) {}, "rivera"), reason.Threshold},
	{"signed by the thief's own keys, which it names", func(l *liar) error {
		mine, err := l.wrong.PublicKey()
		if err != nil {
			return err
		}
		key, err := metadata.NewKey(mine)
		if err != nil {
			return err
		}
		id, err := metadata.KeyID(key)
		if err != nil {
			return err
		}
		l.people = map[string]metadata.Signer{"rivera": l.wrong}
		return root(func(_ *liar, s map[string]any) {
			object(s, "keys")[id] = key
			object(s, "roles", "root")["keyids"] = []any{id}
			object(s, "roles", "root")["threshold"] = 1
		}, "rivera")(l)
	}, reason.Threshold},
	{"a version skipped", root(func(_ *liar, s map[string]any) { s["version"] = 3 }, "rivera", "chen"), reason.Rollback},
	{"the same version again", root(func(_ *liar, s map[string]any) { s["version"] = 1 }, "rivera", "chen"), reason.Rollback},
	{"without scope", root(func(_ *liar, s map[string]any) { delete(s, metadata.ScopeField) }, "rivera", "chen"), reason.RootWithoutScope},
	{"of another deployment", root(func(_ *liar, s map[string]any) { s[metadata.ScopeField] = "beta/image/root" }, "rivera", "chen"), reason.ScopeMismatch},
	{"of the director", root(func(_ *liar, s map[string]any) { s[metadata.ScopeField] = "acme/director/root" }, "rivera", "chen"), reason.ScopeMismatch},
	{"without quorum", root(func(_ *liar, s map[string]any) { delete(s, metadata.QuorumField) }, "rivera", "chen"), reason.QuorumMissing},
	{"no spare holder", root(func(_ *liar, s map[string]any) {
		object(s, metadata.QuorumField, "root", "require")["holder"] = 3
		object(s, "roles", "root")["threshold"] = 3
	}, "rivera", "chen", "okafor"), reason.QuorumMalformed},
	{"a person's key for timestamps", root(func(_ *liar, s map[string]any) {
		for _, role := range []string{"timestamp", "snapshot"} {
			object(s, "roles", role)["keyids"] = object(s, "roles", "root")["keyids"].([]any)[:1]
		}
	}, "rivera", "chen"), reason.KeyTwice},
	{"two keys for timestamps", root(func(_ *liar, s map[string]any) {
		object(s, "roles", "timestamp")["keyids"] = append(object(s, "roles", "timestamp")["keyids"].([]any), object(s, "roles", "root")["keyids"].([]any)[0])
	}, "rivera", "chen"), reason.QuorumMissing},
	{"consistent_snapshot off", root(func(_ *liar, s map[string]any) { s["consistent_snapshot"] = false }, "rivera", "chen"), reason.Profile},
	{"null roles", root(func(_ *liar, s map[string]any) { s["roles"] = nil }, "rivera", "chen"), reason.Null},
	{"an RSA key", root(func(_ *liar, s map[string]any) {
		for _, k := range object(s, "keys") {
			k.(map[string]any)["keytype"] = "rsa"
			break
		}
	}, "rivera", "chen"), reason.KeyMalformed},
	{"a fourth top-level role missing", root(func(_ *liar, s map[string]any) { delete(object(s, "roles"), "targets") }, "rivera", "chen"), reason.Malformed},
	{"megabytes of root", func(l *liar) error {
		l.Put("2.root.json", []byte(strings.Repeat(" ", 3<<20)))
		return nil
	}, reason.TooLarge},
	{"a page that says not found with 200", func(l *liar) error {
		l.Put("2.root.json", []byte("<html>404</html>"))
		return nil
	}, reason.Malformed},
}

// byteAttacks change genuine role files as a broken disk or proxy would.
var byteAttacks = func() []attack {
	var all []attack
	for _, role := range []string{metadata.Targets, "gw-100", "gw-100.stop"} {
		all = append(all,
			attack{role + " empty", func(l *liar) error { return l.text(role, func(string) string { return "" }) }, reason.IntegerRange},
			attack{role + " cut short", func(l *liar) error { return l.text(role, func(s string) string { return s[:len(s)-40] }) }, reason.Malformed},
			attack{role + " zeroed", func(l *liar) error {
				return l.text(role, func(s string) string { return strings.Repeat("\x00", len(s)) })
			}, reason.Malformed},
			attack{role + " with a byte changed inside what is signed", func(l *liar) error {
				return l.text(role, replace(`"spec_version":"1.0.`, `"spec_version":"1.1.`))
			}, reason.Threshold},
			attack{role + " served as another role", func(l *liar) error {
				other := map[string]string{metadata.Targets: "gw-100", "gw-100": "gw-100.stop", "gw-100.stop": "gw-100"}[role]
				f, err := l.Role(other)
				if err != nil {
					return err
				}
				return l.Replace(role, f.Bytes())
			}, reason.ScopeMismatch},
		)
	}
	return all
}()

// image publishes a genuine release 2 of which a mirror changes the bytes.
func mirrored(change func([]byte) []byte) func(*liar) error {
	return func(l *liar) error {
		if err := release2(func(_, _ map[string]any) {})(l); err != nil {
			return err
		}
		f, err := l.Role("gw-100")
		if err != nil {
			return err
		}
		t := f.Signed.Targets["gw-100/2.0.0/two.img"]
		name := fmt.Sprintf("targets/gw-100/2.0.0/%s.two.img", t.Hashes["sha256"])
		data := change(l.Get(name))
		if data == nil {
			l.Remove(name)
			return nil
		}
		l.Put(name, data)
		return nil
	}
}

var imageAttacks = []attack{
	{"a byte changed", mirrored(func(b []byte) []byte { b = append([]byte(nil), b...); b[7] ^= 1; return b }), reason.HashMismatch},
	{"longer", mirrored(func(b []byte) []byte { return append(append([]byte(nil), b...), "and more"...) }), reason.LengthMismatch},
	{"shorter", mirrored(func(b []byte) []byte { return b[:len(b)-3] }), reason.LengthMismatch},
	{"not there", mirrored(func([]byte) []byte { return nil }), reason.NotFound},
}
