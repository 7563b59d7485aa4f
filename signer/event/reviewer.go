package event

import (
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/countersign-ota/countersign/proto/metadata"
)

// reviewer fills a review from a judgement that was passed, so delegations and documents parse; what
// does not is left out here, because Judge has refused it.
type reviewer struct {
	t *trial
	r *Review
}

func (v *reviewer) follows(format string, args ...any) {
	v.r.Consequences = append(v.r.Consequences, fmt.Sprintf(format, args...))
}

func (v *reviewer) warn(format string, args ...any) {
	v.r.Warnings = append(v.r.Warnings, fmt.Sprintf(format, args...))
}

// targets reviews what a release adds, or a withdrawal removes.
func (v *reviewer) targets() {
	c := v.t.release
	if c == nil {
		return
	}
	for _, e := range c.added {
		r := v.target(c, e)
		v.r.Added = append(v.r.Added, r)
		v.follows("%s below counter %d may install %s", enumerate(r.Hardware, "and"), r.Counter, r.Path)
		if r.OldSpreadHours > r.SpreadHours {
			v.warn("spread of %s is shorter: %d h, it was %d h", r.Path, r.SpreadHours, r.OldSpreadHours)
		}
	}
	for _, e := range c.removed {
		r := v.target(c, e)
		v.r.Removed = append(v.r.Removed, r)
		v.follows("%s can no longer be installed; devices that run it keep it", r.Path)
	}
	if len(c.removed) > 0 {
		v.left(c.product, func(i stopImage) bool { return v.removed(i.path) })
		v.follows("counter %d stays used up", c.removed[0].firmware.Counter)
		return
	}
	v.follows("nothing becomes uninstallable")
	for _, component := range sortedKeys(c.file.high.Floors) {
		if floor := c.file.high.Floors[component]; floor > 0 {
			v.follows("afterwards no way back below %d on component %s", floor, component)
		}
	}
	if gap := c.file.high.Counter - c.old.Counter; gap > 1 {
		v.warn("counter rises by %d, from %d to %d", gap, c.old.Counter, c.file.high.Counter)
	}
}

func (v *reviewer) removed(path string) bool {
	return slices.ContainsFunc(v.r.Removed, func(r TargetReview) bool { return r.Path == path })
}

func (v *reviewer) target(c *change, e entry) TargetReview {
	f := e.firmware
	r := TargetReview{
		Path: e.path, Version: f.Version, Length: e.target.Length, SHA256: hex.EncodeToString(e.target.Hashes["sha256"]),
		OldCounter: c.old.Counter, Counter: f.Counter, OldFloor: c.old.Floors[f.Component], Floor: f.Floor,
		Component: f.Component, Hardware: f.Hardware, Installer: f.Installer, InstallerArgs: f.InstallerArgs,
		Requires: f.Requires, Conditions: f.Conditions, OldSpreadHours: -1, SpreadHours: f.SpreadHours,
		Class: f.Class, Fixes: f.Fixes, Evidence: f.Evidence,
	}
	if before := v.before(c, e); before != nil {
		r.OldSpreadHours = before.SpreadHours
	}
	return r
}

// before returns the newest entry in force that stands for the same component and some of the same
// hardware, as far as the files of the event show it.
func (v *reviewer) before(c *change, e entry) *metadata.Firmware {
	var best *metadata.Firmware
	for _, p := range v.t.files {
		if p.product != c.product || p.oldTargets == nil {
			continue
		}
		for path, target := range p.oldTargets.Signed.Targets {
			f, err := metadata.ParseFirmware(path, target, false)
			if err != nil || path == e.path || f.Component != e.firmware.Component {
				continue
			}
			shared := slices.ContainsFunc(f.Hardware, func(h string) bool { return slices.Contains(e.firmware.Hardware, h) })
			if shared && (best == nil || f.Counter > best.Counter) {
				best = f
			}
		}
	}
	return best
}

// versions warns of gaps: a version that jumps far takes all below it away for ever.
func (v *reviewer) versions() {
	for _, p := range v.t.files {
		if p.expires.Before(p.oldExpires) {
			v.warn("%s expires on %s, before %s, when the one in force does", p, day(p.expires), day(p.oldExpires))
		}
		if gap := p.version - p.oldVersion; gap > 1 {
			v.warn("%s goes from version %d to %d: those between were signed before, or are given up", p, p.oldVersion, p.version)
		}
	}
	if v.t.event.Proposal.Kind == Refresh {
		v.follows("nothing changes but the expiry")
	}
}

// roles reviews who may sign what, old and new, for every file that says so.
func (v *reviewer) roles() {
	for _, p := range v.t.files {
		switch {
		case p.root != nil:
			v.rootRoles(p)
		case p.role == metadata.Targets:
			v.delegatedRoles(p)
		}
	}
}

func (v *reviewer) rootRoles(p *proposed) {
	names := []string{metadata.Root, metadata.Targets, metadata.Snapshot, metadata.Timestamp}
	for _, name := range names {
		next, err := metadata.RootDelegation(p.root, name, metadata.Profile)
		if err != nil {
			continue
		}
		var old *metadata.Delegation
		if p.oldRoot != nil {
			old, err = metadata.RootDelegation(p.oldRoot, name, metadata.Profile)
			if err != nil {
				continue
			}
		}
		v.role(p.repository, name, old, next, metadata.ProductPolicy{}, metadata.ProductPolicy{})
	}
	if p.oldRoot != nil && metadata.OnlineKeysChanged(p.oldRoot, p.root) {
		v.follows("devices drop the %s repository's snapshot and timestamp and take those of the new online key", p.repository)
	}
}

func (v *reviewer) delegatedRoles(p *proposed) {
	if p.targets.Signed.Delegations == nil {
		return
	}
	for _, role := range p.targets.Signed.Delegations.Roles {
		next, err := metadata.TargetsDelegation(p.targets, role.Name, metadata.Profile)
		if err != nil {
			continue
		}
		var old *metadata.Delegation
		var oldPolicy metadata.ProductPolicy
		if p.oldTargets != nil {
			// Absent for a new role.
			old, _ = metadata.TargetsDelegation(p.oldTargets, role.Name, metadata.Profile)
			oldPolicy = policyOrNone(p.oldTargets, role.Name)
		}
		policy := policyOrNone(p.targets, role.Name)
		v.role(metadata.Image, role.Name, old, next, oldPolicy, policy)
		if file := v.t.find(metadata.Image, role.Name); old == nil && file != nil {
			v.r.Roles[len(v.r.Roles)-1].Bins = binsOf(file.targets)
		}
		if policy.Retired && !oldPolicy.Retired {
			v.follows("product %s takes no release from now on, for ever; what it lists stays installable until it is withdrawn or its file expires; its stop list goes on", role.Name)
		}
		if _, kind, err := metadata.SplitRole(role.Name); err == nil && kind == metadata.RoleProduct && old == nil {
			v.follows("product %s can be released from now on; its name can never be used again", role.Name)
			if bins := v.r.Roles[len(v.r.Roles)-1].Bins; bins > 0 {
				v.follows("a refresh of %s costs each of its people up to %d signatures", role.Name, bins+1)
			}
		}
	}
}

// policyOrNone returns a product's policy; none for a stop role.
func policyOrNone(t *targetsFile, role string) metadata.ProductPolicy {
	policy, err := policyIn(t, role)
	if err != nil {
		return metadata.ProductPolicy{}
	}
	return *policy
}

// role adds one role to the review if anything about it changes; old is nil for a new one.
func (v *reviewer) role(r metadata.Repository, name string, old, next *metadata.Delegation, oldPolicy, policy metadata.ProductPolicy) {
	if old != nil && sameDelegation(old, next) && oldPolicy == policy {
		return
	}
	rr := RoleReview{
		Repository: r, Role: name, New: old == nil, Threshold: next.Threshold,
		SBOM: policy.SBOM, OldSBOM: oldPolicy.SBOM, Retired: policy.Retired, OldRetired: oldPolicy.Retired,
	}
	if old != nil {
		rr.OldThreshold = old.Threshold
	}
	if next.Quorum == nil {
		rr.OnlineKey = next.KeyIDs[0]
		if old != nil {
			rr.OldOnlineKey = old.KeyIDs[0]
		}
		v.r.Roles = append(v.r.Roles, rr)
		return
	}
	q := &metadata.Quorum{}
	if old != nil {
		q = old.Quorum
	}
	classes := slices.Concat(q.Classes(), next.Quorum.Classes())
	slices.Sort(classes)
	for _, class := range slices.Compact(classes) {
		c := ClassReview{class, q.Require[class], next.Quorum.Require[class], q.Meaning[class], next.Quorum.Meaning[class]}
		rr.Classes = append(rr.Classes, c)
		if old != nil && c.Need < c.OldNeed {
			v.warn("%s %s needs fewer of class %s: %d, it was %d", r, name, class, c.Need, c.OldNeed)
		}
	}
	rr.People = peopleOf(q, next.Quorum)
	for _, p := range rr.People {
		if p.Change() == "removed" {
			v.follows("signatures of %s no longer count in %s %s", p.ID, r, name)
		}
	}
	v.r.Roles = append(v.r.Roles, rr)
}

func peopleOf(old, next *metadata.Quorum) []PersonReview {
	var people []PersonReview
	at := func(id string) *PersonReview {
		i := slices.IndexFunc(people, func(p PersonReview) bool { return p.ID == id })
		if i < 0 {
			people = append(people, PersonReview{ID: id})
			i = len(people) - 1
		}
		return &people[i]
	}
	for _, p := range old.People {
		r := at(p.ID)
		r.OldName, r.OldClass, r.OldKeyID = p.Name, p.Class, p.KeyID
	}
	for _, p := range next.People {
		r := at(p.ID)
		r.Name, r.Class, r.KeyID = p.Name, p.Class, p.KeyID
	}
	slices.SortFunc(people, func(a, b PersonReview) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	return people
}
