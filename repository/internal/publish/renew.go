package publish

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/repository/internal/audit"
	"github.com/countersign-ota/countersign/repository/internal/store"
	"github.com/countersign-ota/countersign/signer/event"
)

// Refresh events that the server opens by itself.
const (
	// renewBefore is how long before the first role of a group expires.
	renewBefore = 45 * day
	// renewEvery is the least time between two of one group of which the first was not published.
	renewEvery = day
	// maxRenew bounds the role files of one, in bytes: a person carries the event to where the key is. The
	// rest of the group comes with the next event.
	maxRenew = 16 << 20
)

// openDue opens refresh events for what expires within renewBefore and on which no event is open, one a
// group. What fails is told to the log, and tried again a day later. The caller has the turn.
func (p *Publisher) openDue(ctx context.Context) {
	groups, err := p.due(ctx)
	if err != nil {
		p.Log.Error("what must be refreshed is not known", "error", err)
	}
	for _, roles := range groups {
		group, now := groupOf(roles[0].Role), p.Now()
		if age := now.Sub(p.tried[group]); age >= 0 && age < renewEvery {
			continue
		}
		switch last, err := p.lastTried(ctx, group, now.Add(-renewEvery)); {
		case err != nil:
			p.Log.Error("what was refreshed is not known", "error", err)
			continue
		case !last.IsZero():
			p.tried[group] = last
			continue
		}
		p.tried[group] = now
		if id, err := p.openRefresh(ctx, roles); err != nil {
			p.Log.Error("refresh event not opened", "group", group, "reason", reason.Of(err), "error", err)
		} else {
			p.Log.Info("refresh event opened", "group", group, "event", id)
		}
	}
}

// due returns the groups of roles of which a refresh is due and may be opened.
func (p *Publisher) due(ctx context.Context) ([][]event.RoleRef, error) {
	all, err := p.dates(ctx)
	if err != nil {
		return nil, err
	}
	now := p.Now()
	var soon []event.RoleVersion
	for _, d := range all {
		if d.Expires.After(now.Add(event.AlongWith)) || d.Role == metadata.Snapshot || d.Role == metadata.Timestamp {
			continue
		}
		soon = append(soon, d.RoleVersion)
	}
	if len(soon) == 0 {
		return nil, nil
	}
	slices.SortFunc(soon, earlier)
	var free []event.RoleVersion
	for _, v := range soon {
		taken, err := p.taken(ctx, v)
		if err != nil {
			return nil, err
		}
		if !taken {
			free = append(free, v)
		}
	}
	groups, err := event.DueOf(free, now, renewBefore)
	for i := range groups {
		groups[i] = few(groups[i], all)
	}
	return groups, err
}

// taken reports whether no refresh of a role can be opened: its product is retired, or an event is open
// on it, or on the product's own file, which comes with each bin.
func (p *Publisher) taken(ctx context.Context, v event.RoleVersion) (taken bool, err error) {
	if gone, err := p.state.Retired(v.Role); gone || err != nil {
		return gone, err
	}
	err = p.Store.View(ctx, func(view store.View) error {
		if _, taken, err = view.OpenEvent(v.Repository, v.Role); taken || err != nil {
			return err
		}
		if product, kind, splitErr := metadata.SplitRole(v.Role); splitErr == nil && kind == metadata.RoleBin {
			_, taken, err = view.OpenEvent(v.Repository, product)
		}
		return err
	})
	return taken, err
}

// few cuts a group to the roles that expire first, as many as one event should hold.
func few(group []event.RoleRef, all map[event.RoleRef]dated) []event.RoleRef {
	sum := 0
	for _, ref := range group {
		sum += all[ref].size
	}
	if sum <= maxRenew {
		return group
	}
	group = slices.Clone(group)
	slices.SortStableFunc(group, func(a, b event.RoleRef) int { return all[a].Expires.Compare(all[b].Expires) })
	sum = all[group[0]].size
	n := 1
	for ; n < len(group) && sum+all[group[n]].size <= maxRenew; n++ {
		sum += all[group[n]].size
	}
	group = group[:n]
	slices.SortFunc(group, func(a, b event.RoleRef) int {
		return cmp.Or(cmp.Compare(a.Repository, b.Repository), cmp.Compare(a.Role, b.Role))
	})
	return group
}

// lastTried returns when the server last opened a refresh of a group after since that was not published;
// the zero time if it did not. After a restart that is all there is to know it from.
func (p *Publisher) lastTried(ctx context.Context, group string, since time.Time) (last time.Time, err error) {
	err = p.Store.View(ctx, func(v store.View) error {
		last = time.Time{}
		for e, err := range v.Events(store.EventQuery{All: true}) {
			if err != nil {
				return err
			}
			at := time.Unix(e.Record.GetOpenedAt(), 0)
			if !at.After(since) {
				return nil
			}
			if e.Record.GetOpenedBy() != audit.Server || len(e.Record.GetPublished()) > 0 {
				continue
			}
			parsed, err := event.Parse(e.Record.GetEvent())
			if err != nil {
				return damaged(e.ID, err)
			}
			if groupOfEvent(parsed) == group {
				last = at
				return nil
			}
		}
		return nil
	})
	return last, err
}

// groupOfEvent names the group of a refresh event; "" for other kinds.
func groupOfEvent(e *event.Event) string {
	if e.Proposal.Kind != event.Refresh || len(e.Proposal.Files) == 0 {
		return ""
	}
	return groupOf(e.Proposal.Files[0].Role)
}

// openRefresh opens the event that refreshes roles, and returns its id. Reasons: those of
// event.NewRefresh and of opening.
func (p *Publisher) openRefresh(ctx context.Context, roles []event.RoleRef) (string, error) {
	// Of its own, so that nothing is kept of the many bins that it may read.
	state, err := p.cache.StateOf(source{p.Store}, p.Deployment)
	if err != nil {
		return "", err
	}
	e, err := event.NewRefresh(roles, state, event.Opening{Now: p.Now().Truncate(time.Second), Memory: used{ctx, p.Store}})
	if err != nil {
		return "", err
	}
	e.Base = nil
	id, err := parseID(e.ID())
	if err != nil {
		return "", err
	}
	_, held, err := p.roleOpen(ctx, id, e)
	if err == nil && len(held) > 0 {
		err = held[0].refusal
	}
	if err != nil {
		return "", err
	}
	j, err := event.Judge(e, state, p.options(ctx, true))
	if err != nil {
		return "", err
	}
	return id.String(), p.Store.Update(ctx, func(tx store.Tx) error { return p.putOpen(tx, audit.Server, id, j, nil) })
}
