package metadatatest

import (
	"fmt"
	"time"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/countersign-ota/countersign/proto/metadata"
)

// change writes the next version of a role with other content, signed by all its people; the caller
// publishes.
func change[T tuf.Roles](d *Deployment, r metadata.Repository, role string, edit func(*T)) {
	d.t.Helper()
	f := parse[T](d, r, role)
	signed := f.Signed
	switch s := any(&signed).(type) {
	case *metadata.TargetsRole:
		s.Version++
		s.Expires = d.Now.Add(offlineLife)
	case *metadata.RootRole:
		s.Version++
		s.Expires = d.Now.Add(offlineLife)
	}
	edit(&signed)
	store(d, r, role, signed, d.signers(r, role))
}

// Change writes the next version of a targets role (targets, a product, a stop list, a bin) with other
// content, signed by all its people, and publishes.
func (d *Deployment) Change(role string, edit func(*metadata.TargetsRole)) {
	d.t.Helper()
	change(d, metadata.Image, role, edit)
	d.Publish()
}

// Edit changes the newest file of an image role as JSON (numbers are json.Number), signs it again with
// the role's keys and publishes snapshot and timestamp that name it, so that only what was edited is
// wrong. The version stays unless edit changes it. With people, only these sign: none of them need be
// of the role.
func (d *Deployment) Edit(role string, edit func(signed map[string]any), people ...string) {
	d.t.Helper()
	switch role {
	case metadata.Snapshot:
		d.publishSnapshot(edit)
		d.publishTimestamp(nil)
		return
	case metadata.Timestamp:
		d.publishTimestamp(edit)
		return
	}
	file := decode(d.t, d.current[name{metadata.Image, role}])
	signed := file["signed"].(map[string]any)
	if edit != nil {
		edit(signed)
	}
	d.put(metadata.Image, role, sign(d.t, role, signed, d.by(role, people)), d.claimed(signed))
	d.Publish()
}

func (d *Deployment) by(role string, people []string) []*Key {
	d.t.Helper()
	if people == nil {
		return d.signers(metadata.Image, role)
	}
	var keys []*Key
	for _, who := range people {
		keys = append(keys, d.Key(who, metadata.Image))
	}
	return keys
}

// SignedBy signs the newest file of an image role again with the keys of these people only ("online"
// for the online key: what a thief of the server can do), and publishes.
func (d *Deployment) SignedBy(role string, people ...string) {
	d.t.Helper()
	d.Edit(role, nil, append([]string{}, people...)...)
}

// Replace serves other bytes as the newest file of an image role. Unless the role is snapshot or
// timestamp, both are published anew and name these bytes.
func (d *Deployment) Replace(role string, edit func(file []byte) []byte) {
	d.t.Helper()
	version := d.claimedVersion(d.current[name{metadata.Image, role}])
	d.put(metadata.Image, role, edit(append([]byte{}, d.current[name{metadata.Image, role}]...)), version)
	switch role {
	case metadata.Timestamp, metadata.Root:
	case metadata.Snapshot:
		d.publishTimestamp(nil)
	default:
		d.Publish()
	}
}

// Expire signs the newest file of an image role again with another expiry.
func (d *Deployment) Expire(role string, at time.Time) {
	d.t.Helper()
	d.Edit(role, func(signed map[string]any) { signed["expires"] = at.UTC().Format(time.RFC3339) })
}

// Corrupt serves other bytes under a path of Files, and changes nothing else.
func (d *Deployment) Corrupt(path string, edit func([]byte) []byte) {
	d.t.Helper()
	data, ok := d.files[metadata.Image][path]
	if !ok {
		d.t.Fatalf("metadatatest: no file %s", path)
	}
	d.files[metadata.Image][path] = edit(append([]byte{}, data...))
}

// RotateRoot publishes the next root, changed by edit (which may be nil), signed by the holders of the
// old and of the new one.
func (d *Deployment) RotateRoot(r metadata.Repository, edit func(*metadata.RootRole)) {
	d.t.Helper()
	old := parse[metadata.RootRole](d, r, metadata.Root)
	signed := parse[metadata.RootRole](d, r, metadata.Root).Signed
	signed.Version++
	signed.Expires = d.Now.Add(offlineLife)
	if edit != nil {
		edit(&signed)
	}
	store(d, r, metadata.Root, signed, append(d.signersOfRoot(&old.Signed), d.signersOfRoot(&signed)...))
}

// Hold replaces the holders in the next root of a repository: other people, or how many must sign.
func (d *Deployment) Hold(r metadata.Repository, need int, holders ...string) {
	d.t.Helper()
	d.need, d.holders = need, holders
	next := d.newRoot(r)
	d.RotateRoot(r, func(s *metadata.RootRole) {
		s.Keys, s.Roles = next.Keys, next.Roles
		s.UnrecognizedFields[metadata.QuorumField] = next.UnrecognizedFields[metadata.QuorumField]
	})
	if r == metadata.Image {
		d.Edit(metadata.Targets, func(signed map[string]any) { signed["version"] = d.Version(r, metadata.Targets) + 1 })
	}
}

// RotateOnline gives both online roles of the next root another key, named by who, and publishes with it.
func (d *Deployment) RotateOnline(r metadata.Repository, who string) {
	d.t.Helper()
	d.online[r] = who
	next := d.newRoot(r)
	d.RotateRoot(r, func(s *metadata.RootRole) { s.Keys, s.Roles = next.Keys, next.Roles })
	if r == metadata.Image {
		d.Publish()
	}
}

// Freeze stops publication: changes of roles are signed and stored, and snapshot and timestamp go on
// naming the old ones, until Thaw publishes.
func (d *Deployment) Freeze() { d.frozen = true }

// Thaw ends Freeze and publishes.
func (d *Deployment) Thaw() {
	d.t.Helper()
	d.frozen = false
	d.Publish()
}

// RootPath is the path of version v of a root in the TUF layout.
func RootPath(v int64) string { return fmt.Sprintf("%d.root.json", v) }
