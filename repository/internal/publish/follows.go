package publish

import (
	"context"
	"encoding/hex"

	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/repository/internal/store"
	"github.com/countersign-ota/countersign/signer/event"
)

// follows judges whether a genuine file may take the place of the version in force, 0 if there is none. No
// event brought a file that is shown, so whoever signs a role alone, as a stop list, or collects what others
// signed, could bring by it what no event would. refused says why not; the
// error is of the store.
func (n *newest) follows(f *fate, current int64, state *event.State) (refused, err error) {
	err = n.p.Store.View(n.ctx, func(v store.View) error {
		refused = nil
		used, err := v.Used(f.Repository, f.Role)
		if missing(err) != nil {
			return err
		}
		if base := max(current, used.GetVersion()); f.version-base > event.MaxGap {
			refused = reason.Errorf(reason.IntegerRange, "%s goes from version %d to %d, wanted at most %d more", roleName(f.Repository, f.Role), base, f.version, int64(event.MaxGap))
			return nil
		}
		// A version that is used up is never proposed again, so nothing comes of it that it was not published.
		if f.version > used.GetVersion() {
			return nil
		}
		refused, err = ended(v, f)
		return err
	})
	if refused != nil || err != nil || current == 0 {
		return refused, err
	}
	product, kind, err := metadata.SplitRole(f.Role)
	if err != nil || kind != metadata.RoleStop {
		return nil, err
	}
	return n.keepsStops(f, product, state)
}

// ended refuses the content of an event that ended here without being published. One that was open when the
// server was recovered may have been.
func ended(v store.View, f *fate) (refused, err error) {
	for e, err := range v.Events(store.EventQuery{All: true}) {
		if err != nil {
			return nil, err
		}
		state := e.Record.GetState()
		if state != pb.EventState_EVENT_STATE_CANCELLED && state != pb.EventState_EVENT_STATE_STALE || unsure(e.Record) {
			continue
		}
		parsed, err := event.Parse(e.Record.GetEvent())
		if err != nil {
			return nil, damaged(e.ID, err)
		}
		if i := parsed.Proposal.Index(f.Repository, f.Role); i >= 0 && parsed.Proposal.Files[i].Digest() == f.digest {
			return notOpen(e.ID, e.Record), nil
		}
	}
	return nil, nil
}

// unsure says that an event was ended by a recovery.
func unsure(rec *pb.EventRecord) bool {
	return rec.GetState() == pb.EventState_EVENT_STATE_STALE && len(rec.GetStaleBy()) == 0
}

// keepsStops judges a stop list beside the one in force.
func (n *newest) keepsStops(f *fate, product string, state *event.State) (refused, err error) {
	var old []metadata.StopEntry
	err = n.p.Store.View(n.ctx, func(v store.View) error {
		_, rec, err := v.Current(f.Repository, f.Role)
		if err != nil {
			return err
		}
		old, err = stopsIn(rec.GetData())
		return err
	})
	if err != nil {
		return nil, err
	}
	list, refused := stopsIn(f.Data)
	if refused == nil {
		refused = reason.Wrap(state.KeepsStops(product, old, list, history{n.ctx, n.p.Store}, n.p.Now()), "%s %d", roleName(f.Repository, f.Role), f.version)
	}
	return refused, nil
}

func stopsIn(data []byte) ([]metadata.StopEntry, error) {
	t, err := metadata.ParseTargets(data, metadata.Profile)
	if err != nil {
		return nil, err
	}
	return metadata.ParseStops(t.Signed.UnrecognizedFields[metadata.StopField])
}

// notLost takes back what was taken if all of it is content of events that are open here and have their
// quorum in it: nobody proves by that that the server lost what it had published. Such content is published
// here or, but for roots, cancelled, which uses up its version; so no version gets a second content.
func (p *Publisher) notLost(ctx context.Context, fates []fate) error {
	open := make([]store.EventID, len(fates))
	for i := range fates {
		f := &fates[i]
		if !f.taken {
			continue
		}
		id, ok, err := p.proposed(ctx, f)
		if err != nil || !ok {
			return err
		}
		open[i] = id
	}
	for i := range fates {
		if f := &fates[i]; f.taken {
			f.taken = false
			f.err = reason.Errorf(reason.RoleOpen, "%s %d is what event %.12s proposes, which is open here and was not published", roleName(f.Repository, f.Role), f.version, hex.EncodeToString(open[i][:])).
				WithHint("countersign publish %.12s", hex.EncodeToString(open[i][:]))
		}
	}
	return nil
}

// proposed returns the open event that proposes the content of a file and has its quorum for that.
func (p *Publisher) proposed(ctx context.Context, f *fate) (id store.EventID, ok bool, err error) {
	var rec *pb.EventRecord
	err = p.Store.View(ctx, func(v store.View) error {
		if id, ok, err = v.OpenEvent(f.Repository, f.Role); err == nil && ok {
			rec, err = v.Event(id)
		}
		return err
	})
	if err != nil || !ok {
		return id, false, err
	}
	j, err := p.judgement(ctx, id, rec)
	if err != nil {
		return id, false, nil //nolint:nilerr // it cannot be published any more
	}
	for i := range j.Files {
		if g := &j.Files[i]; g.Repository == f.Repository && g.Role == f.Role && g.Digest == f.digest {
			return id, g.Complete(), nil
		}
	}
	return id, false, nil
}
