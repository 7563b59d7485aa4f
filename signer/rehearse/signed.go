package rehearse

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/signer/event"
)

type (
	rootFile    = metadata.File[metadata.RootRole]
	targetsFile = metadata.File[metadata.TargetsRole]
)

// place names a role.
type place struct {
	repository metadata.Repository
	role       string
}

// String names a role for people: top-level ones with their repository.
func (p place) String() string {
	if p.role == metadata.Root {
		return string(p.repository) + " root"
	}
	return p.role
}

// file is a role file that people sign, in force or proposed.
type file struct {
	version  int64
	expires  time.Time
	proposed bool
	// targets is nil for a root.
	targets *targetsFile
}

// delegated is a role with those who must sign it.
type delegated struct {
	place
	product string
	kind    metadata.RoleKind
	by      *metadata.Delegation
	// retired says that the product of the role is: it takes no release, and nobody is asked for it.
	retired bool
}

// signed is everything that people signed, before or after the change.
type signed struct {
	roots map[metadata.Repository]*rootFile
	files map[place]file
	// delegations are in the order of a report: roots, targets, each product and its stop list.
	delegations []delegated
}

// inForce reads what is in force: all roles of the state, bins too if that is asked for.
func inForce(s *event.State, bins bool) (*signed, error) {
	w := &signed{roots: map[metadata.Repository]*rootFile{}, files: map[place]file{}}
	for _, r := range []metadata.Repository{metadata.Image, metadata.Director} {
		v, ok, err := s.Role(r, metadata.Root)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		data, err := s.RootFile(r, v.Version)
		if err != nil {
			return nil, err
		}
		if w.roots[r], err = metadata.ParseRoot(data, metadata.Profile); err != nil {
			return nil, err
		}
		w.files[place{r, metadata.Root}] = file{version: v.Version, expires: v.Expires}
	}
	if err := w.read(s, bins); err != nil {
		return nil, err
	}
	w.delegate()
	return w, nil
}

// read reads targets and what hangs on them, verified by the state.
func (w *signed) read(s *event.State, bins bool) error {
	if w.roots[metadata.Image] == nil {
		return nil
	}
	roles := []string{metadata.Targets}
	products, err := s.Products()
	if err != nil {
		return err
	}
	for _, product := range products {
		roles = append(roles, product, metadata.StopRole(product))
	}
	if err := w.readRoles(s, roles); err != nil || !bins {
		return err
	}
	for _, product := range products {
		t := w.files[place{metadata.Image, product}].targets
		if t == nil || t.Signed.Delegations == nil || t.Signed.Delegations.SuccinctRoles == nil {
			continue
		}
		if err := w.readRoles(s, metadata.Bins(t.Signed.Delegations.SuccinctRoles)); err != nil {
			return err
		}
	}
	return nil
}

func (w *signed) readRoles(s *event.State, roles []string) error {
	for _, role := range roles {
		if _, _, err := s.Role(metadata.Image, role); err != nil {
			return err
		}
	}
	base, err := s.Base()
	if err != nil {
		return err
	}
	for _, b := range base {
		if b.Role == metadata.Root || !slices.Contains(roles, b.Role) {
			continue
		}
		t, err := metadata.ParseTargets(b.File, metadata.Profile)
		if err != nil {
			return err
		}
		w.files[place{b.Repository, b.Role}] = file{version: t.Signed.Version, expires: t.Signed.Expires, targets: t}
	}
	return nil
}

// with returns what will be signed once e is published; e may be nil. A file that does not parse is
// left out: the judgement refuses it.
func (w *signed) with(e *event.Event) *signed {
	if e == nil {
		return w
	}
	after := &signed{roots: maps.Clone(w.roots), files: maps.Clone(w.files)}
	for _, f := range e.Proposal.Files {
		at := place{f.Repository, f.Role}
		data, err := metadata.EncodeRaw(f.Role, f.Signed, nil)
		if err != nil {
			continue
		}
		if f.Role == metadata.Root {
			if root, err := metadata.ParseRoot(data, metadata.Profile); err == nil {
				after.roots[f.Repository] = root
				after.files[at] = file{version: root.Signed.Version, expires: root.Signed.Expires, proposed: true}
			}
			continue
		}
		if t, err := metadata.ParseTargets(data, metadata.Profile); err == nil {
			after.files[at] = file{version: t.Signed.Version, expires: t.Signed.Expires, proposed: true, targets: t}
		}
	}
	after.delegate()
	return after
}

// delegate lists who must sign what. A delegation that cannot be read is left out: the judgement
// refuses it.
func (w *signed) delegate() {
	add := func(at place, d *metadata.Delegation, err error) {
		product, kind, errRole := metadata.SplitRole(at.role)
		if err == nil && errRole == nil && d.Quorum != nil {
			w.delegations = append(w.delegations, delegated{at, product, kind, d, w.retired(product)})
		}
	}
	for _, at := range []place{{metadata.Image, metadata.Root}, {metadata.Director, metadata.Root}, {metadata.Image, metadata.Targets}} {
		if root := w.roots[at.repository]; root != nil {
			d, err := metadata.RootDelegation(root, at.role, metadata.Profile)
			add(at, d, err)
		}
	}
	for _, role := range w.delegates() {
		d, err := metadata.TargetsDelegation(w.targets(), role, metadata.Profile)
		add(place{metadata.Image, role}, d, err)
	}
}

// retired reports whether the delegation of a product says so.
func (w *signed) retired(product string) bool {
	t := w.targets()
	if product == "" || t == nil || t.Signed.Delegations == nil {
		return false
	}
	for _, r := range t.Signed.Delegations.Roles {
		if r.Name == product {
			policy, err := metadata.ParseProductPolicy(r.UnrecognizedFields[metadata.ProductField])
			return err == nil && policy.Retired
		}
	}
	return false
}

// targets returns top-level targets, nil when there are none.
func (w *signed) targets() *targetsFile {
	return w.files[place{metadata.Image, metadata.Targets}].targets
}

// delegates returns the roles that top-level targets delegates to, each product before its stop list.
func (w *signed) delegates() []string {
	var roles []string
	if t := w.targets(); t != nil && t.Signed.Delegations != nil {
		for _, r := range t.Signed.Delegations.Roles {
			roles = append(roles, r.Name)
		}
	}
	slices.SortFunc(roles, func(a, b string) int {
		pa, ka, _ := metadata.SplitRole(a)
		pb, kb, _ := metadata.SplitRole(b)
		return cmp.Or(cmp.Compare(pa, pb), cmp.Compare(ka, kb), cmp.Compare(a, b))
	})
	return slices.Compact(roles)
}

// delegation returns who must sign a role; nil when the role does not exist.
func (w *signed) delegation(at place) *metadata.Delegation {
	for _, d := range w.delegations {
		if d.place == at {
			return d.by
		}
	}
	return nil
}

// people returns the ids of all who sign something, sorted.
func (w *signed) people() []string {
	var ids []string
	for _, d := range w.delegations {
		for _, p := range d.by.Quorum.People {
			ids = append(ids, p.ID)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// holds reports whether a person signs something with the key, or without one anything at all.
func (w *signed) holds(person, keyid string) bool {
	return slices.ContainsFunc(w.delegations, func(d delegated) bool {
		return slices.ContainsFunc(d.by.Quorum.People, func(p metadata.Person) bool {
			return p.ID == person && (keyid == "" || p.KeyID == keyid)
		})
	})
}

// lost reports whether a member of a role can no longer sign. A lost person's keys in force are lost;
// a key that only the change brings is at hand.
func (r *rehearsal) lost(p metadata.Person) bool {
	if !slices.Contains(r.report.Lost, p.ID) {
		return false
	}
	return r.before.holds(p.ID, p.KeyID) || !r.before.holds(p.ID, "")
}
