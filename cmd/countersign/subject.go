package main

import (
	"context"
	"path/filepath"
	"strings"
	"time"

	"github.com/countersign-ota/countersign/cmd/internal/cli"
	"github.com/countersign-ota/countersign/internal/durable"
	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/signer/event"
)

// subject is the event that a command is about: copies in files, one on the server, or both, merged.
type subject struct {
	*deployment
	event *event.Event
	// files are the paths of the copies, in the order of the arguments.
	files []string
	// summary is where the event stands by the server's words; nil for files alone.
	summary *pb.EventSummary
}

// remote reports whether the event was named by an id.
func (s *subject) remote() bool { return s.summary != nil }

// name is how messages about the event call it: its first file, or its id.
func (s *subject) name() string {
	if s.remote() {
		return short(s.event.ID())
	}
	return filepath.Base(s.files[0])
}

// argument is how the next command names the event: by its id, or by all copies, since each may hold
// signatures that the others lack.
func (s *subject) argument() string {
	if s.remote() {
		return short(s.event.ID())
	}
	return cli.Safe(strings.Join(s.files, " "))
}

// isFile reports whether an EVENT is a file.
func isFile(arg string) bool {
	return strings.HasSuffix(arg, ".event") || strings.ContainsRune(arg, '/')
}

// minPrefix is the least number of an id's digits that name an event.
const minPrefix = 4

// checkID refuses what is no prefix of an event's id.
func checkID(arg string) error {
	if len(arg) < minPrefix || len(arg) > 64 || strings.Trim(arg, "0123456789abcdef") != "" {
		return cli.Usagef("%s is neither the id of an event, %d to 64 digits, nor a file, which ends in .event or holds a /", cli.Quote(arg), minPrefix)
	}
	return nil
}

// events returns the event that the arguments name. It connects to the server only for an id.
func (t *tool) events(ctx context.Context, args []string) (*subject, error) {
	s := &subject{}
	var ids []string
	var copies []*event.Event
	for _, arg := range args {
		if !isFile(arg) {
			if err := checkID(arg); err != nil {
				return nil, err
			}
			ids = append(ids, arg)
			continue
		}
		e, err := readEvent(arg)
		if err != nil {
			return nil, err
		}
		copies, s.files = append(copies, e), append(s.files, arg)
	}
	if len(ids) > 1 {
		return nil, cli.Usagef("%s and %s are two events; only files are merged", cli.Quote(ids[0]), cli.Quote(ids[1]))
	}
	named := ""
	if len(copies) > 0 {
		named = copies[0].Proposal.Deployment
	}
	var err error
	if len(ids) == 0 {
		s.deployment, err = t.choose(named)
	} else if s.deployment, err = t.connected(ctx, named); err == nil {
		var e *event.Event
		if e, s.summary, err = s.client.Event(ctx, ids[0]); err == nil {
			copies = append(copies, e)
		}
	}
	if err != nil {
		return nil, err
	}
	if s.event, err = event.Merge(copies...); err != nil {
		return nil, err
	}
	if s.event.Proposal.Deployment != s.id {
		return nil, reason.Errorf(reason.ScopeMismatch, "the server of %s gave an event of %q", s.id, s.event.Proposal.Deployment)
	}
	return s, nil
}

func readEvent(path string) (*event.Event, error) {
	data, err := readFile(path, event.MaxSize)
	if err != nil {
		return nil, err
	}
	e, err := event.Parse(data)
	if err != nil {
		return nil, reason.Wrap(err, "%s", cli.Quote(path))
	}
	return e, nil
}

// closed reports whether the server says that the event takes no more signatures.
func (s *subject) closed() bool {
	return s.remote() && s.summary.GetState() != pb.EventState_EVENT_STATE_OPEN
}

// pinsThen returns the pins that this machine had when the newest roots of an event's base were in
// force: those of the same version among the roots that it verified and kept.
func (v *view) pinsThen(pins event.Pins) (event.Pins, error) {
	kept, err := v.place.Base()
	if err != nil {
		return event.Pins{}, err
	}
	own := newSource(v.source.ctx, nil, kept)
	for r, pin := range map[metadata.Repository]*event.Pin{metadata.Image: &pins.Image, metadata.Director: &pins.Director} {
		then := rootVersion(v.source.kept[place{r, metadata.Root, 0}])
		if then == 0 || then >= pin.Version {
			continue
		}
		if data, ok := own.kept[place{r, metadata.Root, then}]; ok {
			root, err := metadata.ParseRoot(data, metadata.Profile)
			if err != nil {
				return event.Pins{}, err
			}
			*pin = event.Pin{Version: then, Digest: root.Digest()}
		}
	}
	return pins, nil
}

// judged is an event with its verified base and the judgement.
type judged struct {
	*subject
	view *view
	*event.Judgement
}

// judge verifies the base of an event against what this machine trusts and judges it. With asking, a
// root that is not pinned yet is compared by the person, and what was verified is remembered; without
// it nothing is asked and nothing is kept.
func (t *tool) judge(ctx context.Context, s *subject, asking bool) (*judged, error) {
	history, err := s.place.History()
	if err != nil {
		return nil, err
	}
	v := &view{deployment: s.deployment, history: history, source: newSource(ctx, nil, s.event.Base)}
	pins, options := history.Pins(), t.options(history)
	if s.closed() {
		// It builds on what was in force then, and is only looked at.
		asking, options.Memory, options.Now = false, nil, time.Unix(s.summary.GetOpenedAt(), 0)
		if pins, err = v.pinsThen(pins); err != nil {
			return nil, err
		}
	}
	if v.state, err = event.StateFromBase(s.event, pins); err != nil {
		return nil, err
	}
	j, err := event.Judge(s.event, v.state, options)
	if err != nil {
		return nil, err
	}
	for _, out := range j.Refused {
		t.Out.Warn("not counted: %s [%s]", cli.Safe(out.Err.Error()), reason.Of(out.Err))
	}
	if j.Example {
		t.Out.Warn("a key of keys-example is among the people's: everybody can sign with it, servers and devices refuse it")
	}
	if !asking {
		return &judged{s, v, j}, nil
	}
	repositories := []metadata.Repository{metadata.Image}
	if s.event.Proposal.Index(metadata.Director, metadata.Root) >= 0 {
		repositories = append(repositories, metadata.Director)
	}
	if err := t.contact(ctx, v, repositories...); err != nil {
		return nil, err
	}
	return &judged{s, v, j}, v.remember()
}

// write puts an event into the first of its files, which then holds all signatures.
func (s *subject) write(e *event.Event) error {
	data, err := e.Bytes()
	if err != nil {
		return err
	}
	if err := durable.Replace(s.files[0], data, 0o644); err != nil {
		return diskFull(err)
	}
	s.files = s.files[:1]
	return nil
}
