package trust

import (
	"bytes"
	"context"
	"crypto/sha256"
	"maps"
	"slices"
	"time"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// Client is the TUF client of one repository. It is not safe for concurrent use.
//
// Once fetched bytes were refused the client is dead: every later Refresh, Target and Product returns
// the same error, since go-tuf may hold a role that we refused. Make a new one for the next cycle.
// Files that verified but are expired, a network that failed, a timestamp that is not newer, and a
// missing stop list leave the client alive.
type Client struct {
	cfg Config
	// tm is go-tuf's view; it sees a file only after ours accepted it.
	tm *trustedmetadata.TrustedMetadata
	// now is the time of the update that runs (TUF 5.1).
	now time.Time

	root      *metadata.File[metadata.RootRole]
	timestamp *metadata.File[metadata.TimestampRole]
	snapshot  *metadata.File[metadata.SnapshotRole]
	// roles are top-level targets and the delegated roles that this client has met.
	roles map[string]*role
	// oldSnapshot is the stored snapshot that the new one must not roll back (TUF 5.5.5).
	oldSnapshot *metadata.File[metadata.SnapshotRole]

	// versions is the lowest acceptable version of each role, from the record and from files.
	versions map[string]InForce
	// unsaved is true while the store lacks the root in use.
	unsaved bool
	// ready is true when root, timestamp, snapshot and targets are loaded, fresh when that was by a
	// Refresh and not from stored files alone.
	ready, fresh bool
	dead         error
}

// role is a verified targets file.
type role struct {
	file *metadata.File[metadata.TargetsRole]
	// delegators are the roles under whose keys it was verified.
	delegators map[string]bool
}

// New makes a client from the newest usable root: the stored one, its copy, or the embedded one. It
// fails when none of them can be used; other stored files are looked at later, and damaged ones count
// as absent. It changes nothing.
func New(cfg Config) (*Client, error) {
	c := &Client{cfg: cfg, versions: maps.Clone(cfg.Versions)}
	if c.versions == nil {
		c.versions = map[string]InForce{}
	}
	if err := c.loadRoot(); err != nil {
		return nil, err
	}
	c.rebind()
	return c, nil
}

// reset forgets all but the root, takes the time, and begins an update (TUF 5.1).
func (c *Client) reset() error {
	tm, err := trustedmetadata.New(c.root.Bytes())
	if err != nil {
		return secondOpinion(err, metadata.Root)
	}
	// Zero, not the time: we judge each expiry, and go-tuf would drop an expired targets file and
	// stop at an expired timestamp (DESIGN 1.8).
	tm.RefTime = time.Time{}
	c.tm, c.now = tm, c.cfg.Now()
	c.timestamp, c.snapshot, c.oldSnapshot = nil, nil, nil
	c.roles = map[string]*role{}
	c.ready, c.fresh = false, false
	return nil
}

// InForce returns, by role, what the record must hold: the given Versions, raised by every file that
// verified and was stored, without those that were given up because the root changed its online keys
// (TUF 5.3.11, DESIGN 1.5). It is right after any outcome.
func (c *Client) InForce() map[string]InForce {
	return maps.Clone(c.versions)
}

// Root returns the root in use. Do not change it.
func (c *Client) Root() *metadata.File[metadata.RootRole] { return c.root }

// Role returns top-level targets or a role below it as this update verified it; nil for one that it has
// not met. Do not change it.
func (c *Client) Role(name string) *metadata.File[metadata.TargetsRole] {
	if r := c.roles[name]; r != nil {
		return r.file
	}
	return nil
}

// Expiries returns, by name, until when the loaded roles hold. Expired roles are in it: a stop list
// binds although it is expired, and people must hear of it.
func (c *Client) Expiries() []Expiry {
	now := c.cfg.Now()
	var all []Expiry
	add := func(name string, version int64, expires time.Time) {
		all = append(all, Expiry{Role: name, Version: version, Expires: expires, Expired: expired(expires, now)})
	}
	add(metadata.Root, c.root.Signed.Version, c.root.Signed.Expires)
	if c.timestamp != nil {
		add(metadata.Timestamp, c.timestamp.Signed.Version, c.timestamp.Signed.Expires)
	}
	if c.snapshot != nil {
		add(metadata.Snapshot, c.snapshot.Signed.Version, c.snapshot.Signed.Expires)
	}
	for name, r := range c.roles {
		add(name, r.file.Signed.Version, r.file.Signed.Expires)
	}
	slices.SortFunc(all, func(a, b Expiry) int { return bytes.Compare([]byte(a.Role), []byte(b.Role)) })
	return all
}

// expired is TUF's rule: the expiry must lie after the time of the update.
func expired(expires, now time.Time) bool { return !expires.After(now) }

// checkExpiry returns reason expired for a role that is.
func (c *Client) checkExpiry(name string, version int64, expires time.Time) error {
	if !expired(expires, c.now) {
		return nil
	}
	return reason.Errorf(reason.Expired, "%s version %d expired at %s, it is %s", name, version,
		expires.UTC().Format(time.RFC3339), c.now.UTC().Format(time.RFC3339))
}

// fail makes the client dead.
func (c *Client) fail(err error) error {
	c.dead = err
	return err
}

// fetch asks for a role file of at most limit bytes. Its errors leave the client alive unless they
// speak of bytes that came.
func (c *Client) fetch(ctx context.Context, f Fetcher, name string, version, limit int64) ([]byte, error) {
	if f == nil {
		return nil, reason.Errorf(reason.NotFound, "%s is not stored: %w", describe(name, version), ErrNotFound)
	}
	data, err := f.Fetch(ctx, name, version, limit)
	if err != nil {
		if reason.Of(err).Class() == reason.NotAuthentic {
			return nil, c.fail(reason.Wrap(err, "fetch %s", describe(name, version)))
		}
		return nil, reason.Wrap(err, "fetch %s", describe(name, version))
	}
	if int64(len(data)) > limit {
		return nil, c.fail(reason.Errorf(reason.TooLarge, "fetch %s: %d bytes, at most %d are allowed", describe(name, version), len(data), limit))
	}
	return data, nil
}

// load returns the stored bytes of a role, or nil: what cannot be read is fetched anew.
func (c *Client) load(name string) []byte {
	data, err := c.cfg.Store.Load(name)
	if err != nil || len(data) == 0 {
		return nil
	}
	return data
}

// save stores a verified role file. The caller then makes its version bind.
func (c *Client) save(name string, data []byte) error {
	if err := c.cfg.Store.Save(name, data); err != nil {
		return c.fail(reason.Wrap(err, "store %s", name))
	}
	return nil
}

// inForce describes a verified file.
func (c *Client) inForce(name string, version int64, data []byte, expires time.Time) InForce {
	v := InForce{Version: version, SHA256: sha256.Sum256(data), Expires: expires}
	if c.online(name) {
		v.Keys = onlineKeys(c.root)
	}
	return v
}

// secondOpinion gives an error of go-tuf, which judges after us, its reason.
func secondOpinion(err error, name string) error {
	r := reason.Malformed
	switch err.(type) { //nolint:errorlint // go-tuf returns its types bare, and its Is compares types
	case *tuf.ErrBadVersionNumber:
		r = reason.Rollback
	case *tuf.ErrLengthOrHashMismatch:
		r = reason.HashMismatch
	case *tuf.ErrUnsignedMetadata:
		r = reason.Threshold
	}
	return reason.Errorf(r, "%s: go-tuf: %v", name, err)
}
