package publish

import (
	"context"
	"errors"
	"fmt"
	"time"

	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/repository/internal/audit"
	"github.com/countersign-ota/countersign/repository/internal/store"
)

// tick is how often the schedule looks.
const tick = time.Minute

// thresholds are the days before an expiry at which the log warns (DESIGN 1.5), and the expiry itself.
var thresholds = []int{60, 30, 14, 7, 1, 0}

// Run keeps the online roles fresh until ctx ends. healthy is told whether they are.
func (p *Publisher) Run(ctx context.Context, healthy func(bool)) {
	t := time.NewTicker(tick)
	defer t.Stop()
	for {
		err := p.Refresh(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			p.Log.Error("online roles not signed anew", "error", err)
		}
		healthy(err == nil)
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		case <-p.wake:
		}
	}
}

// Refresh signs snapshot and timestamp anew where their time has come, and warns of offline roles that
// expire. New files are durable and public on return. Reason online-key-unknown if the root in force
// names other online keys, recover-first on a restored copy, which signs nothing; while the server is
// behind the field it signs, and says so by repository-behind-field.
func (p *Publisher) Refresh(ctx context.Context) error {
	done, err := p.take(ctx)
	if err != nil {
		return err
	}
	defer done()
	fitness := p.fitness(ctx)
	if fitness != nil && !reason.Is(fitness, reason.BehindField) {
		return fitness
	}
	return errors.Join(p.refresh(ctx), fitness)
}

// refresh is Refresh for a server that may sign; the caller has the turn.
func (p *Publisher) refresh(ctx context.Context) error {
	c, err := p.current(ctx)
	if err != nil || c.snapshot.version == 0 {
		return err // before init there is nothing to keep fresh
	}
	p.warn(ctx)
	now := p.Now()
	if c.unsigned || c.snapshot.expires.Sub(now) < snapshotLife-snapshotEvery {
		files, err := p.onlineFiles(c, nil)
		if err != nil {
			return err
		}
		return p.putOnline(ctx, files)
	}
	fresh, err := p.timestampFresh(ctx, now)
	if err != nil || fresh {
		return err
	}
	f, err := p.timestamp(c.root, c.snapshot, c.timestamp)
	if err != nil {
		return err
	}
	return p.putOnline(ctx, []roleFile{f})
}

// timestampFresh reports whether the timestamp is younger than a day.
func (p *Publisher) timestampFresh(ctx context.Context, now time.Time) (fresh bool, err error) {
	err = p.Store.View(ctx, func(v store.View) error {
		_, rec, err := v.Current(metadata.Image, metadata.Timestamp)
		fresh = err == nil && time.Unix(rec.GetExpires(), 0).Sub(now) >= timestampLife-timestampEvery
		return missing(err)
	})
	return fresh, err
}

func (p *Publisher) putOnline(ctx context.Context, files []roleFile) error {
	now := p.Now()
	return p.Store.Update(ctx, func(tx store.Tx) error { return p.putOnlineFiles(tx, files, now) })
}

func (p *Publisher) putOnlineFiles(tx store.Tx, files []roleFile, now time.Time) error {
	for _, f := range files {
		if err := tx.PutRole(metadata.Image, f.role, f.version, &pb.RoleRecord{
			Data: f.data, Digest: f.digest[:], PublishedAt: now.Unix(), Expires: f.expires.Unix(),
		}); err != nil {
			return err
		}
		if err := snapshotIsWhole(tx, f.role); err != nil {
			return err
		}
		detail := fmt.Sprintf("version %d, expires %s", f.version, f.expires.UTC().Format(time.RFC3339))
		if err := audit.Write(tx, audit.Entry(now, audit.Server, "role.refresh", roleName(metadata.Image, f.role), detail)); err != nil {
			return err
		}
	}
	return nil
}

// warn tells the log of offline roles that expire soon, once at each threshold; the caller has the
// turn.
func (p *Publisher) warn(ctx context.Context) {
	now := p.Now()
	err := p.Store.View(ctx, func(v store.View) error {
		var errs error
		for _, r := range []metadata.Repository{metadata.Image, metadata.Director} {
			roles, err := v.Roles(r)
			if err != nil {
				return err
			}
			for _, role := range roles {
				if role.Role == metadata.Snapshot || role.Role == metadata.Timestamp {
					continue
				}
				_, rec, err := v.Current(r, role.Role)
				if err != nil {
					errs = errors.Join(errs, err)
					continue
				}
				p.warnRole(roleName(r, role.Role), time.Unix(rec.GetExpires(), 0).Sub(now))
			}
		}
		return errs
	})
	if err != nil {
		p.Log.Error("expiry of roles not read", "error", err)
	}
}

func (p *Publisher) warnRole(name string, left time.Duration) {
	passed := 0
	for _, days := range thresholds {
		if left <= time.Duration(days)*24*time.Hour {
			passed++
		}
	}
	before := p.warned[name]
	p.warned[name] = passed
	if passed <= before {
		return
	}
	p.Log.Warn("a role expires soon", "role", name, "days", int(left.Hours()/24), "expired", left <= 0, "hint", "countersign refresh")
}
