package publish

import (
	"context"
	"fmt"

	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/proto/statement"
	"github.com/countersign-ota/countersign/repository/internal/audit"
	"github.com/countersign-ota/countersign/repository/internal/store"
	"github.com/countersign-ota/countersign/signer/event"
)

// AddSignature counts what people signed for an open event. What counts is durable on return, together
// with what it uses up; what does not is in the outcomes, in the order of sigs and then approvals.
// Reasons: not-found, event-published, event-stale, event-cancelled, and those for which nobody may
// sign the proposal any more.
func (p *Publisher) AddSignature(ctx context.Context, by, id string, sigs []event.Signature, approvals []statement.Envelope) ([]event.Outcome, error) {
	outcomes, err := p.addSignature(ctx, by, id, sigs, approvals)
	if err != nil {
		p.Audit.Refused(ctx, actor(by), "event.sign", id, err)
		return nil, err
	}
	p.auditRefused(ctx, by, id, outcomes)
	return outcomes, nil
}

func (p *Publisher) addSignature(ctx context.Context, by, idText string, sigs []event.Signature, approvals []statement.Envelope) ([]event.Outcome, error) {
	id, rec, done, err := p.begin(ctx, idText)
	if err != nil {
		return nil, err
	}
	defer done()
	if err := p.mayChange(ctx); err != nil {
		return nil, err
	}
	if err := notOpen(id, rec); err != nil {
		return nil, err
	}
	return p.add(ctx, by, id, rec, sigs, approvals)
}

// add counts signatures for an open event; the caller has the turn.
func (p *Publisher) add(ctx context.Context, by string, id store.EventID, rec *pb.EventRecord, sigs []event.Signature, approvals []statement.Envelope) ([]event.Outcome, error) {
	j, err := p.judgement(ctx, id, rec)
	if err != nil {
		return nil, err
	}
	if len(sigs) > maxSignaturesAFile*len(j.Files) || len(approvals) > maxApprovals {
		return nil, reason.Errorf(reason.TooManySignatures, "%d signatures and %d approvals at once, at most %d a file and %d are allowed",
			len(sigs), len(approvals), maxSignaturesAFile, maxApprovals)
	}
	had := map[signer]bool{}
	for _, s := range j.Event.Signatures {
		had[signerOf(s)] = true
	}
	approved := len(j.Event.Approvals)
	outcomes := j.Add(sigs, approvals)
	var fresh []event.Signature
	for _, s := range j.Event.Signatures {
		if !had[signerOf(s)] {
			fresh = append(fresh, s)
		}
	}
	if len(fresh) == 0 && len(j.Event.Approvals) == approved {
		return outcomes, nil
	}
	if err := p.putSigned(ctx, by, id, j, fresh); err != nil {
		delete(p.judged, id) // it says more than is stored
		return nil, err
	}
	return outcomes, nil
}

// putSigned stores an open event with its new signatures, and what they use up.
func (p *Publisher) putSigned(ctx context.Context, by string, id store.EventID, j *event.Judgement, fresh []event.Signature) error {
	data, err := j.Event.Bytes()
	if err != nil {
		return err
	}
	now := p.Now()
	return p.Store.Update(ctx, func(tx store.Tx) error {
		rec, err := tx.Event(id)
		if err != nil {
			return err
		}
		rec.Event = data
		if err := tx.PutEvent(id, rec); err != nil {
			return err
		}
		if err := putUses(tx, j); err != nil {
			return err
		}
		for _, s := range fresh {
			f := j.Files[s.File]
			detail := fmt.Sprintf("%s %d by %s, key %.12s", roleName(f.Repository, f.Role), f.NewVersion, personOf(j, s.File, s.KeyID), s.KeyID)
			if err := audit.Write(tx, audit.Entry(now, actor(by), "event.sign", id.String(), detail)); err != nil {
				return err
			}
		}
		if len(fresh) == 0 {
			return audit.Write(tx, audit.Entry(now, actor(by), "event.approve", id.String(), ""))
		}
		return nil
	})
}

// signer names a signature of an event: there is one by a key and file.
type signer struct {
	file  int
	keyID string
}

func signerOf(s event.Signature) signer { return signer{s.File, s.KeyID} }
