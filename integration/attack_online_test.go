package integration

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/countersign-ota/countersign/integration/thief"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// timestamp serves a timestamp changed by edit, one version ahead, signed with the stolen key.
func (l *liar) timestamp(edit func(signed map[string]any)) error {
	file, err := metadata.ParseTimestamp(l.Get("timestamp.json"), metadata.Profile)
	if err != nil {
		return err
	}
	return l.online("timestamp.json", file.Canonical(), file.Signed.Version, edit)
}

func (l *liar) online(name string, canonical []byte, version int64, edit func(signed map[string]any)) error {
	changed, err := thief.Edit(canonical, func(signed map[string]any) {
		signed["version"] = version + 1
		edit(signed)
	})
	if err != nil {
		return err
	}
	online, err := l.OnlineKey()
	if err != nil {
		return err
	}
	file, err := thief.Sign(changed, online)
	if err != nil {
		return err
	}
	l.Put(name, file)
	return nil
}

// timestampText serves a timestamp whose bytes were changed after it was signed.
func (l *liar) timestampText(edit func(string) string) error {
	if err := l.timestamp(func(map[string]any) {}); err != nil {
		return err
	}
	l.Put("timestamp.json", []byte(edit(string(l.Get("timestamp.json")))))
	return nil
}

func replace(old, new string) func(string) string {
	return func(s string) string {
		changed := strings.Replace(s, old, new, 1)
		if changed == s {
			panic(fmt.Sprintf("integration: %q is not there", old))
		}
		return changed
	}
}

var timestampAttacks = []attack{
	{"not JSON", func(l *liar) error { l.Put("timestamp.json", []byte("<html>")); return nil }, reason.Malformed},
	{"cut short", func(l *liar) error { return l.timestampText(func(s string) string { return s[:len(s)/2] }) }, reason.Malformed},
	{"nothing but spaces without end", func(l *liar) error {
		l.Put("timestamp.json", bytes.Repeat([]byte(" "), 32<<20))
		return nil
	}, reason.TooLarge},
	{"nested without end", func(l *liar) error {
		l.Put("timestamp.json", []byte(`{"signed":`+strings.Repeat("[", 8000)))
		return nil
	}, reason.Malformed},
	{"nested deeply where anything may stand", func(l *liar) error {
		return l.timestampText(replace(`"signed":{`, `"signed":{"x":`+strings.Repeat("[", 40)+strings.Repeat("]", 40)+`,`))
	}, reason.TooDeep},
	{"a second Signed beside the genuine one", func(l *liar) error {
		return l.timestampText(replace(`"signed":{`, `"Signed":{},"signed":{`))
	}, reason.FoldedName},
	{"a long s that folds", func(l *liar) error {
		return l.timestampText(replace(`"signatures":[`, `"ſignatures":[],"signatures":[`))
	}, reason.FoldedName},
	{"signed twice named", func(l *liar) error {
		return l.timestampText(replace(`"version":`, `"version":1,"version":`))
	}, reason.DuplicateName},
	{"a member beside signed", func(l *liar) error {
		return l.timestampText(replace(`"signed":{`, `"extra":1,"signed":{`))
	}, reason.UnknownMember},
	{"null meta", func(l *liar) error { return l.timestamp(func(s map[string]any) { s["meta"] = nil }) }, reason.Null},
	{"no snapshot in meta", func(l *liar) error {
		return l.timestamp(func(s map[string]any) { delete(object(s, "meta"), "snapshot.json") })
	}, reason.Malformed},
	{"null snapshot in meta", func(l *liar) error {
		return l.timestamp(func(s map[string]any) { object(s, "meta")["snapshot.json"] = nil })
	}, reason.Null},
	{"version a fraction", func(l *liar) error { return l.timestampText(replace(`"version":`, `"version":1.5,"x":`)) }, reason.NotInteger},
	{"version beyond 2^53", func(l *liar) error {
		return l.timestampText(replace(`"version":`, `"version":9007199254740993,"x":`))
	}, reason.IntegerRange},
	{"version zero", func(l *liar) error { return l.timestampText(replace(`"version":`, `"version":0,"x":`)) }, reason.IntegerRange},
	{"expires with a fraction of a second", func(l *liar) error {
		return l.timestamp(func(s map[string]any) { s["expires"] = strings.Replace(s["expires"].(string), "Z", ".5Z", 1) })
	}, reason.NotCanonical},
	{"spec_version 2", func(l *liar) error { return l.timestamp(func(s map[string]any) { s["spec_version"] = "2.0.0" }) }, reason.Malformed},
	{"of another type", func(l *liar) error {
		snap := l.Get(fmt.Sprintf("%d.snapshot.json", l.snapshotVersion()))
		l.Put("timestamp.json", snap)
		return nil
	}, reason.Malformed},
	{"two signatures by one key", func(l *liar) error {
		return l.timestampText(func(s string) string {
			_, rest, _ := strings.Cut(s, `"signatures":[`)
			one, _, _ := strings.Cut(rest, `]`)
			return strings.Replace(s, one, one+","+one, 1)
		})
	}, reason.TooManySignatures},
	{"signatures by the thousand", func(l *liar) error {
		return l.timestampText(func(s string) string {
			var more strings.Builder
			for i := range 65 {
				fmt.Fprintf(&more, `{"keyid":"%064x","sig":"00"},`, i)
			}
			return strings.Replace(s, `"signatures":[`, `"signatures":[`+more.String(), 1)
		})
	}, reason.TooManySignatures},
	{"no signature", func(l *liar) error {
		return l.timestampText(func(s string) string {
			_, rest, _ := strings.Cut(s, `"signatures":[`)
			one, _, _ := strings.Cut(rest, `]`)
			return strings.Replace(s, one, "", 1)
		})
	}, reason.Threshold},
	{"a byte changed after signing", func(l *liar) error {
		return l.timestampText(func(s string) string { return strings.Replace(s, `"expires":"20`, `"expires":"21`, 1) })
	}, reason.Threshold},
	{"without scope", func(l *liar) error {
		return l.timestamp(func(s map[string]any) { delete(s, metadata.ScopeField) })
	}, reason.ScopeMissing},
	{"of the director", func(l *liar) error {
		return l.timestamp(func(s map[string]any) { s[metadata.ScopeField] = "acme/director/timestamp" })
	}, reason.ScopeMismatch},
	{"of another deployment", func(l *liar) error {
		return l.timestamp(func(s map[string]any) { s[metadata.ScopeField] = "other/image/timestamp" })
	}, reason.ScopeMismatch},
	{"expired", func(l *liar) error {
		return l.timestamp(func(s map[string]any) {
			s["expires"] = time.Now().UTC().Add(-time.Hour).Format("2006-01-02T15:04:05Z")
		})
	}, reason.Expired},
	{"older than the one seen", func(l *liar) error { return l.timestamp(func(s map[string]any) { s["version"] = 1 }) }, reason.Rollback},
	{"snapshot older than the one seen", func(l *liar) error {
		return l.timestamp(func(s map[string]any) { object(s, "meta", "snapshot.json")["version"] = 1 })
	}, reason.Rollback},
}

// snapshotVersion is that of the stolen snapshot.
func (l *liar) snapshotVersion() int64 {
	ts, err := metadata.ParseTimestamp(l.Get("timestamp.json"), metadata.Profile)
	if err != nil {
		panic(err)
	}
	return ts.Signed.Meta["snapshot.json"].Version
}

// snapshot serves a snapshot changed by edit, under a timestamp that lists it.
func (l *liar) snapshot(edit func(signed map[string]any)) error {
	old, err := metadata.ParseSnapshot(l.Get(fmt.Sprintf("%d.snapshot.json", l.snapshotVersion())), metadata.Profile)
	if err != nil {
		return err
	}
	name := fmt.Sprintf("%d.snapshot.json", old.Signed.Version+1)
	if err := l.online(name, old.Canonical(), old.Signed.Version, edit); err != nil {
		return err
	}
	return l.list(old.Signed.Version+1, l.Get(name))
}

// list serves a timestamp that names a snapshot.
func (l *liar) list(version int64, file []byte) error {
	m := thief.MetaOf(version, file)
	return l.timestamp(func(s map[string]any) {
		object(s, "meta")["snapshot.json"] = map[string]any{
			"version": version, "length": m.Length, "hashes": map[string]any{"sha256": m.Hashes["sha256"].String()},
		}
	})
}

var snapshotAttacks = []attack{
	{"other bytes than the timestamp names", func(l *liar) error {
		if err := l.Publish(func(map[string]*tuf.MetaFiles) {}); err != nil {
			return err
		}
		name := fmt.Sprintf("%d.snapshot.json", l.snapshotVersion())
		file := l.Get(name)
		l.Put(name, bytes.Replace(file, []byte(`"expires":"20`), []byte(`"expires":"21`), 1))
		return nil
	}, reason.HashMismatch},
	{"longer than the timestamp says", func(l *liar) error {
		if err := l.Publish(func(map[string]*tuf.MetaFiles) {}); err != nil {
			return err
		}
		name := fmt.Sprintf("%d.snapshot.json", l.snapshotVersion())
		l.Put(name, append(bytes.Clone(l.Get(name)), ' '))
		return nil
	}, reason.TooLarge},
	{"another version than the timestamp names", func(l *liar) error {
		return l.snapshot(func(s map[string]any) { s["version"] = s["version"].(int64) + 5 })
	}, reason.Malformed},
	{"drops a role", func(l *liar) error {
		return l.snapshot(func(s map[string]any) { delete(object(s, "meta"), "gw-100.json") })
	}, reason.Rollback},
	{"an older product", func(l *liar) error {
		return l.snapshot(func(s map[string]any) { object(s, "meta", "gw-100.json")["version"] = 1 })
	}, reason.Rollback},
	{"an older stop list", func(l *liar) error {
		return l.snapshot(func(s map[string]any) { delete(object(s, "meta"), "gw-100.stop.json") })
	}, reason.Rollback},
	{"null entry", func(l *liar) error {
		return l.snapshot(func(s map[string]any) { object(s, "meta")["gw-100.json"] = nil })
	}, reason.Null},
	{"entry without hash", func(l *liar) error {
		return l.snapshot(func(s map[string]any) { delete(object(s, "meta", "gw-100.json"), "hashes") })
	}, reason.Profile},
	{"without scope", func(l *liar) error {
		return l.snapshot(func(s map[string]any) { delete(s, metadata.ScopeField) })
	}, reason.ScopeMissing},
	{"scope of another role", func(l *liar) error {
		return l.snapshot(func(s map[string]any) { s[metadata.ScopeField] = "acme/image/timestamp" })
	}, reason.ScopeMismatch},
	{"expired", func(l *liar) error {
		return l.snapshot(func(s map[string]any) {
			s["expires"] = time.Now().UTC().Add(-time.Hour).Format("2006-01-02T15:04:05Z")
		})
	}, reason.Expired},
	{"signed by an outsider", func(l *liar) error {
		old, err := metadata.ParseSnapshot(l.Get(fmt.Sprintf("%d.snapshot.json", l.snapshotVersion())), metadata.Profile)
		if err != nil {
			return err
		}
		changed, err := thief.Edit(old.Canonical(), func(s map[string]any) { s["version"] = old.Signed.Version + 1 })
		if err != nil {
			return err
		}
		file, err := thief.Sign(changed, l.wrong)
		if err != nil {
			return err
		}
		l.Put(fmt.Sprintf("%d.snapshot.json", old.Signed.Version+1), file)
		return l.list(old.Signed.Version+1, file)
	}, reason.Threshold},
	{"named and not there", func(l *liar) error { return l.list(l.snapshotVersion()+1, []byte("{}")) }, reason.Unreachable},
}
