package remote

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/metadata/metadatatest"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/signer/event"
)

// answers are what the server says; the tests change them.
type answers struct {
	event    []byte
	opened   string
	events   []*pb.EventSummary
	subjects []string
}

func newTalker(t *testing.T) (*Client, *answers) {
	t.Helper()
	s := newServer(t)
	return s.login(0), &s.say
}

func (s *server) GetEvent(context.Context, *pb.GetEventRequest) (*pb.GetEventResponse, error) {
	return &pb.GetEventResponse{Event: s.say.event, Summary: &pb.EventSummary{State: pb.EventState_EVENT_STATE_OPEN}}, nil
}

func (s *server) OpenEvent(context.Context, *pb.OpenEventRequest) (*pb.OpenEventResponse, error) {
	return &pb.OpenEventResponse{Id: s.say.opened}, nil
}

func (s *server) ListEvents(_ context.Context, in *pb.ListEventsRequest) (*pb.ListEventsResponse, error) {
	all := s.say.events
	for i, e := range all {
		if e.GetId() == in.GetAfter() {
			all = all[i+1:]
			break
		}
	}
	return &pb.ListEventsResponse{Events: all[:min(len(all), int(in.GetLimit()))]}, nil
}

func (s *server) token1(subject string) *pb.Token {
	f := s.token()
	return &pb.Token{Id: f.ID, Subject: subject, Secret: f.Secret, Expires: f.Expires.Unix(), Ca: s.ca.root.Raw, Server: f.Server, Deployment: "acme", Https: f.HTTPS}
}

func (s *server) InviteOperator(context.Context, *pb.InviteOperatorRequest) (*pb.InviteOperatorResponse, error) {
	return &pb.InviteOperatorResponse{Token: s.token1(s.say.subjects[0])}, nil
}

func (s *server) InviteDevices(context.Context, *pb.InviteDevicesRequest) (*pb.InviteDevicesResponse, error) {
	out := &pb.InviteDevicesResponse{}
	for _, subject := range s.say.subjects {
		out.Tokens = append(out.Tokens, s.token1(subject))
	}
	return out, nil
}

func (s *server) GetMetadata(_ context.Context, in *pb.GetMetadataRequest) (*pb.GetMetadataResponse, error) {
	switch in.GetRole() {
	case "gw-100":
		return &pb.GetMetadataResponse{Data: []byte("{}"), UsedVersion: 7, UsedCounter: 17}, nil
	case "new":
		return &pb.GetMetadataResponse{UsedVersion: 2}, nil
	}
	return nil, reason.Errorf(reason.NotFound, "no such role")
}

// anEvent is well formed; nobody judges it here.
func anEvent(t *testing.T) *event.Event {
	t.Helper()
	d := metadatatest.New(t, metadatatest.Options{})
	d.AddProduct("gw-100", metadatatest.Product{})
	f, err := metadata.ParseTargets(d.File(metadata.Image, "gw-100"), metadata.Profile)
	if err != nil {
		t.Fatal(err)
	}
	return &event.Event{Proposal: event.Proposal{
		Deployment: "acme", Kind: event.Release, Subject: "gw-100/2.4.1",
		Files: []event.ProposedFile{{Repository: metadata.Image, Role: "gw-100", Signed: f.Canonical()}},
	}}
}

func TestServerThatGivesAnotherEvent(t *testing.T) {
	c, a := newTalker(t)
	e := anEvent(t)
	data, err := e.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	a.event, a.opened = data, e.ID()
	got, summary, err := c.Event(t.Context(), e.ID()[:6])
	if err != nil || got.ID() != e.ID() || summary.GetState() != pb.EventState_EVENT_STATE_OPEN {
		t.Fatalf("got %v, %v", summary, err)
	}
	if _, err := c.OpenEvent(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	other := strings.Repeat("0", 64)
	if _, _, err := c.Event(t.Context(), other); !reason.Is(err, reason.Malformed) {
		t.Errorf("another event was taken: %v", err)
	}
	a.opened = other
	if _, err := c.OpenEvent(t.Context(), e); !reason.Is(err, reason.Malformed) {
		t.Errorf("another event was opened: %v", err)
	}
	a.event = []byte(`{"countersign_event":1}`)
	if _, _, err := c.Event(t.Context(), e.ID()); reason.Of(err).Class() != reason.NotAuthentic {
		t.Errorf("got %v [%s]", err, reason.Of(err))
	}
}

func TestEventsComeInPages(t *testing.T) {
	c, a := newTalker(t)
	for i := range 2*page + 7 {
		a.events = append(a.events, &pb.EventSummary{Id: fmt.Sprintf("%064d", i)})
	}
	for limit, want := range map[int]int{0: 2*page + 7, 5: 5, page: page, page + 1: page + 1} {
		got, err := c.Events(t.Context(), true, limit)
		if err != nil || len(got) != want {
			t.Errorf("limit %d: %d events, %v, want %d", limit, len(got), err, want)
		}
		for i, e := range got {
			if e.GetId() != a.events[i].GetId() {
				t.Fatalf("limit %d: event %d is %s", limit, i, e.GetId())
			}
		}
	}
}

// A token for somebody else would be written into the wrong hands.
func TestTokensForOthers(t *testing.T) {
	c, a := newTalker(t)
	a.subjects = []string{"chen"}
	if token, err := c.InviteOperator(t.Context(), "chen", []string{"release"}, ""); err != nil || token.Subject != "chen" || token.Expires.Before(time.Now()) {
		t.Fatalf("got %v, %v", token, err)
	}
	if token, err := c.InviteOperator(t.Context(), "okafor", []string{"release"}, ""); !reason.Is(err, reason.Malformed) || token != nil {
		t.Errorf("got %v, %v", token, err)
	}
	a.subjects = []string{"gw-0001", "gw-0002"}
	if tokens, err := c.InviteDevices(t.Context(), a.subjects); err != nil || len(tokens) != 2 || tokens[1].Kind != "device" {
		t.Fatalf("got %v, %v", tokens, err)
	}
	for _, asked := range [][]string{{"gw-0001"}, {"gw-0002", "gw-0001"}, {"gw-0001", "gw-0002", "gw-0003"}} {
		if _, err := c.InviteDevices(t.Context(), asked); !reason.Is(err, reason.Malformed) {
			t.Errorf("asked for %q: %v", asked, err)
		}
	}
}

func TestPublished(t *testing.T) {
	c, _ := newTalker(t)
	for role, want := range map[string]Published{"gw-100": {[]byte("{}"), 7, 17}, "new": {nil, 2, 0}, "none": {}} {
		got, err := c.Published(t.Context(), metadata.Image, role, 0)
		if err != nil || string(got.File) != string(want.File) || (got.File == nil) != (want.File == nil) || got.Version != want.Version || got.Counter != want.Counter {
			t.Errorf("%s: %+v, %v", role, got, err)
		}
	}
}
