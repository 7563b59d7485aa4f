package publish

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/repository/internal/store"
	"github.com/countersign-ota/countersign/signer/event"
)

// Deadline is a role file in force, when it expires, and who must act.
type Deadline struct {
	event.RoleVersion
	// Require is how many people of which class sign the next version; nil for a role that the server
	// signs by itself.
	Require map[string]int
	// Event is the id of the open event that signs it anew; empty without one.
	Event string
	// Bins is, for a bin, how many bins of its product expire within event.AlongWith.
	Bins int
}

// dated is a role file in force, as far as its expiry matters.
type dated struct {
	event.RoleVersion
	// size is that of the file, in bytes.
	size int
}

// dates returns every role in force, by place. They are read once, and kept true by whoever publishes;
// the caller has the turn. What can be read comes beside the error for the rest.
func (p *Publisher) dates(ctx context.Context) (map[event.RoleRef]dated, error) {
	if p.dated != nil {
		return p.dated, nil
	}
	all := map[event.RoleRef]dated{}
	err := p.Store.View(ctx, func(v store.View) error {
		clear(all)
		var errs []error
		for _, r := range []metadata.Repository{metadata.Image, metadata.Director} {
			roles, err := v.Roles(r)
			if err != nil {
				return err
			}
			for _, role := range roles {
				version, rec, err := v.Current(r, role.Role)
				if err != nil {
					errs = append(errs, err)
					continue
				}
				all[event.RoleRef{Repository: r, Role: role.Role}] = dated{event.RoleVersion{
					Repository: r, Role: role.Role, Version: version, Expires: time.Unix(rec.GetExpires(), 0).UTC(),
				}, len(rec.GetData())}
			}
		}
		return errors.Join(errs...)
	})
	if err == nil {
		p.dated = all
	}
	return all, err
}

// note keeps dates true after files were published; the caller has the turn.
func (p *Publisher) note(r metadata.Repository, f roleFile) {
	if p.dated != nil {
		p.dated[event.RoleRef{Repository: r, Role: f.role}] = dated{event.RoleVersion{
			Repository: r, Role: f.role, Version: f.version, Expires: f.expires.UTC(),
		}, len(f.data)}
	}
}

// Report is what monitoring wants to know.
type Report struct {
	// Deadlines are all that expires: first what people sign, then what the server does, each the first to
	// expire first. Of the bins of a product they hold the one that expires first; retired products are
	// left out.
	Deadlines []Deadline
	// Unwell is why the server cannot do all of its work, nil while it can; Looked is when it looked, the
	// zero time before the first.
	Unwell error
	Looked time.Time
}

// Report returns what expires when, who must act, and how the server is.
func (p *Publisher) Report(ctx context.Context) (Report, error) {
	done, err := p.take(ctx)
	if err != nil {
		return Report{}, err
	}
	defer done()
	list, err := p.deadlines(ctx, time.Time{})
	if err != nil {
		return Report{}, err
	}
	return Report{list, p.unwell, p.looked}, nil
}

// deadlines returns those of a Report up to a moment; the zero one means without end. The caller has the turn.
func (p *Publisher) deadlines(ctx context.Context, until time.Time) ([]Deadline, error) {
	all, errs := p.dates(ctx)
	along := p.Now().Add(event.AlongWith)
	bins := map[string]*Deadline{}
	var list []Deadline
	for _, d := range all {
		product, kind, err := metadata.SplitRole(d.Role)
		switch {
		case err != nil:
			errs = errors.Join(errs, err)
		case !until.IsZero() && d.Expires.After(until):
		case kind == metadata.RoleBin:
			first := bins[product]
			if first == nil {
				first = &Deadline{RoleVersion: d.RoleVersion}
				bins[product] = first
			}
			if earlier(d.RoleVersion, first.RoleVersion) < 0 {
				first.RoleVersion = d.RoleVersion
			}
			if !d.Expires.After(along) {
				first.Bins++
			}
		default:
			list = append(list, Deadline{RoleVersion: d.RoleVersion})
		}
	}
	for _, d := range bins {
		list = append(list, *d)
	}
	slices.SortFunc(list, func(a, b Deadline) int { return earlier(a.RoleVersion, b.RoleVersion) })
	kept := list[:0]
	for _, d := range list {
		keep, err := p.whoActs(ctx, &d)
		if errs = errors.Join(errs, err); keep {
			kept = append(kept, d)
		}
	}
	slices.SortStableFunc(kept, func(a, b Deadline) int { return cmp.Compare(own(a), own(b)) })
	return kept, errs
}

func earlier(a, b event.RoleVersion) int {
	return cmp.Or(a.Expires.Compare(b.Expires), cmp.Compare(a.Repository, b.Repository), cmp.Compare(a.Role, b.Role))
}

// own is 1 for what the server signs by itself.
func own(d Deadline) int {
	if d.Require == nil {
		return 1
	}
	return 0
}

// whoActs fills in who must sign the next version of a role, and the event that is open on it; keep is
// false for a role of which nobody must.
func (p *Publisher) whoActs(ctx context.Context, d *Deadline) (keep bool, err error) {
	if d.Role == metadata.Snapshot || d.Role == metadata.Timestamp {
		return true, nil
	}
	if gone, err := p.state.Retired(d.Role); gone || err != nil {
		return false, err
	}
	role := d.Role
	if product, kind, err := metadata.SplitRole(role); err == nil && kind == metadata.RoleBin {
		role = product // whose people sign its bins (DESIGN 1.1), and which is read anyway
	}
	del, err := p.state.Delegation(d.Repository, role)
	if err != nil || del == nil || del.Quorum == nil {
		return false, err
	}
	d.Require = del.Quorum.Require
	return true, p.Store.View(ctx, func(v store.View) error {
		id, ok, err := v.OpenEvent(d.Repository, d.Role)
		if d.Event = ""; ok {
			d.Event = id.String()
		}
		return err
	})
}

// thresholds are the days before an expiry at which the log warns (DESIGN 1.5), and the expiry itself.
var thresholds = []int{60, 30, 14, 7, 1, 0}

const day = 24 * time.Hour

// warn tells the log of roles of people that expire soon, and of who must act: once at each threshold.
// The caller has the turn.
func (p *Publisher) warn(ctx context.Context) {
	now := p.Now()
	list, err := p.deadlines(ctx, now.Add(time.Duration(thresholds[0])*day))
	if err != nil {
		p.Log.Error("expiry of roles not read", "error", err)
	}
	p.warnOf(list, now)
}

// warnOf warns of those of the list of which it has not; what is not in the list is forgotten.
func (p *Publisher) warnOf(list []Deadline, now time.Time) {
	warned := map[string]int{}
	for _, d := range list {
		if d.Require == nil {
			continue // what the server does is health's matter
		}
		name := roleName(d.Repository, d.Role)
		if d.Bins > 0 {
			name = roleName(d.Repository, groupOf(d.Role)+" bins") // another may be the first one tomorrow
		}
		left := d.Expires.Sub(now)
		for _, days := range thresholds {
			if left <= time.Duration(days)*day {
				warned[name]++
			}
		}
		if warned[name] > p.warned[name] {
			p.Log.Warn("a role expires soon", "role", roleName(d.Repository, d.Role), "bins", d.Bins, "days", int(left.Hours()/24),
				"expired", left <= 0, "sign", requireText(d.Require), "event", d.Event, "hint", signHint(d))
		}
	}
	p.warned = warned
}

// requireText names classes and numbers of people: "engineering 1, quality 2".
func requireText(require map[string]int) string {
	var classes []string
	for _, class := range slices.Sorted(maps.Keys(require)) {
		classes = append(classes, fmt.Sprintf("%s %d", class, require[class]))
	}
	return strings.Join(classes, ", ")
}

// signHint is what the people paste.
func signHint(d Deadline) string {
	switch {
	case d.Event != "":
		return "countersign sign " + d.Event[:12]
	case d.Role == metadata.Root:
		return "countersign refresh " + string(d.Repository) + "-root"
	}
	return "countersign refresh " + groupOf(d.Role)
}

// groupOf names the roles that are refreshed together with one that is stored.
func groupOf(role string) string {
	group, err := event.GroupOf(role)
	if err != nil {
		return role
	}
	return group
}
