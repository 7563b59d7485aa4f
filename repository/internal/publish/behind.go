package publish

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/repository/internal/audit"
	"github.com/countersign-ota/countersign/repository/internal/store"
)

// MaxOffered is how many role files one call may show.
const MaxOffered = 2048

// maxRefused is how many refused files of one call get an entry of their own in the audit log.
const maxRefused = 16

// mayChange refuses decisions about events while they could give a version a second content: on a
// restored copy before recovery (recover-first), and while somebody has shown a newer role file than
// what is in force (repository-behind-field).
func (p *Publisher) mayChange(ctx context.Context) error {
	return p.Store.View(ctx, func(v store.View) error {
		if err := store.Recovered(v); err != nil {
			return err
		}
		return behind(v)
	})
}

// behind returns repository-behind-field if a newer role file is known.
func behind(v store.View) error {
	newer, err := v.Newer()
	if err != nil || len(newer) == 0 {
		return err
	}
	n := newer[0]
	version, _, err := v.Current(n.Repository, n.Role)
	if missing(err) != nil {
		return err
	}
	return reason.Errorf(reason.BehindField, "%s %d, genuine, was shown by %s; here is %d: this server lost what it had published",
		roleName(n.Repository, n.Role), n.Version, n.Record.GetFrom(), version).
		WithHint("find out who restored it; then, on the server: countersignd recover")
}

// Offer takes role files from somebody who saw newer ones than this server has, and says what became of
// each, in their order. A genuine newer one is kept for recovery, durably on return, and raises
// repository-behind-field: in the audit log, the log and health, until recovery took it. Reasons: limit.
func (p *Publisher) Offer(ctx context.Context, by string, files []Shown) ([]*pb.OfferedFile, error) {
	answers, err := p.offer(ctx, by, files)
	if err != nil {
		p.Audit.Refused(ctx, actor(by), "repository.offer", "", err)
		return nil, err
	}
	return answers, nil
}

func (p *Publisher) offer(ctx context.Context, by string, files []Shown) ([]*pb.OfferedFile, error) {
	if len(files) == 0 || len(files) > MaxOffered {
		return nil, reason.Errorf(reason.Limit, "%d role files at once, 1 to %d are taken", len(files), MaxOffered)
	}
	done, err := p.take(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	kept, err := p.kept(ctx)
	if err != nil {
		return nil, err
	}
	// What was shown before comes first: two of one version are not both taken.
	var shown []Shown
	for _, k := range kept {
		shown = append(shown, shownOf(k))
	}
	for _, f := range files {
		f.From = actor(by)
		shown = append(shown, f)
	}
	fates, err := p.newest(ctx, shown)
	if err != nil {
		return nil, err
	}
	if err = p.mayChange(ctx); err == nil {
		err = p.notLost(ctx, fates)
	}
	if err != nil && !reason.Is(err, reason.RecoverFirst) && !reason.Is(err, reason.BehindField) {
		return nil, err
	}
	if err := p.keepNewer(ctx, kept, fates); err != nil {
		return nil, err
	}
	var answers []*pb.OfferedFile
	refused := 0
	for _, f := range fates[len(kept):] {
		a := &pb.OfferedFile{Repository: string(f.Repository), Role: f.Role, Version: f.version, Newer: f.taken}
		if f.err != nil {
			a.Reason, a.Message = string(reason.Of(f.err)), f.err.Error()
			if refused++; refused <= maxRefused {
				p.Audit.Refused(ctx, actor(by), "repository.offer", fmt.Sprintf("%s %d", roleName(f.Repository, f.Role), f.version), f.err)
			}
		}
		answers = append(answers, a)
	}
	if more := refused - maxRefused; more > 0 {
		p.Audit.Refused(ctx, actor(by), "repository.offer", "", reason.Errorf(reason.Limit, "and %d more refused files of one call, not written", more))
	}
	return answers, nil
}

// keepNewer stores what was taken beside what was kept, the first of fates, and drops what a newer one
// took the place of. What was kept may have more signatures now.
func (p *Publisher) keepNewer(ctx context.Context, kept []store.Newer, fates []fate) error {
	fresh, old, grown := 0, 0, 0
	for i, f := range fates {
		switch {
		case i < len(kept) && !f.taken:
			old++
		case i < len(kept) && !bytes.Equal(f.Data, kept[i].Record.GetData()):
			grown++
		case i >= len(kept) && f.taken:
			fresh++
		}
	}
	if fresh+old+grown == 0 {
		return nil
	}
	now := p.Now()
	err := p.Store.Update(ctx, func(tx store.Tx) error {
		if err := audit.Write(tx, audit.Entry(now, audit.Server, "repository.newer", "", fmt.Sprintf("%d files kept, %d dropped, %d with more signatures", fresh, old, grown))); err != nil {
			return err
		}
		for i, f := range fates {
			if i < len(kept) && f.taken {
				if err := tx.PutNewer(f.Repository, f.Role, f.version, newerRecord(&f.candidate, kept[i].Record.GetAt())); err != nil {
					return err
				}
				continue
			}
			if i < len(kept) {
				if err := tx.DeleteNewer(f.Repository, f.Role, f.version); err != nil {
					return err
				}
				continue
			}
			if !f.taken {
				continue
			}
			if err := tx.PutNewer(f.Repository, f.Role, f.version, newerRecord(&f.candidate, now.Unix())); err != nil {
				return err
			}
			current, _, err := tx.Current(f.Repository, f.Role)
			if missing(err) != nil {
				return err
			}
			e := audit.Entry(now, f.From, "repository.behind", fmt.Sprintf("%s %d", roleName(f.Repository, f.Role), f.version),
				fmt.Sprintf("genuine, content %x; here is %d", f.digest, current))
			e.Reason = string(reason.BehindField)
			if err := audit.Write(tx, e); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || fresh == 0 {
		return err
	}
	for _, f := range fates[len(kept):] {
		if f.taken {
			p.Log.Error("the repository is behind the field", "reason", reason.BehindField, "role", roleName(f.Repository, f.Role), "version", f.version, "from", f.From)
		}
	}
	p.look()
	return nil
}

// look has the schedule look now: health changes with it.
func (p *Publisher) look() {
	select {
	case p.wake <- struct{}{}:
	default: // it is about to
	}
}

// fitness says why a server that works is not well: nil, recover-first or repository-behind-field.
func (p *Publisher) fitness(ctx context.Context) error {
	err := p.mayChange(ctx)
	if err == nil || reason.Is(err, reason.RecoverFirst) || reason.Is(err, reason.BehindField) {
		return err
	}
	return errors.Join(errors.New("whether recovery is due is not known"), err)
}
