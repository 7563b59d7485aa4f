package publish

import (
	"context"
	"encoding/hex"
	"maps"
	"slices"
	"time"

	"github.com/sigstore/sigstore/pkg/signature"
	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/repository/internal/store"
	"github.com/countersign-ota/countersign/signer/event"
)

// Lifetimes of the online roles (DESIGN 1.5).
const (
	timestampLife = 7 * 24 * time.Hour
	snapshotLife  = 30 * 24 * time.Hour
	// A timestamp is made anew each day, a snapshot when half of its life is over.
	timestampEvery = 24 * time.Hour
	snapshotEvery  = snapshotLife / 2
)

// onlineKeys are the two keys that sign by themselves.
type onlineKeys struct {
	own   event.OnlineKeys
	image signature.Signer
}

func newOnlineKeys(c Config) (onlineKeys, error) {
	var k onlineKeys
	var err error
	if k.own.Image, err = metadata.NewKey(c.ImageKey.Public()); err != nil {
		return onlineKeys{}, reason.Wrap(err, "online image key")
	}
	if k.own.Director, err = metadata.NewKey(c.DirectorKey.Public()); err != nil {
		return onlineKeys{}, reason.Wrap(err, "online director key")
	}
	a, err := metadata.RawKey(k.own.Image)
	if err != nil {
		return onlineKeys{}, err
	}
	b, err := metadata.RawKey(k.own.Director)
	if err != nil {
		return onlineKeys{}, err
	}
	if a == b {
		return onlineKeys{}, reason.Errorf(reason.KeyTwice, "the online keys of image and director are one key")
	}
	for _, key := range []*metadata.Key{k.own.Image, k.own.Director} {
		if metadata.ExampleKey(key) {
			return onlineKeys{}, reason.Errorf(reason.KeyExample, "an online key is one of keys-example, which everybody can sign with")
		}
	}
	for _, h := range c.TLS {
		k.own.TLS = append(k.own.TLS, hex.EncodeToString(h[:]))
	}
	slices.Sort(k.own.TLS)
	k.image = c.ImageKey
	return k, nil
}

// roleFile is a role file that the server made or is about to publish.
type roleFile struct {
	role    string
	version int64
	data    []byte
	digest  [32]byte
	expires time.Time
}

// inForce is what the online roles are made from.
type inForce struct {
	// root is nil before there is one.
	root *metadata.File[metadata.RootRole]
	// snapshot is empty before there is one; meta is what it names.
	snapshot  roleFile
	meta      map[string]*tuf.MetaFiles
	timestamp int64
	// unsigned says that meta is what the snapshot should name, and that it does not yet.
	unsigned bool
}

// parsed keeps what was read last of the files that every publication needs.
type parsed struct {
	file *metadata.File[metadata.RootRole]
	// snapshot is the digest of the snapshot that names meta, which nobody changes.
	snapshot string
	meta     map[string]*tuf.MetaFiles
}

// root returns the kept root if it has this digest.
func (p *parsed) root(digest []byte) *metadata.File[metadata.RootRole] {
	if p.file == nil {
		return nil
	}
	if d := p.file.Digest(); string(d[:]) != string(digest) {
		return nil
	}
	return p.file
}

// current reads what is in force; the caller has the turn.
func (p *Publisher) current(ctx context.Context) (c inForce, err error) {
	err = p.Store.View(ctx, func(v store.View) error {
		c = inForce{}
		_, root, err := v.Current(metadata.Image, metadata.Root)
		if err != nil {
			return missing(err)
		}
		if c.root = p.parsed.root(root.GetDigest()); c.root == nil {
			if c.root, err = metadata.ParseRoot(root.GetData(), metadata.Profile); err != nil {
				return err
			}
			p.parsed.file = c.root
		}
		version, snapshot, err := v.Current(metadata.Image, metadata.Snapshot)
		if err != nil {
			return missing(err)
		}
		c.snapshot = roleFile{
			role: metadata.Snapshot, version: version, data: snapshot.GetData(), expires: time.Unix(snapshot.GetExpires(), 0),
		}
		if c.meta = p.parsed.meta; string(snapshot.GetDigest()) != p.parsed.snapshot {
			s, err := metadata.ParseSnapshot(snapshot.GetData(), metadata.Profile)
			if err != nil {
				return err
			}
			c.meta = s.Signed.Meta
			p.parsed.meta, p.parsed.snapshot = c.meta, string(snapshot.GetDigest())
		}
		unsigned, err := v.Meta(store.MetaUnsigned)
		if missing(err) != nil {
			return err
		}
		if c.unsigned = unsigned != ""; c.unsigned {
			if c.meta, err = describeAll(v); err != nil {
				return err
			}
		}
		c.timestamp, _, err = v.Current(metadata.Image, metadata.Timestamp)
		return missing(err)
	})
	return c, err
}

// describeAll returns what a snapshot says that names every role in force.
func describeAll(v store.View) (map[string]*tuf.MetaFiles, error) {
	roles, err := v.Roles(metadata.Image)
	if err != nil {
		return nil, err
	}
	meta := map[string]*tuf.MetaFiles{}
	for _, r := range roles {
		switch r.Role {
		case metadata.Root, metadata.Snapshot, metadata.Timestamp:
			continue
		}
		rec, err := v.Role(metadata.Image, r.Role, r.Version)
		if err != nil {
			return nil, err
		}
		meta[r.Role+".json"] = describe(roleFile{version: r.Version, data: rec.GetData()})
	}
	return meta, nil
}

// snapshotIsWhole notes that a snapshot is published, which names every role in force.
func snapshotIsWhole(tx store.Tx, role string) error {
	if role != metadata.Snapshot {
		return nil
	}
	unsigned, err := tx.Meta(store.MetaUnsigned)
	if missing(err) != nil || unsigned == "" {
		return missing(err)
	}
	return tx.SetMeta(store.MetaUnsigned, "")
}

// onlineFiles makes the snapshot that names the changed files besides what the one in force names, and
// the timestamp over it, as c's root allows. Nothing is stored. Reasons: online-key-unknown, limit.
func (p *Publisher) onlineFiles(c inForce, changed []roleFile) ([]roleFile, error) {
	now := p.Now()
	meta := maps.Clone(c.meta) // retired roles stay (DESIGN 1.5)
	if meta == nil {
		meta = map[string]*tuf.MetaFiles{}
	}
	for _, f := range changed {
		if f.role != metadata.Root {
			meta[f.role+".json"] = describe(f)
		}
	}
	snapshot := metadata.SnapshotRole{
		Type: metadata.Snapshot, SpecVersion: tuf.SPECIFICATION_VERSION, Meta: meta,
		Version: nextOnline(c.snapshot.version, now), Expires: now.Add(snapshotLife).UTC().Truncate(time.Second),
		UnrecognizedFields: p.scope(metadata.Snapshot),
	}
	s, err := signOnline(p, c.root, metadata.Snapshot, snapshot.Version, snapshot.Expires, snapshot)
	if err != nil {
		return nil, err
	}
	t, err := p.timestamp(c.root, s, c.timestamp)
	if err != nil {
		return nil, err
	}
	p.parsed.meta, p.parsed.snapshot = meta, string(s.digest[:])
	return []roleFile{s, t}, nil
}

// timestamp makes the timestamp over a snapshot.
func (p *Publisher) timestamp(root *metadata.File[metadata.RootRole], snapshot roleFile, old int64) (roleFile, error) {
	now := p.Now()
	t := metadata.TimestampRole{
		Type: metadata.Timestamp, SpecVersion: tuf.SPECIFICATION_VERSION,
		Version: nextOnline(old, now), Expires: now.Add(timestampLife).UTC().Truncate(time.Second),
		Meta:               map[string]*tuf.MetaFiles{"snapshot.json": describe(snapshot)},
		UnrecognizedFields: p.scope(metadata.Timestamp),
	}
	return signOnline(p, root, metadata.Timestamp, t.Version, t.Expires, t)
}

func (p *Publisher) scope(role string) map[string]any {
	return map[string]any{metadata.ScopeField: metadata.Scope(p.Deployment, metadata.Image, role)}
}

// nextOnline is max(previous + 1, Unix seconds), so that the versions of online roles never fall, even
// after a restore (DESIGN 1.5).
func nextOnline(previous int64, now time.Time) int64 { return max(previous+1, now.Unix()) }

// describe is a file's entry in the file that names it.
func describe(f roleFile) *tuf.MetaFiles {
	sum := sha(f.data)
	return &tuf.MetaFiles{Version: f.version, Length: int64(len(f.data)), Hashes: tuf.Hashes{"sha256": sum[:]}}
}

// signOnline signs a role with the image repository's online key, after asking the root whether that
// key may, and reads the result back.
func signOnline[T metadata.SnapshotRole | metadata.TimestampRole](p *Publisher, root *metadata.File[metadata.RootRole], role string, version int64, expires time.Time, signed T) (roleFile, error) {
	if version > metadata.MaxVersion {
		return roleFile{}, reason.Errorf(reason.Limit, "%s would have version %d, the highest is %d", role, version, int64(metadata.MaxVersion))
	}
	if err := namesKey(metadata.Image, root, role, p.online.own.Image); err != nil {
		return roleFile{}, err
	}
	canonical, err := metadata.Signed(signed)
	if err != nil {
		return roleFile{}, err
	}
	sig, err := metadata.Sign(canonical, p.online.image, p.online.own.Image)
	if err != nil {
		// Whatever the reason, it is the server's: the caller has no PIN here.
		return roleFile{}, reason.Errorf(reason.PluginFailed, "the server's own online key does not sign: %w", err).
			WithHint("whoever runs the server looks at online.image and its log, then starts it again")
	}
	data, err := metadata.Encode[T](canonical, []metadata.Signature{sig})
	if err != nil {
		return roleFile{}, err
	}
	if n := metadata.MaxSize(metadata.Profile, role); int64(len(data)) > n {
		return roleFile{}, reason.Errorf(reason.Limit, "%s would have %d bytes, at most %d are allowed (DESIGN 6)", role, len(data), n)
	}
	return roleFile{role: role, version: version, data: data, digest: sha(canonical), expires: expires}, nil
}

// namesKey makes sure that a root gives a role to this server's key: online-key-unknown.
func namesKey(r metadata.Repository, root *metadata.File[metadata.RootRole], role string, key *metadata.Key) error {
	d, err := metadata.RootDelegation(root, role, metadata.Profile)
	if err != nil {
		return err
	}
	id, err := metadata.KeyID(key)
	if err != nil {
		return err
	}
	if !slices.Contains(d.KeyIDs, id) {
		return reason.Errorf(reason.OnlineKeyUnknown, "%s root %d gives %s to key %.12s, this server has %.12s", r, root.Signed.Version, role, firstID(d), id).
			WithHint("put the key that the root names at online.%s, or have a root with this key signed: countersign change", r)
	}
	return nil
}

func firstID(d *metadata.Delegation) string {
	if len(d.KeyIDs) == 0 {
		return "none"
	}
	return d.KeyIDs[0]
}
