package publish

import (
	"context"
	"fmt"
	"time"

	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/repository/internal/audit"
	"github.com/countersign-ota/countersign/repository/internal/store"
	"github.com/countersign-ota/countersign/signer/event"
)

// Cancelled says what a cancellation left.
type Cancelled struct {
	// Void is how many signatures are kept but void.
	Void int
	// Successor is the event that was opened in its place; empty when none was.
	Successor string
}

// Cancel voids an open event. Its opener may, and whoever signs one of its roles; anybody may, where
// the event could not be published any more. If people had signed, the event with the old content and
// the next version is opened in its place (DESIGN 1.5). A root that has its quorum is not cancelled:
// it is published, and corrected by the next. The change is durable on return. Reasons: usage,
// permission, not-found, event-published, event-stale, event-cancelled.
func (p *Publisher) Cancel(ctx context.Context, by, id, why string) (Cancelled, error) {
	c, err := p.cancel(ctx, by, id, why)
	if err != nil {
		p.Audit.Refused(ctx, actor(by), "event.cancel", id, err)
		return Cancelled{}, err
	}
	return c, nil
}

func (p *Publisher) cancel(ctx context.Context, by, idText, why string) (Cancelled, error) {
	if why == "" || len(why) > maxReason {
		return Cancelled{}, reason.Errorf(reason.UsageError, "a cancellation wants a reason of 1 to %d bytes, this has %d", maxReason, len(why))
	}
	id, rec, done, err := p.begin(ctx, idText)
	if err != nil {
		return Cancelled{}, err
	}
	defer done()
	if err := p.mayChange(ctx); err != nil {
		return Cancelled{}, err
	}
	if err := notOpen(id, rec); err != nil {
		return Cancelled{}, err
	}
	e, err := event.Parse(rec.GetEvent())
	if err != nil {
		return Cancelled{}, damaged(id, err)
	}
	if err := p.mayCancel(ctx, by, id, rec); err != nil {
		return Cancelled{}, err
	}
	next, note := p.successor(ctx, id, e)
	c := Cancelled{Void: len(e.Signatures)}
	now := p.Now()
	err = p.Store.Update(ctx, func(tx store.Tx) error {
		rec, err := tx.Event(id)
		if err != nil {
			return err
		}
		rec.State, rec.CancelReason = pb.EventState_EVENT_STATE_CANCELLED, why
		if err := endOpen(tx, id, rec, e); err != nil {
			return err
		}
		detail := fmt.Sprintf("%s; %d signatures void%s", why, c.Void, note)
		if err := audit.Write(tx, audit.Entry(now, actor(by), "event.cancel", id.String(), detail)); err != nil {
			return err
		}
		if next == nil {
			return nil
		}
		nextID, err := parseID(next.ID())
		if err != nil {
			return err
		}
		return p.putOpen(tx, by, nextID, next, id[:])
	})
	if err != nil {
		return Cancelled{}, err
	}
	delete(p.judged, id)
	if next != nil {
		c.Successor = next.ID()
	}
	return c, nil
}

// mayCancel judges who may cancel an event, and whether anybody may.
func (p *Publisher) mayCancel(ctx context.Context, by string, id store.EventID, rec *pb.EventRecord) error {
	j, err := p.judgement(ctx, id, rec)
	if err != nil {
		return nil //nolint:nilerr // it cannot be published any more: it only holds its roles
	}
	signs := by == rec.GetOpenedBy()
	for i := range j.Files {
		f := &j.Files[i]
		if f.Role == metadata.Root && f.Complete() {
			return reason.Errorf(reason.Permission, "%s %d of event %.12s has its quorum: publish it, and correct it by the next root", roleName(f.Repository, f.Role), f.NewVersion, id).
				WithHint("countersign publish %.12s", id)
		}
		for _, s := range f.Signers {
			if s.Delegation.Quorum == nil {
				continue
			}
			for _, person := range s.Delegation.Quorum.People {
				signs = signs || person.ID == by
			}
		}
	}
	if !signs {
		return reason.Errorf(reason.Permission, "%s neither opened event %.12s nor signs one of its roles", by, id).
			WithHint("ask %s", whoMayCancel(rec))
	}
	return nil
}

// whoMayCancel names those whom somebody else asks.
func whoMayCancel(rec *pb.EventRecord) string {
	if rec.GetOpenedBy() == audit.Server {
		return "one of those who sign it"
	}
	return rec.GetOpenedBy()
}

// successor returns the judged event that takes the place of a signed one; nil when there is none,
// and then a note for the audit log where there should have been one.
func (p *Publisher) successor(ctx context.Context, id store.EventID, e *event.Event) (*event.Judgement, string) {
	if len(e.Signatures) == 0 || e.Proposal.Kind == event.Init {
		return nil, ""
	}
	next, err := event.Successor(e, p.state, event.Opening{Now: p.Now().Truncate(time.Second), Memory: used{ctx, p.Store}})
	if err == nil && next == nil {
		return nil, ""
	}
	var j *event.Judgement
	if err == nil {
		next.Base = nil
		j, err = p.judge(ctx, next, true)
	}
	if err != nil {
		// The roles must not stay held because of it: the next event on them goes above all used
		// versions too.
		p.Log.Error("no successor for a cancelled event", "event", id.String(), "error", err)
		return nil, "; no successor: " + err.Error()
	}
	return j, ""
}
