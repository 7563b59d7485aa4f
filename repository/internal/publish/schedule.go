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
// expire; it opens the events by which people refresh those. New files are durable and public on return.
// Reason online-key-unknown if a root in force names other online keys, recover-first on a restored copy, which signs nothing; while the server is
// behind the field it signs, and says so by repository-behind-field.
func (p *Publisher) Refresh(ctx context.Context) error {
	done, err := p.take(ctx)
	if err != nil {
		return err
	}
	defer done()
	p.unwell, p.looked = p.keepFresh(ctx), p.Now()
	return p.unwell
}

// keepFresh is Refresh; the caller has the turn.
func (p *Publisher) keepFresh(ctx context.Context) error {
	fitness := p.fitness(ctx)
	if fitness != nil && !reason.Is(fitness, reason.BehindField) {
		return fitness
	}
	c, err := p.current(ctx)
	if err != nil || c.snapshot.version == 0 {
		return errors.Join(err, fitness) // before init there is nothing to keep fresh
	}
	if fitness == nil {
		p.openDue(ctx)
	}
	p.warn(ctx)
	if err := p.named(ctx, c); err != nil {
		return errors.Join(err, fitness)
	}
	return errors.Join(p.refresh(ctx, c), fitness)
}

// named makes sure that the roots in force name this server's online keys: online-key-unknown. It is asked
// before anything is due, so that whoever replaced the keys hears at once what the server waits for.
func (p *Publisher) named(ctx context.Context, c inForce) error {
	var director *metadata.File[metadata.RootRole]
	err := p.Store.View(ctx, func(v store.View) error {
		director = nil
		_, rec, err := v.Current(metadata.Director, metadata.Root)
		if err == nil {
			director, err = metadata.ParseRoot(rec.GetData(), metadata.Profile)
		}
		return missing(err)
	})
	if err != nil {
		return err
	}
	for _, k := range []struct {
		repository metadata.Repository
		root       *metadata.File[metadata.RootRole]
		key        *metadata.Key
	}{{metadata.Image, c.root, p.online.own.Image}, {metadata.Director, director, p.online.own.Director}} {
		if k.root == nil {
			continue
		}
		for _, role := range []string{metadata.Snapshot, metadata.Timestamp} {
			if err := namesKey(k.repository, k.root, role, k.key); err != nil {
				return err
			}
		}
	}
	return nil
}

// refresh signs snapshot and timestamp where their time has come.
func (p *Publisher) refresh(ctx context.Context, c inForce) error {
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
	err := p.Store.Update(ctx, func(tx store.Tx) error { return p.putOnlineFiles(tx, files, now) })
	if err != nil {
		return err
	}
	for _, f := range files {
		p.note(metadata.Image, f)
	}
	return nil
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
