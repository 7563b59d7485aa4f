package publish

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/repository/internal/blob"
	"github.com/countersign-ota/countersign/repository/internal/store"
	"github.com/countersign-ota/countersign/signer/event"
)

// Bounds of lists.
const (
	minPrefix     = 4
	maxCandidates = 10
	defaultEvents = 100
	maxEvents     = 1000
)

// Event returns the event with this id, or with a unique prefix of it, as a file with its base, and
// where it stands. The base of an open event is what is in force; of another one, what it was made
// from. Reasons: malformed, not-found, ambiguous-id.
func (p *Publisher) Event(ctx context.Context, prefix string) ([]byte, *pb.EventSummary, error) {
	id, err := p.find(ctx, prefix)
	if err != nil {
		return nil, nil, err
	}
	rec, err := p.record(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	s, err := summarise(id, rec)
	if err != nil {
		return nil, nil, err
	}
	e, err := event.Parse(rec.GetEvent())
	if err != nil {
		return nil, nil, damaged(id, err)
	}
	if e.Base, err = event.BaseOf(e, p.baseSource(e, rec)); err != nil {
		return nil, nil, err
	}
	data, err := e.Bytes()
	return data, s, err
}

// find resolves an id or a prefix of one.
func (p *Publisher) find(ctx context.Context, prefix string) (store.EventID, error) {
	if len(prefix) < minPrefix || len(prefix) > 64 || strings.Trim(prefix, "0123456789abcdef") != "" {
		return store.EventID{}, reason.Errorf(reason.Malformed, "event id %q: want %d to 64 lower-case hex digits", prefix, minPrefix)
	}
	var ids []store.EventID
	var names []string
	err := p.Store.View(ctx, func(v store.View) error {
		names = nil
		var err error
		if ids, err = v.EventsByPrefix(prefix, maxCandidates); err != nil || len(ids) < 2 {
			return err
		}
		for _, id := range ids {
			rec, err := v.Event(id)
			if err != nil {
				return err
			}
			s, err := summarise(id, rec)
			if err != nil {
				return err
			}
			names = append(names, fmt.Sprintf("%.12s (%s %s)", id, s.GetKind(), s.GetSubject()))
		}
		return nil
	})
	switch {
	case err != nil:
		return store.EventID{}, err
	case len(ids) == 0:
		return store.EventID{}, reason.Errorf(reason.NotFound, "event %q is not known here", prefix).WithHint("countersign event list --all")
	case len(ids) > 1:
		return store.EventID{}, reason.Errorf(reason.AmbiguousID, "%q matches %s", prefix, strings.Join(names, " and ")).
			WithHint("countersign event show %.12s", ids[0])
	}
	return ids[0], nil
}

// summarise returns one line about an event.
func summarise(id store.EventID, rec *pb.EventRecord) (*pb.EventSummary, error) {
	e, err := event.Parse(rec.GetEvent())
	if err != nil {
		return nil, damaged(id, err)
	}
	s := &pb.EventSummary{
		Id: id.String(), Kind: e.Proposal.Kind, Subject: e.Proposal.Subject, State: rec.GetState(),
		OpenedBy: rec.GetOpenedBy(), OpenedAt: rec.GetOpenedAt(), StaleBy: hex.EncodeToString(rec.GetStaleBy()),
	}
	for _, f := range e.Proposal.Files {
		s.Roles = append(s.Roles, string(f.Repository)+"/"+f.Role)
	}
	return s, nil
}

// Events returns events, newest first: the open ones, or with all every one; at most limit, 0 meaning
// 100; those behind after, if it is not empty. Reasons: malformed, usage, not-found.
func (p *Publisher) Events(ctx context.Context, all bool, limit int, after string) ([]*pb.EventSummary, error) {
	switch {
	case limit == 0:
		limit = defaultEvents
	case limit < 0 || limit > maxEvents:
		return nil, reason.Errorf(reason.UsageError, "limit %d: want 1 to %d", limit, maxEvents)
	}
	q := store.EventQuery{All: all}
	if after != "" {
		id, err := parseID(after)
		if err != nil {
			return nil, err
		}
		rec, err := p.record(ctx, id)
		if err != nil {
			return nil, err
		}
		q.Before = rec.GetOrder()
	}
	var list []*pb.EventSummary
	err := p.Store.View(ctx, func(v store.View) error {
		list = nil
		for e, err := range v.Events(q) {
			if err != nil {
				return err
			}
			s, err := summarise(e.ID, e.Record)
			if err != nil {
				return err
			}
			if list = append(list, s); len(list) == limit {
				break
			}
		}
		return nil
	})
	return list, err
}

// RoleFile is a published role file.
type RoleFile struct {
	Data []byte
	// UsedVersion and UsedCounter say what signatures used up, when the newest version was asked for.
	UsedVersion, UsedCounter int64
}

// RoleFile returns one version of a role as published; 0 is the newest. Of the director repository
// only root is here. With used, a role of which there is only a record of what is used up is no error.
// Reasons: malformed, not-found.
func (p *Publisher) RoleFile(ctx context.Context, r metadata.Repository, role string, version int64, withUsed bool) (RoleFile, error) {
	if _, _, err := metadata.SplitRole(role); err != nil {
		return RoleFile{}, err
	}
	if version < 0 || (r != metadata.Image && (r != metadata.Director || role != metadata.Root)) {
		return RoleFile{}, reason.Errorf(reason.NotFound, "%s %s version %d is not here", r, role, version)
	}
	var f RoleFile
	err := p.Store.View(ctx, func(v store.View) error {
		f = RoleFile{}
		var rec *pb.RoleRecord
		var err error
		if version == 0 {
			_, rec, err = v.Current(r, role)
		} else {
			rec, err = v.Role(r, role, version)
		}
		f.Data = rec.GetData()
		if !withUsed || version != 0 || missing(err) != nil {
			return err
		}
		u, usedErr := v.Used(r, role)
		if missing(usedErr) != nil {
			return usedErr
		}
		f.UsedVersion, f.UsedCounter = u.GetVersion(), u.GetCounter()
		if u.GetVersion() > 0 {
			return nil
		}
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return RoleFile{}, reason.Errorf(reason.NotFound, "%s %s version %d is not here: %w", r, role, version, store.ErrNotFound)
	}
	return f, err
}

// Open returns a target or evidence file that a role file in force names. The caller closes it.
// Reasons: malformed, not-found, state-damaged.
func (p *Publisher) Open(path string, sha256 [32]byte) (*blob.Reader, error) {
	if _, err := metadata.ParseTargetPath(path); err != nil {
		return nil, err
	}
	length, ok := p.index.length(path, sha256)
	if !ok {
		return nil, reason.Errorf(reason.NotFound, "%s with sha256 %.12s is not here", path, hex.EncodeToString(sha256[:]))
	}
	r, err := p.Blobs.Reader(sha256, length)
	if reason.Is(err, reason.NotFound) {
		return nil, reason.Errorf(reason.NotFound, "%s (sha256 %.12s) is signed and published, and its bytes were lost here", path, hex.EncodeToString(sha256[:])).
			WithHint("who has them: countersign publish EVENT --artifact PATH")
	}
	return r, err
}
