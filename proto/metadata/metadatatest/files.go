package metadatatest

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"strings"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/countersign-ota/countersign/proto/metadata"
)

// Files returns what the image repository serves in the TUF layout with consistent snapshots: every
// version of every role that was published, timestamp.json, and images and evidence under
// `targets/<product>/<version>/<sha256>.<file>`. The map is a copy: keep it to replay old metadata.
func (d *Deployment) Files() map[string][]byte { return maps.Clone(d.files[metadata.Image]) }

// DirectorFiles returns the director's root chain.
func (d *Deployment) DirectorFiles() map[string][]byte {
	return maps.Clone(d.files[metadata.Director])
}

// File returns the newest published file of a role, nil if there is none.
func (d *Deployment) File(r metadata.Repository, role string) []byte {
	return d.current[name{r, role}]
}

// Root returns version v of a root.
func (d *Deployment) Root(r metadata.Repository, v int64) []byte {
	return d.files[r][fmt.Sprintf("%d.root.json", v)]
}

// Version returns the version of a role's newest file.
func (d *Deployment) Version(r metadata.Repository, role string) int64 {
	d.t.Helper()
	switch role {
	case metadata.Root:
		return parse[metadata.RootRole](d, r, role).Signed.Version
	case metadata.Timestamp:
		return parse[metadata.TimestampRole](d, r, role).Signed.Version
	case metadata.Snapshot:
		return parse[metadata.SnapshotRole](d, r, role).Signed.Version
	}
	return parse[metadata.TargetsRole](d, r, role).Signed.Version
}

// Publish signs the next snapshot and timestamp over the newest files. All methods that change a role
// end with it; call it alone for an idle re-signing.
func (d *Deployment) Publish() {
	d.t.Helper()
	if d.frozen {
		return
	}
	d.publishSnapshot(nil)
	d.publishTimestamp(nil)
}

// publishSnapshot lists all roles but root and the online ones; edit may change the signed part.
func (d *Deployment) publishSnapshot(edit func(map[string]any)) {
	d.t.Helper()
	s := tuf.Snapshot(d.Now.Add(snapshotLife)).Signed
	s.UnrecognizedFields = d.scope(metadata.Image, metadata.Snapshot)
	s.Version = d.nextVersion(metadata.Snapshot)
	s.Meta = map[string]*tuf.MetaFiles{}
	for n, data := range d.current {
		switch n.role {
		case metadata.Root, metadata.Snapshot, metadata.Timestamp:
		default:
			s.Meta[n.role+".json"] = metaOf(data, d.claimedVersion(data))
		}
	}
	d.storeEdited(metadata.Snapshot, s, edit)
}

func (d *Deployment) publishTimestamp(edit func(map[string]any)) {
	d.t.Helper()
	s := tuf.Timestamp(d.Now.Add(timeLife)).Signed
	s.UnrecognizedFields = d.scope(metadata.Image, metadata.Timestamp)
	s.Version = d.nextVersion(metadata.Timestamp)
	snapshot := d.current[name{metadata.Image, metadata.Snapshot}]
	s.Meta = map[string]*tuf.MetaFiles{"snapshot.json": metaOf(snapshot, d.claimedVersion(snapshot))}
	d.storeEdited(metadata.Timestamp, s, edit)
}

func (d *Deployment) storeEdited(role string, signed any, edit func(map[string]any)) {
	d.t.Helper()
	m := toMap(d.t, signed)
	if edit != nil {
		edit(m)
	}
	d.put(metadata.Image, role, sign(d.t, role, m, []*Key{d.Online(metadata.Image)}), d.claimed(m))
}

func (d *Deployment) nextVersion(role string) int64 {
	if data := d.current[name{metadata.Image, role}]; data != nil {
		return d.claimedVersion(data) + 1
	}
	return 1
}

func metaOf(data []byte, version int64) *tuf.MetaFiles {
	sum := sha256.Sum256(data)
	return &tuf.MetaFiles{Version: version, Length: int64(len(data)), Hashes: tuf.Hashes{"sha256": sum[:]}}
}

// put makes data the newest file of a role and serves it.
func (d *Deployment) put(r metadata.Repository, role string, data []byte, version int64) {
	d.current[name{r, role}] = data
	file := fmt.Sprintf("%d.%s.json", version, role)
	if role == metadata.Timestamp {
		file = "timestamp.json"
	}
	d.files[r][file] = data
}

// putBlob serves an image or an evidence file.
func (d *Deployment) putBlob(path string, data []byte) {
	i := strings.LastIndexByte(path, '/')
	d.files[metadata.Image][fmt.Sprintf("targets/%s/%x.%s", path[:i], sha256.Sum256(data), path[i+1:])] = data
}
