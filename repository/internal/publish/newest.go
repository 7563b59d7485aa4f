package publish

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/repository/internal/store"
	"github.com/countersign-ota/countersign/signer/event"
)

// Shown is a role file that somebody shows: nothing about it is known.
type Shown struct {
	Repository metadata.Repository
	Role       string
	Data       []byte
	// From is who shows it, as in the audit log, or a file's name.
	From string
	// Assembled says that it was put together from an event: what was published may have more signatures.
	Assembled bool
}

// candidate is a shown file that could be read.
type candidate struct {
	Shown
	version int64
	digest  [32]byte
	expires int64
}

func (c *candidate) place() rolePlace { return rolePlace{c.Repository, c.Role} }

type rolePlace struct {
	repository metadata.Repository
	role       string
}

// fate is what became of a shown file: taken, or else refused for err, or neither because it is here or
// a newer one was taken.
type fate struct {
	candidate
	taken bool
	err   error
}

// readShown reads a file of a role under people's keys. The director has only its root here.
func readShown(s Shown) (candidate, error) {
	c := candidate{Shown: s}
	_, kind, err := metadata.SplitRole(s.Role)
	if err != nil {
		return c, err
	}
	wrong := s.Repository == metadata.Director && s.Role != metadata.Root ||
		s.Repository != metadata.Director && s.Repository != metadata.Image ||
		kind == metadata.RoleTop && s.Role != metadata.Root && s.Role != metadata.Targets
	if wrong {
		return c, reason.Errorf(reason.Malformed, "%s %s is no role under people's keys", s.Repository, s.Role)
	}
	if s.Role == metadata.Root {
		f, err := metadata.ParseRoot(s.Data, metadata.Profile)
		if err == nil {
			c.version, c.digest, c.expires = f.Signed.Version, f.Digest(), f.Signed.Expires.Unix()
			err = errors.Join(metadata.CheckMembers(f), metadata.CheckNoExampleKeys(f))
		}
		return c, err
	}
	f, err := metadata.ParseTargets(s.Data, metadata.Profile)
	if err == nil {
		c.version, c.digest, c.expires = f.Signed.Version, f.Digest(), f.Signed.Expires.Unix()
		err = errors.Join(metadata.CheckMembers(f), metadata.CheckNoExampleKeys(f))
	}
	return c, err
}

// overlay is what is in force, with the files in front that were taken or are on trial.
type overlay struct {
	source
	current map[rolePlace][]byte
	roots   map[metadata.Repository]map[int64][]byte
}

var _ event.Source = overlay{}

// Current implements event.Source.
func (o overlay) Current(r metadata.Repository, role string) ([]byte, error) {
	if data, ok := o.current[rolePlace{r, role}]; ok {
		return data, nil
	}
	return o.source.Current(r, role)
}

// Root implements event.Source.
func (o overlay) Root(r metadata.Repository, version int64) ([]byte, error) {
	if data, ok := o.roots[r][version]; ok {
		return data, nil
	}
	return o.source.Root(r, version)
}

// judge of shown files; it is used once.
type newest struct {
	p     *Publisher
	ctx   context.Context //nolint:containedctx // of the one judgement
	pins  event.Pins
	over  overlay
	fates []fate
}

// newest judges files that somebody shows: each is verified from the roots in force here on, under its
// delegator as far as the files that were taken before change that. It takes every root that continues a
// chain, and of each other role the highest version that is genuine and above the one in force, with the
// versions between the two. The fates are in the order of shown. The error is of the store alone; the caller has the turn.
func (p *Publisher) newest(ctx context.Context, shown []Shown) ([]fate, error) {
	n := &newest{p: p, ctx: ctx, over: overlay{source{p.Store}, map[rolePlace][]byte{}, map[metadata.Repository]map[int64][]byte{}}}
	for _, s := range shown {
		c, err := readShown(s)
		n.fates = append(n.fates, fate{candidate: c, err: err})
	}
	in, err := event.StateOf(source{p.Store}, p.Deployment)
	if err != nil {
		return nil, err
	}
	for r, pin := range map[metadata.Repository]*event.Pin{metadata.Image: &n.pins.Image, metadata.Director: &n.pins.Director} {
		if *pin, err = in.Pin(r); err != nil {
			return nil, err
		}
		n.over.roots[r] = map[int64][]byte{}
	}
	for _, r := range []metadata.Repository{metadata.Image, metadata.Director} {
		if err := n.chain(r); err != nil {
			return nil, err
		}
	}
	// Stop lists come last: whether an entry may leave one depends on what is listed.
	for _, stage := range []metadata.RoleKind{metadata.RoleTop, metadata.RoleProduct, metadata.RoleBin, metadata.RoleStop} {
		if err := n.stage(stage); err != nil {
			return nil, err
		}
	}
	return n.fates, nil
}

// Orders of versions.
const (
	lowestFirst  = 1
	highestFirst = -1
)

// of returns the files that match and are not refused; of one version the first that was shown is first.
func (n *newest) of(order int, match func(*candidate) bool) []*fate {
	var some []*fate
	for i := range n.fates {
		if f := &n.fates[i]; f.err == nil && match(&f.candidate) {
			some = append(some, f)
		}
	}
	slices.SortStableFunc(some, func(a, b *fate) int { return order * cmp.Compare(a.version, b.version) })
	return some
}

// chain takes the roots that follow the one in force.
func (n *newest) chain(r metadata.Repository) error {
	roots := n.of(lowestFirst, func(c *candidate) bool { return c.Repository == r && c.Role == metadata.Root })
	at := n.pins.Image
	if r == metadata.Director {
		at = n.pins.Director
	}
	place := rolePlace{r, metadata.Root}
	version := at.Version
	for _, f := range roots {
		switch {
		case at.Version == 0:
			f.err = reason.Errorf(reason.NotFound, "there is no %s root here to verify it from", r)
		case f.version <= at.Version:
			if err := n.here(f); err != nil {
				return err
			}
		case f.version <= version: // of two genuine ones the first that was shown is taken
			f.err = n.twice(f, roots)
		case f.version > version+1:
			f.err = reason.Errorf(reason.NotFound, "%s %d is missing before it", roleName(r, metadata.Root), version+1)
		default:
			old, had := n.over.current[place]
			n.over.current[place], n.over.roots[r][f.version] = f.Data, f.Data
			if f.err = n.try(f, nil); f.err != nil {
				delete(n.over.roots[r], f.version)
				if n.over.current[place] = old; !had {
					delete(n.over.current, place)
				}
				continue
			}
			f.taken, version = true, f.version
			if err := n.clean(f); err != nil {
				return err
			}
		}
	}
	return nil
}

// stage takes the newest files of the roles of one kind, whose delegators were judged before.
func (n *newest) stage(kind metadata.RoleKind) error {
	state, err := event.StateFrom(n.over, n.p.Deployment, n.pins)
	if err != nil {
		return err
	}
	all := n.of(highestFirst, func(c *candidate) bool {
		_, k, err := metadata.SplitRole(c.Role)
		return err == nil && k == kind && c.Role != metadata.Root
	})
	in := map[rolePlace]int64{}
	for _, f := range all {
		place := f.place()
		if _, ok := in[place]; !ok {
			if in[place], err = n.current(place); err != nil {
				return err
			}
		}
		switch _, taken := n.over.current[place]; {
		case n.pins.Image.Version == 0:
			f.err = reason.Errorf(reason.NotFound, "there is no image root here to verify it from")
		case f.version <= in[place]:
			if err := n.here(f); err != nil {
				return err
			}
		case taken:
			if err := n.earlier(f, all); err != nil {
				return err
			}
		default:
			n.over.current[place] = f.Data
			if f.err = n.try(f, state); f.err == nil {
				f.err, err = n.follows(f, in[place], state)
			}
			if err != nil {
				return err
			}
			if f.err != nil {
				delete(n.over.current, place)
				continue
			}
			f.taken = true
			if err := n.clean(f); err != nil {
				return err
			}
		}
	}
	return nil
}

// try verifies a file that the overlay shows as the newest; nil stands for a new state.
func (n *newest) try(f *fate, state *event.State) error {
	var err error
	if state == nil {
		if state, err = event.StateFrom(n.over, n.p.Deployment, n.pins); err != nil {
			return err
		}
	}
	_, ok, err := state.Role(f.Repository, f.Role)
	if err == nil && !ok {
		err = reason.Errorf(reason.NotFound, "it is not there")
	}
	return err
}

// earlier judges a file below a taken one of its role. Events were made from such versions, so those that
// are genuine under the delegation of today are taken too; of others it is not known any more.
func (n *newest) earlier(f *fate, all []*fate) error {
	for _, g := range all {
		if g.taken && g.place() == f.place() && g.version == f.version {
			f.err = n.twice(f, all)
			return nil
		}
	}
	highest := n.over.current[f.place()]
	n.over.current[f.place()] = f.Data
	f.taken = n.try(f, nil) == nil
	var err error
	if f.taken {
		err = n.clean(f)
	}
	n.over.current[f.place()] = highest
	return err
}

// twice judges a file beside a taken one of its role: another content of the same version is a sign that
// somebody signed it twice, or forged it.
func (n *newest) twice(f *fate, all []*fate) error {
	for _, g := range all {
		if g.taken && g.place() == f.place() && g.version == f.version && g.digest != f.digest {
			return reason.Errorf(reason.VersionUsed, "%s %d is shown with two contents, %.12x and %.12x", roleName(f.Repository, f.Role), f.version, g.digest, f.digest).
				WithHint("find out which of the two devices have, before recover")
		}
	}
	return nil
}

// current returns the version in force, 0 if there is none.
func (n *newest) current(p rolePlace) (version int64, err error) {
	err = n.p.Store.View(n.ctx, func(v store.View) error {
		version, _, err = v.Current(p.repository, p.role)
		return missing(err)
	})
	return version, err
}

// here judges a file that is not above the one in force: it is known, or it contradicts what is.
func (n *newest) here(f *fate) error {
	return n.p.Store.View(n.ctx, func(v store.View) error {
		current, _, err := v.Current(f.Repository, f.Role)
		if err != nil {
			return err
		}
		rec, err := v.Role(f.Repository, f.Role, f.version)
		switch {
		case errors.Is(err, store.ErrNotFound):
			f.err = reason.Errorf(reason.Rollback, "%s %d is below %d, which is in force", roleName(f.Repository, f.Role), f.version, current)
		case err != nil:
			return err
		case string(rec.GetDigest()) != string(f.digest[:]):
			f.err = reason.Errorf(reason.VersionUsed, "%s %d was published here with content %.12x, this is %.12x", roleName(f.Repository, f.Role), f.version, rec.GetDigest(), f.digest)
		}
		return nil
	})
}
