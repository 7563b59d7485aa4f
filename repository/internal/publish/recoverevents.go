package publish

import (
	"fmt"
	"slices"

	controlpb "github.com/countersign-ota/countersign/proto/countersign/control/v1"
	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/repository/internal/audit"
	"github.com/countersign-ota/countersign/repository/internal/store"
	"github.com/countersign-ota/countersign/signer/event"
)

// eventFile is an event file whose quorum is complete, with what counts in it.
type eventFile struct {
	id    store.EventID
	event *event.Event
}

// content is one content of a role.
type content struct {
	rolePlace
	digest [32]byte
}

// read returns the role files that an event file carries: its base, and where the quorum is complete
// also what it proposes; with an error those of the base, each of which is judged by itself. The base is
// verified from this server's own roots on, as far as both go.
func (r *recovery) read(f *controlpb.EventFile) ([]Shown, error) {
	e, err := event.Parse(f.GetEvent())
	if err != nil {
		return nil, err
	}
	if e.Proposal.Deployment != r.p.Deployment {
		return nil, reason.Errorf(reason.ScopeMismatch, "it is of deployment %q, this server is of %q", e.Proposal.Deployment, r.p.Deployment)
	}
	from := "file " + f.GetName()
	var shown []Shown
	for _, b := range e.Base {
		shown = append(shown, Shown{Repository: b.Repository, Role: b.Role, Data: b.File, From: from})
	}
	// An init proves itself only to those who compare fingerprints.
	if len(e.Proposal.Files) == 0 || e.Proposal.Kind == event.Init {
		return shown, nil
	}
	base := slices.Clone(shown)
	pins, err := r.pinsOf(e)
	if err != nil {
		return base, err
	}
	state, err := event.StateFromBase(e, pins)
	if err != nil {
		return base, err
	}
	j, err := event.Judge(e, state, event.Options{Now: r.now})
	if err != nil {
		return base, err
	}
	if !j.Complete {
		return shown, nil // it was not published as it is here
	}
	for i, file := range j.Files {
		data, err := j.PublishedFile(i)
		if err != nil {
			return base, err
		}
		shown = append(shown, Shown{Repository: file.Repository, Role: file.Role, Data: data, From: from, Assembled: true})
	}
	id, err := parseID(e.ID())
	if err != nil {
		return base, err
	}
	j.Event.Base = nil
	r.files = append(r.files, eventFile{id, j.Event})
	return shown, nil
}

// pinsOf returns the roots here that are in an event's base too, the newest of them: the base is verified
// from there on.
func (r *recovery) pinsOf(e *event.Event) (event.Pins, error) {
	var pins event.Pins
	for repository, pin := range map[metadata.Repository]*event.Pin{metadata.Image: &pins.Image, metadata.Director: &pins.Director} {
		var highest int64
		for _, b := range e.Base {
			if b.Repository != repository || b.Role != metadata.Root {
				continue
			}
			root, err := metadata.ParseRoot(b.File, metadata.Profile)
			if err != nil {
				return pins, reason.Wrap(err, "base: %s root", repository)
			}
			highest = max(highest, root.Signed.Version)
		}
		if highest == 0 {
			continue
		}
		err := r.p.Store.View(r.ctx, func(v store.View) error {
			newest, rec, err := v.Current(repository, metadata.Root)
			if err == nil && highest < newest {
				newest = highest
				rec, err = v.Role(repository, metadata.Root, newest)
			}
			if err != nil {
				return err
			}
			*pin = event.Pin{Version: newest, Digest: [32]byte(rec.GetDigest())}
			return nil
		})
		if err != nil {
			return pins, reason.Wrap(err, "%s root", repository)
		}
	}
	return pins, nil
}

// whole reports whether everything that an event proposes is among what was taken.
func (r *recovery) whole(e *event.Event) bool {
	taken := map[content]bool{}
	for _, f := range r.taken {
		taken[content{f.place(), f.digest}] = true
	}
	for _, f := range e.Proposal.Files {
		if !taken[content{rolePlace{f.Repository, f.Role}, f.Digest()}] {
			return false
		}
	}
	return len(e.Proposal.Files) > 0
}

// publishedEvents returns the events whose content was taken whole, by that content: those that are open
// here or were until a recovery, and those of event files. What cannot be read is none.
func (r *recovery) publishedEvents(tx store.Tx) map[content]store.EventID {
	found := map[content]store.EventID{}
	add := func(id store.EventID, e *event.Event) {
		if r.whole(e) {
			for _, f := range e.Proposal.Files {
				found[content{rolePlace{f.Repository, f.Role}, f.Digest()}] = id
			}
		}
	}
	for e, err := range tx.Events(store.EventQuery{All: true}) {
		if err != nil {
			break // endEvents reports it
		}
		if e.Record.GetState() != pb.EventState_EVENT_STATE_OPEN && !unsure(e.Record) {
			continue
		}
		if parsed, err := event.Parse(e.Record.GetEvent()); err == nil {
			add(e.ID, parsed)
		}
	}
	for _, f := range r.files {
		add(f.id, f.event)
	}
	return found
}

// endEvents ends all open events: whether something else was published since in their place is not
// known, and their versions are skipped. Those that were taken are published. An init stays open while
// there is no root: nothing can have been published in its place that tools here would take.
func (r *recovery) endEvents(tx store.Tx) error {
	_, _, err := tx.Current(metadata.Image, metadata.Root)
	if missing(err) != nil {
		return err
	}
	founded := err == nil
	var open, unknown []store.Event
	for e, err := range tx.Events(store.EventQuery{All: true}) {
		if err != nil {
			return err
		}
		if e.Record.GetState() == pb.EventState_EVENT_STATE_OPEN {
			open = append(open, e)
		} else if unsure(e.Record) {
			unknown = append(unknown, e)
		}
	}
	for _, o := range open {
		e, err := event.Parse(o.Record.GetEvent())
		if err != nil {
			return damaged(o.ID, err)
		}
		if e.Proposal.Kind == event.Init && !founded {
			continue
		}
		if err := r.endEvent(tx, o, e); err != nil {
			return err
		}
		r.plan.Events = append(r.plan.Events, o.ID.String())
	}
	for _, u := range unknown {
		e, err := event.Parse(u.Record.GetEvent())
		if err != nil {
			return damaged(u.ID, err)
		}
		if r.whole(e) {
			if err := r.putPublished(tx, eventFile{u.ID, e}, u.Record); err != nil {
				return err
			}
		}
	}
	for _, f := range r.files {
		if err := r.keepEvent(tx, f); err != nil {
			return err
		}
	}
	return nil
}

// endEvent ends one open event and skips the versions that it would have used.
func (r *recovery) endEvent(tx store.Tx, o store.Event, e *event.Event) error {
	for _, f := range e.Proposal.Files {
		if f.Repository != metadata.Image || f.Role == metadata.Root {
			continue
		}
		if _, _, err := tx.Current(f.Repository, f.Role); missing(err) != nil {
			return err
		} else if err != nil { // useUp does it for those that exist
			if err := skipRole(tx, f.Role, 0, 0); err != nil {
				return err
			}
		}
	}
	o.Record.State, o.Record.StaleBy = pb.EventState_EVENT_STATE_STALE, nil
	if err := endOpen(tx, o.ID, o.Record, e); err != nil {
		return err
	}
	if r.whole(e) {
		return r.putPublished(tx, eventFile{o.ID, e}, o.Record)
	}
	return audit.Write(tx, audit.Entry(r.now, r.by, "event.stale", o.ID.String(), "by recovery"))
}

// keepEvent keeps the event of a file whose content was taken, with its approvals.
func (r *recovery) keepEvent(tx store.Tx, f eventFile) error {
	if !r.whole(f.event) {
		return nil
	}
	rec, err := tx.Event(f.id)
	if missing(err) != nil {
		return err
	}
	if err != nil {
		rec = &pb.EventRecord{OpenedAt: r.now.Unix(), OpenedBy: r.by}
	}
	return r.putPublished(tx, f, rec)
}

// putPublished stores an event that turned out to be published.
func (r *recovery) putPublished(tx store.Tx, f eventFile, rec *pb.EventRecord) error {
	data, err := f.event.Bytes()
	if err != nil {
		return err
	}
	rec.Event, rec.State, rec.StaleBy, rec.Published = data, pb.EventState_EVENT_STATE_PUBLISHED, nil, nil
	for _, p := range f.event.Proposal.Files {
		for _, t := range r.taken {
			if t.place() == (rolePlace{p.Repository, p.Role}) && t.digest == p.Digest() {
				rec.Published = append(rec.Published, &pb.PublishedRole{Repository: string(p.Repository), Role: p.Role, Version: t.version})
			}
		}
	}
	if err := tx.PutEvent(f.id, rec); err != nil {
		return err
	}
	return audit.Write(tx, audit.Entry(r.now, r.by, "event.publish", f.id.String(), fmt.Sprintf("%s %s: by recovery, which was shown it", f.event.Proposal.Kind, f.event.Proposal.Subject)))
}
