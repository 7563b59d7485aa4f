package rehearse

import (
	"fmt"
	"maps"
	"slices"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

func sortedKeys[T any](m map[string]T) []string { return slices.Sorted(maps.Keys(m)) }

// onlineRoles are those that the server signs, by repository (DESIGN 1.1).
var onlineRoles = map[metadata.Repository][]string{
	metadata.Image:    {metadata.Timestamp, metadata.Snapshot},
	metadata.Director: {metadata.Timestamp, metadata.Snapshot, metadata.Targets},
}

// dropped says what devices drop when a root changes the online key of a repository (DESIGN 1.5).
var dropped = map[metadata.Repository]string{
	metadata.Image:    "image timestamp and snapshot",
	metadata.Director: "director timestamp, snapshot and targets",
}

// onlineOf returns the raw online keys of a root by role.
func onlineOf(root *rootFile, repository metadata.Repository) map[string]string {
	keys := map[string]string{}
	for _, role := range onlineRoles[repository] {
		if d, ok := root.Signed.Roles[role]; ok && d != nil && len(d.KeyIDs) > 0 {
			id := d.KeyIDs[0]
			keys[role] = rawOf(root.Signed.Keys[id], id)
		}
	}
	return keys
}

// online says whether an answer to stolen online keys changes all of them, and brings none back.
func (r *rehearsal) online() error {
	changed := map[metadata.Repository]bool{}
	for _, repository := range []metadata.Repository{metadata.Image, metadata.Director} {
		root, old := r.after.roots[repository], r.before.roots[repository]
		if root == nil || !r.after.files[place{repository, metadata.Root}].proposed {
			continue
		}
		r.half(repository, root)
		if old != nil {
			changed[repository] = !maps.Equal(onlineOf(old, repository), onlineOf(root, repository))
		}
	}
	for _, pair := range [][2]metadata.Repository{{metadata.Image, metadata.Director}, {metadata.Director, metadata.Image}} {
		repository, other := pair[0], pair[1]
		if changed[repository] && !changed[other] && r.after.roots[other] != nil {
			r.add(Finding{
				Severity: Warning, Code: OnlineKept, Roles: []string{string(repository) + " root", string(other) + " root"},
				What: fmt.Sprintf("the %s's online key changes, the %s's stays", repository, other),
				Why: fmt.Sprintf("devices drop %s and take those of the new key; %s stay, and a thief who was on the server has that key too",
					dropped[repository], dropped[other]),
				Next: "unless only one key was exposed: countersignd online new, and take its online.pub into the plan",
			})
		}
	}
	return r.reused(changed)
}

// half: all online roles of a root have one key.
func (r *rehearsal) half(repository metadata.Repository, root *rootFile) {
	keys := onlineOf(root, repository)
	for _, role := range onlineRoles[repository][1:] {
		if keys[role] == keys[metadata.Timestamp] {
			continue
		}
		f := Finding{
			Severity: Stuck, Code: OnlineHalf, Reason: reason.Profile, Roles: []string{string(repository) + " root"},
			What: fmt.Sprintf("timestamp and %s have different keys", role),
			Why:  "no server has both, and a thief keeps what is not changed; no tool signs it",
			Next: "give timestamp, snapshot and, in the director root, targets the same new key",
		}
		if old := r.before.roots[repository]; old != nil {
			before := onlineOf(old, repository)
			for _, kept := range onlineRoles[repository] {
				if keys[kept] == before[kept] {
					f.What += "; that of " + kept + " is the old one"
				}
			}
		}
		r.add(f)
		return
	}
}

// earlier are all online keys that a root in force or before it named, with where.
func (r *rehearsal) earlierOnline() (map[string]string, error) {
	keys := map[string]string{}
	for _, repository := range []metadata.Repository{metadata.Image, metadata.Director} {
		root := r.before.roots[repository]
		if root == nil {
			continue
		}
		for v := int64(1); v <= root.Signed.Version; v++ {
			data, err := r.state.RootFile(repository, v)
			if err != nil {
				return nil, err
			}
			at, err := metadata.ParseRoot(data, metadata.Profile)
			if err != nil {
				continue // the chain says so
			}
			for _, raw := range onlineOf(at, repository) {
				keys[raw] = fmt.Sprintf("the %s's online key in root %d", repository, v)
			}
		}
	}
	return keys, nil
}

// reused: a key that was online, and may be stolen, comes back nowhere.
func (r *rehearsal) reused(changed map[metadata.Repository]bool) error {
	if len(r.before.roots) == 0 {
		return nil
	}
	earlier, err := r.earlierOnline()
	if err != nil {
		return err
	}
	report := func(role, what, was string) {
		r.add(Finding{
			Severity: Warning, Code: OnlineReused, Roles: []string{role},
			What: what + " was " + was,
			Why:  "if it was stolen, the thief goes on with it",
			Next: "make a new one: countersignd online new for a server, countersign key new for a person",
		})
	}
	for _, repository := range []metadata.Repository{metadata.Image, metadata.Director} {
		if !changed[repository] {
			continue
		}
		keys := onlineOf(r.after.roots[repository], repository)
		for _, role := range onlineRoles[repository] {
			if was, ok := earlier[keys[role]]; ok && keys[role] != onlineOf(r.before.roots[repository], repository)[role] {
				report(string(repository)+" root", "the new online key of "+string(repository), was)
				break
			}
		}
		for _, m := range r.before.members() {
			if slices.Contains(slices.Collect(maps.Values(keys)), m.raw) {
				report(string(repository)+" root", "the new online key of "+string(repository), "a key of "+m.person)
			}
		}
	}
	for _, m := range r.after.members() {
		if was, ok := earlier[m.raw]; ok {
			report(m.String(), fmt.Sprintf("the key %.12s of %s", m.keyid, m.person), was)
		}
	}
	return nil
}
