package publish

import (
	"context"
	"errors"

	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/repository/internal/store"
	"github.com/countersign-ota/countersign/signer/event"
)

// baseSource gives the base that an event was made from: for an open one what is in force; for others
// the version that the proposal names and, of roles that it does not touch, what was in force then.
func (p *Publisher) baseSource(e *event.Event, rec *pb.EventRecord) event.Source {
	if rec.GetState() == pb.EventState_EVENT_STATE_OPEN {
		return source{p.Store}
	}
	return past{source{p.Store}, e, rec}
}

type past struct {
	source
	event *event.Event
	rec   *pb.EventRecord
}

// Current implements event.Source.
func (s past) Current(r metadata.Repository, role string) (data []byte, err error) {
	i := s.event.Proposal.Index(r, role)
	if i >= 0 && s.event.Proposal.Files[i].Base == nil {
		return nil, nil
	}
	err = s.store.View(context.Background(), func(v store.View) error {
		data = nil
		if i >= 0 {
			rec, err := v.Role(r, role, s.event.Proposal.Files[i].Base.Version)
			data = rec.GetData()
			return missing(err)
		}
		until, err := s.publishedAt(v)
		if err != nil {
			return err
		}
		version, rec, err := v.Current(r, role)
		for err == nil && rec.GetPublishedAt() > until && version > 1 {
			version--
			var older *pb.RoleRecord
			if older, err = v.Role(r, role, version); errors.Is(err, store.ErrNotFound) {
				err = nil // a version that was skipped
				continue
			}
			rec = older
		}
		data = rec.GetData()
		return missing(err)
	})
	return data, err
}

// publishedAt says when the event was published; of one that never was, when it was opened.
func (s past) publishedAt(v store.View) (int64, error) {
	if len(s.rec.GetPublished()) == 0 {
		return s.rec.GetOpenedAt(), nil
	}
	f := s.rec.GetPublished()[0]
	rec, err := v.Role(metadata.Repository(f.GetRepository()), f.GetRole(), f.GetVersion())
	return rec.GetPublishedAt(), err
}

// Root implements event.Source: the chain ends before a root that the event itself proposes.
func (s past) Root(r metadata.Repository, version int64) ([]byte, error) {
	if i := s.event.Proposal.Index(r, metadata.Root); i >= 0 {
		if base := s.event.Proposal.Files[i].Base; base == nil || version > base.Version {
			return nil, nil
		}
	}
	return s.source.Root(r, version)
}
