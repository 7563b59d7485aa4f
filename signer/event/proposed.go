package event

import (
	"time"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// proposed is one proposed file, parsed once.
type proposed struct {
	repository metadata.Repository
	role       string
	product    string
	kind       metadata.RoleKind
	base       *BaseRef
	signed     []byte
	digest     [32]byte
	version    int64
	expires    time.Time
	oldVersion int64
	oldExpires time.Time
	// root and oldRoot are set for roots, targets and oldTargets for all others; the old ones are nil
	// for new roles.
	root, oldRoot       *rootFile
	targets, oldTargets *targetsFile
	// high is set for a product.
	high    *metadata.High
	signers []Signers
}

func (p *proposed) String() string { return roleName(p.repository, p.role) }

// roleName names a role for people: only roots need their repository.
func roleName(r metadata.Repository, role string) string {
	if role == metadata.Root {
		return string(r) + " " + role
	}
	return role
}

func parseRoot(f ProposedFile) (*rootFile, error) {
	data, err := metadata.EncodeRaw(metadata.Root, f.Signed, nil)
	if err != nil {
		return nil, err
	}
	return metadata.ParseRoot(data, metadata.Profile)
}

func parseTargets(f ProposedFile) (*targetsFile, error) {
	data, err := metadata.EncodeRaw(metadata.Targets, f.Signed, nil)
	if err != nil {
		return nil, err
	}
	return metadata.ParseTargets(data, metadata.Profile)
}

// known refuses members that no review would show.
func known[T tuf.Roles](f *metadata.File[T], err error) (*metadata.File[T], error) {
	if err == nil {
		err = metadata.CheckMembers(f)
	}
	return f, err
}

// parse reads the proposed files.
func (t *trial) parse() error {
	for _, f := range t.event.Proposal.Files {
		p := &proposed{repository: f.Repository, role: f.Role, base: f.Base, signed: f.Signed, digest: f.Digest()}
		var err error
		if p.product, p.kind, err = metadata.SplitRole(f.Role); err != nil {
			return err
		}
		if f.Role == metadata.Root {
			if p.root, err = cached(t.state.cache, "signed root", f.Signed, func() (*rootFile, error) { return known(parseRoot(f)) }); err == nil {
				p.version, p.expires = p.root.Signed.Version, p.root.Signed.Expires
			}
		} else {
			if p.targets, err = cached(t.state.cache, "signed targets", f.Signed, func() (*targetsFile, error) { return known(parseTargets(f)) }); err == nil {
				p.version, p.expires = p.targets.Signed.Version, p.targets.Signed.Expires
			}
		}
		if reason.Is(err, reason.TooLarge) {
			err = reason.Errorf(reason.Limit, "%v", err).WithHint("%s", fullHint)
		}
		if err == nil {
			err = metadata.CheckScope(p.unrecognized(), t.state.deployment, f.Repository, f.Role)
		}
		if err == nil && p.kind == metadata.RoleProduct {
			p.high, err = highOf(p.targets)
		}
		if err != nil {
			return reason.Wrap(err, "%s", p)
		}
		t.files = append(t.files, p)
	}
	return nil
}

func (p *proposed) unrecognized() map[string]any {
	if p.root != nil {
		return p.root.Signed.UnrecognizedFields
	}
	return p.targets.Signed.UnrecognizedFields
}

func highOf(t *targetsFile) (*metadata.High, error) {
	raw, ok := t.Signed.UnrecognizedFields[metadata.HighField]
	if !ok {
		return nil, reason.Errorf(reason.Profile, "no %s", metadata.HighField)
	}
	return metadata.ParseHigh(raw)
}

// find returns a proposed file, nil when the event does not hold it.
func (t *trial) find(r metadata.Repository, role string) *proposed {
	for _, p := range t.files {
		if p.repository == r && p.role == role {
			return p
		}
	}
	return nil
}

// rootAfter returns the root that will be in force after the event, nil when there is none.
func (t *trial) rootAfter(r metadata.Repository) (*rootFile, error) {
	if p := t.find(r, metadata.Root); p != nil {
		return p.root, nil
	}
	return t.state.root(r)
}

// roleAfter returns the file of an image role that will be in force after the event, nil when there
// is none.
func (t *trial) roleAfter(role string) (*targetsFile, error) {
	if p := t.find(metadata.Image, role); p != nil {
		return p.targets, nil
	}
	return t.state.role(role)
}

// remember refuses a base that this machine knows to be old, or another content of a version that it
// has seen: the base may come from a server that lies, or a file from a stranger.
func (t *trial) remember() error {
	if t.opts.Memory == nil {
		return nil
	}
	for _, p := range t.files {
		// Load what is in force, so that Seen holds it.
		if _, _, err := t.state.Role(p.repository, p.role); err != nil {
			return err
		}
	}
	for _, v := range t.state.Seen() {
		if err := checkSeen(t.opts.Memory, v.Repository, v.Role, v.Version, v.Digest); err != nil {
			return err
		}
	}
	for _, p := range t.files {
		if p.base != nil {
			continue
		}
		seen, digest := t.opts.Memory.Seen(p.repository, p.role)
		if p.role == metadata.Root && seen == 1 {
			// Root 1 is pinned by signing it, before it is published. Another root 1 may only replace one
			// that was signed here; MaySign then asks for more.
			if _, signed := t.opts.Memory.Signed(p.repository, p.role, 1); signed || digest == p.digest {
				continue
			}
		}
		if seen > 0 {
			return tooOld(p.repository, p.role, 0, seen)
		}
	}
	return nil
}

func checkSeen(m Memory, r metadata.Repository, role string, version int64, digest [32]byte) error {
	seen, content := m.Seen(r, role)
	if version < seen {
		return tooOld(r, role, version, seen)
	}
	if version == seen && digest != content {
		return reason.Errorf(reason.VersionUsed, "%s %s version %d is %.12x here, this machine has seen %.12x", r, role, version, digest, content).
			WithHint("no version has two contents: report it")
	}
	return nil
}

func tooOld(r metadata.Repository, role string, version, seen int64) error {
	return reason.Errorf(reason.BaseTooOld, "builds on %s version %d, this machine has seen %d", roleName(r, role), version, seen).
		WithHint("have it opened anew; if nobody knows why, report it")
}

// bases makes sure that each file was made from what is in force, and keeps what that is.
func (t *trial) bases() error {
	for _, p := range t.files {
		if err := t.loadOld(p); err != nil {
			return err
		}
		old, ok, err := t.state.Role(p.repository, p.role)
		if err != nil {
			return err
		}
		switch {
		case !ok && p.base == nil:
			continue
		case !ok:
			return reason.Errorf(reason.Malformed, "builds on %s version %d, which is not here", p, p.base.Version)
		case p.base == nil:
			return reason.Errorf(reason.EventStale, "is stale: it makes %s anew, version %d exists", p, old.Version)
		case old.Version != p.base.Version:
			return reason.Errorf(reason.EventStale, "is stale: it builds on %s version %d, %d is in force", p, p.base.Version, old.Version)
		case hexOf(old.Digest) != p.base.SHA256:
			return reason.Errorf(reason.VersionUsed, "builds on %s version %d as %.12s, here it is %.12x", p, p.base.Version, p.base.SHA256, old.Digest).
				WithHint("no version has two contents: report it")
		}
		p.oldVersion, p.oldExpires = old.Version, old.Expires
	}
	return nil
}

func (t *trial) loadOld(p *proposed) (err error) {
	if p.root != nil {
		p.oldRoot, err = t.state.root(p.repository)
	} else {
		p.oldTargets, err = t.state.role(p.role)
	}
	return err
}
