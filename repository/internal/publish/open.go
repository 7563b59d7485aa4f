package publish

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"

	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/repository/internal/audit"
	"github.com/countersign-ota/countersign/repository/internal/store"
	"github.com/countersign-ota/countersign/signer/event"
)

// OpenEvent takes an event file from an operator: it judges the proposal, holds its roles, and counts
// the signatures that the file carries. An event that is open already takes what is new in the file.
// The event is durable on return. Reasons: those of signer/event, role-open, event-published,
// event-stale, event-cancelled.
func (p *Publisher) OpenEvent(ctx context.Context, by string, data []byte) (id string, outcomes []event.Outcome, err error) {
	e, err := event.Parse(data)
	if err != nil {
		p.Audit.Refused(ctx, actor(by), "event.open", "", err)
		return "", nil, err
	}
	id = e.ID()
	outcomes, err = p.open(ctx, by, id, e)
	if err != nil {
		p.Audit.Refused(ctx, actor(by), "event.open", id, err)
		return "", nil, err
	}
	p.auditRefused(ctx, by, id, outcomes)
	return id, outcomes, nil
}

func (p *Publisher) open(ctx context.Context, by, idText string, e *event.Event) ([]event.Outcome, error) {
	id, err := parseID(idText)
	if err != nil {
		return nil, err
	}
	done, err := p.take(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	if err := p.mayChange(ctx); err != nil {
		return nil, err
	}
	rec, err := p.record(ctx, id)
	switch {
	case err == nil:
		if err := notOpen(id, rec); err != nil {
			return nil, err
		}
		return p.add(ctx, by, id, rec, e.Signatures, e.Approvals)
	case !errors.Is(err, store.ErrNotFound):
		return nil, err
	}
	e.Base = nil // the server judges against what is in force, not against what the file says
	giveWay, held, err := p.roleOpen(ctx, id, e)
	if err != nil {
		return nil, err
	}
	if len(held) > 0 && e.Proposal.Kind != event.Stop {
		return nil, held[0].refusal
	}
	j, err := p.judge(ctx, e, true)
	if err != nil {
		return nil, err
	}
	for _, h := range held {
		if err := p.urgent(ctx, j, h); err != nil {
			return nil, err
		}
		giveWay = append(giveWay, h.id)
	}
	err = p.Store.Update(ctx, func(tx store.Tx) error {
		for _, other := range giveWay {
			if err := p.markStale(tx, other, id); err != nil {
				return err
			}
		}
		return p.putOpen(tx, by, id, j, nil)
	})
	if err != nil {
		return nil, err
	}
	p.keep(id, j)
	return allOutcomes(j), nil
}

// roleOpen refuses an event while another is open on one of its roles (DESIGN 3). A refresh gives way
// to any event that is none, unless it follows a cancelled event; those that give way are returned, and
// those that do not.
func (p *Publisher) roleOpen(ctx context.Context, id store.EventID, e *event.Event) (giveWay []store.EventID, held []holding, err error) {
	err = p.Store.View(ctx, func(v store.View) error {
		giveWay, held = nil, nil
		seen := map[store.EventID]bool{}
		for _, f := range e.Proposal.Files {
			other, ok, err := v.OpenEvent(f.Repository, f.Role)
			if err != nil {
				return err
			}
			if !ok || other == id || seen[other] {
				continue
			}
			seen[other] = true
			rec, err := v.Event(other)
			if err != nil {
				return err
			}
			s, err := summarise(other, rec)
			if err != nil {
				return err
			}
			if s.GetKind() == event.Refresh && e.Proposal.Kind != event.Refresh && len(rec.GetSuccessorOf()) == 0 {
				giveWay = append(giveWay, other)
				continue
			}
			held = append(held, holding{other, rec, openOn(f, other, s, rec)})
		}
		return nil
	})
	return giveWay, held, err
}

// holding is an open event that holds a role, and what is said to who wants another one.
type holding struct {
	id      store.EventID
	rec     *pb.EventRecord
	refusal error
}

// urgent lets a stop that comes with its quorum pass an event that holds its list: patients do not wait
// for a change of people. Only a root that has its quorum is not passed, since it can neither be taken
// back nor signed anew with other content (DESIGN 1.5).
func (p *Publisher) urgent(ctx context.Context, stop *event.Judgement, h holding) error {
	if !stop.Complete {
		return h.refusal
	}
	j, err := p.judgement(ctx, h.id, h.rec)
	if err != nil {
		return nil //nolint:nilerr // it cannot be published any more: it only holds its roles
	}
	for i := range j.Files {
		if f := &j.Files[i]; f.Role == metadata.Root && f.Complete() {
			return h.refusal
		}
	}
	return nil
}

func openOn(f event.ProposedFile, other store.EventID, s *pb.EventSummary, rec *pb.EventRecord) error {
	if of := rec.GetSuccessorOf(); len(of) > 0 {
		return reason.Errorf(reason.RoleOpen, "event %.12s is open on %s %s; it follows the cancelled %.12s and comes first",
			other, f.Repository, f.Role, hex.EncodeToString(of)).WithHint("countersign sign %.12s", other)
	}
	return reason.Errorf(reason.RoleOpen, "event %.12s (%s %s) is open on %s %s", other, s.GetKind(), s.GetSubject(), f.Repository, f.Role).
		WithHint("publish it, or: countersign cancel %.12s --reason T", other)
}

// putOpen stores a judged event as open, with what its signatures use up. successorOf is the event in
// whose place it is opened, or nil.
func (p *Publisher) putOpen(tx store.Tx, by string, id store.EventID, j *event.Judgement, successorOf []byte) error {
	data, err := j.Event.Bytes()
	if err != nil {
		return err
	}
	now := p.Now()
	if err := tx.PutEvent(id, &pb.EventRecord{
		Event: data, State: pb.EventState_EVENT_STATE_OPEN, OpenedBy: by, OpenedAt: now.Unix(), SuccessorOf: successorOf,
	}); err != nil {
		return err
	}
	for _, f := range j.Files {
		if err := tx.SetOpen(f.Repository, f.Role, id); err != nil {
			return err
		}
	}
	if err := putUses(tx, j); err != nil {
		return err
	}
	detail := fmt.Sprintf("%s %s, %d files, %d signatures", j.Event.Proposal.Kind, j.Event.Proposal.Subject, len(j.Files), len(j.Event.Signatures))
	if successorOf != nil {
		detail += ", in place of " + hex.EncodeToString(successorOf)
	}
	return audit.Write(tx, audit.Entry(now, actor(by), "event.open", id.String(), detail))
}

// putUses records what the signatures that count use up (DESIGN 1.5). An init uses up nothing: its
// files hang under roots that nobody has pinned, and like a root's its versions can only be 1, so a
// cancelled one must not stand in the way of the next.
func putUses(tx store.Tx, j *event.Judgement) error {
	if j.Event.Proposal.Kind == event.Init {
		return nil
	}
	for _, u := range j.Uses() {
		if err := tx.PutUsed(u.Repository, u.Role, &pb.UsedRecord{Version: u.Version, Counter: u.Counter}); err != nil {
			return err
		}
	}
	return nil
}

// markStale ends an open event because by comes first on one of its roles.
func (p *Publisher) markStale(tx store.Tx, id, by store.EventID) error {
	rec, err := tx.Event(id)
	if err != nil {
		return err
	}
	e, err := event.Parse(rec.GetEvent())
	if err != nil {
		return damaged(id, err)
	}
	rec.State, rec.StaleBy = pb.EventState_EVENT_STATE_STALE, by[:]
	if err := endOpen(tx, id, rec, e); err != nil {
		return err
	}
	return audit.Write(tx, audit.Entry(p.Now(), audit.Server, "event.stale", id.String(), "because of "+by.String()))
}

// endOpen stores an event that is no longer open and frees its roles.
func endOpen(tx store.Tx, id store.EventID, rec *pb.EventRecord, e *event.Event) error {
	for _, f := range e.Proposal.Files {
		if other, ok, err := tx.OpenEvent(f.Repository, f.Role); err != nil {
			return err
		} else if ok && other == id {
			if err := tx.ClearOpen(f.Repository, f.Role); err != nil {
				return err
			}
		}
	}
	return tx.PutEvent(id, rec)
}

// damaged says that a stored event cannot be read.
func damaged(id store.EventID, err error) error {
	return reason.Errorf(reason.StateDamaged, "stored event %.12s: %v", id, err).WithHint("countersignd check")
}

// allOutcomes lists what became of each signature and approval of a judged event.
func allOutcomes(j *event.Judgement) []event.Outcome {
	var all []event.Outcome
	for _, s := range j.Event.Signatures {
		all = append(all, event.Outcome{File: s.File, KeyID: s.KeyID, Person: personOf(j, s.File, s.KeyID)})
	}
	return append(all, j.Refused...)
}

// personOf returns who has a key among those who sign a file; "" for nobody.
func personOf(j *event.Judgement, file int, keyID string) string {
	if file < 0 || file >= len(j.Files) {
		return ""
	}
	for _, s := range j.Files[file].Signers {
		if person, ok := s.Delegation.PersonOf(keyID); ok {
			return person.ID
		}
	}
	return ""
}

// auditRefused writes an entry for each signature that was refused.
func (p *Publisher) auditRefused(ctx context.Context, by, id string, outcomes []event.Outcome) {
	for _, o := range outcomes {
		if o.Err != nil {
			p.Audit.Refused(ctx, actor(by), "event.sign", id, o.Err)
		}
	}
}

// roleName names a role for people: "image gw-100".
func roleName(r metadata.Repository, role string) string { return string(r) + " " + role }
