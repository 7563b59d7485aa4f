package publish

import (
	"context"
	"errors"
	"strings"

	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/repository/internal/store"
	"github.com/countersign-ota/countersign/signer/event"
)

// baseSource gives the base that an event was made from: for an open one what is in force; for others
// the version that the proposal names and, of roles that it does not touch, what was in force then.
// That includes the roots up to then, and no later ones: people who have left since still count there.
func (p *Publisher) baseSource(e *event.Event, rec *pb.EventRecord) event.Source {
	if rec.GetState() == pb.EventState_EVENT_STATE_OPEN {
		return source{p.Store}
	}
	return &past{source: source{p.Store}, event: e, rec: rec, roots: map[metadata.Repository]int64{}}
}

type past struct {
	source
	event *event.Event
	rec   *pb.EventRecord
	// roots remembers the version of the root in force then.
	roots map[metadata.Repository]int64
	// then is the time of the event, once it was asked for.
	then *moment
}

// moment is a place in the order of publications. Seconds alone do not order them: several events may
// be published in one.
type moment struct {
	// snapshot is the version of the snapshot that the event published; 0 if it published none. roles
	// are the versions that it names.
	snapshot int64
	roles    map[string]int64
	// at is when the event was published, or opened if it never was: unix seconds.
	at int64
}

// Current implements event.Source.
func (s *past) Current(r metadata.Repository, role string) (data []byte, err error) {
	i := s.event.Proposal.Index(r, role)
	if i >= 0 && s.event.Proposal.Files[i].Base == nil {
		return nil, nil
	}
	err = s.store.View(context.Background(), func(v store.View) error {
		data = nil
		version, err := s.version(v, r, role, i)
		if err != nil || version == 0 {
			return err
		}
		rec, err := v.Role(r, role, version)
		data = rec.GetData()
		return missing(err)
	})
	return data, err
}

// version returns which version of a role the event builds on; 0 when there was none. i is the index
// of the role in the proposal.
func (s *past) version(v store.View, r metadata.Repository, role string, i int) (int64, error) {
	if i >= 0 {
		return s.event.Proposal.Files[i].Base.Version, nil
	}
	if role == metadata.Root {
		return s.root(v, r)
	}
	then, err := s.moment(v)
	if err != nil {
		return 0, err
	}
	if then.snapshot > 0 && r == metadata.Image {
		return then.roles[role], nil
	}
	return s.newest(v, r, role, func(rec *pb.RoleRecord) (bool, error) { return rec.GetPublishedAt() <= then.at, nil })
}

// Root implements event.Source: the chain ends with the root that was in force.
func (s *past) Root(r metadata.Repository, version int64) (data []byte, err error) {
	last, ok := s.roots[r]
	if !ok {
		err := s.store.View(context.Background(), func(v store.View) error {
			last = 0
			i := s.event.Proposal.Index(r, metadata.Root)
			if i >= 0 && s.event.Proposal.Files[i].Base == nil {
				return nil
			}
			var err error
			last, err = s.version(v, r, metadata.Root, i)
			return err
		})
		if err != nil {
			return nil, err
		}
		s.roots[r] = last
	}
	if version > last {
		return nil, nil
	}
	return s.source.Root(r, version)
}

// root returns the version of the root in force when the event was published.
func (s *past) root(v store.View, r metadata.Repository) (int64, error) {
	then, err := s.moment(v)
	if err != nil {
		return 0, err
	}
	return s.newest(v, r, metadata.Root, func(rec *pb.RoleRecord) (bool, error) {
		if then.snapshot > 0 && len(rec.GetEvent()) == len(store.EventID{}) {
			by, err := v.Event(store.EventID(rec.GetEvent()))
			if err != nil {
				return false, err
			}
			if snapshot := snapshotOf(by); snapshot > 0 {
				return snapshot <= then.snapshot, nil
			}
		}
		return rec.GetPublishedAt() <= then.at, nil
	})
}

// newest returns the newest version of a role for which was says that it was there; 0 if there is none.
func (s *past) newest(v store.View, r metadata.Repository, role string, was func(*pb.RoleRecord) (bool, error)) (int64, error) {
	version, _, err := v.Current(r, role)
	if err != nil {
		return 0, missing(err)
	}
	for ; version > 0; version-- {
		rec, err := v.Role(r, role, version)
		if errors.Is(err, store.ErrNotFound) {
			continue // a version that was skipped
		}
		if err != nil {
			return 0, err
		}
		if ok, err := was(rec); ok || err != nil {
			return version, err
		}
	}
	return 0, nil
}

// moment says when the event took place.
func (s *past) moment(v store.View) (*moment, error) {
	if s.then != nil {
		return s.then, nil
	}
	then := &moment{at: s.rec.GetOpenedAt(), snapshot: snapshotOf(s.rec)}
	if list := s.rec.GetPublished(); len(list) > 0 {
		rec, err := v.Role(metadata.Repository(list[0].GetRepository()), list[0].GetRole(), list[0].GetVersion())
		if err != nil {
			return nil, err
		}
		then.at = rec.GetPublishedAt()
	}
	if then.snapshot > 0 {
		rec, err := v.Role(metadata.Image, metadata.Snapshot, then.snapshot)
		if err != nil {
			return nil, err
		}
		snapshot, err := metadata.ParseSnapshot(rec.GetData(), metadata.Profile)
		if err != nil {
			return nil, err
		}
		then.roles = map[string]int64{}
		for file, m := range snapshot.Signed.Meta {
			then.roles[strings.TrimSuffix(file, ".json")] = m.Version
		}
	}
	s.then = then
	return then, nil
}

// snapshotOf returns the version of the snapshot that a stored event published; 0 if it published none.
func snapshotOf(rec *pb.EventRecord) int64 {
	for _, f := range rec.GetPublished() {
		if f.GetRepository() == string(metadata.Image) && f.GetRole() == metadata.Snapshot {
			return f.GetVersion()
		}
	}
	return 0
}
