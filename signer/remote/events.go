package remote

import (
	"context"

	"google.golang.org/grpc"

	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/proto/statement"
	"github.com/countersign-ota/countersign/signer/event"
)

// OpenEvent gives an event to the server, with the signatures that it carries, and returns what became
// of each. An event that the server has already takes what is new in the signatures. The base stays
// here: the server has it, and believes its own.
func (c *Client) OpenEvent(ctx context.Context, e *event.Event) ([]*pb.SignatureOutcome, error) {
	bare := *e
	bare.Base = nil
	data, err := bare.Bytes()
	if err != nil {
		return nil, err
	}
	ctx, cancel := c.call(ctx)
	defer cancel()
	answer, err := c.release.OpenEvent(ctx, &pb.OpenEventRequest{Event: data}, grpc.MaxCallSendMsgSize(maxEvent))
	if err != nil {
		return nil, c.failed(ctx, err)
	}
	if id := e.ID(); answer.GetId() != id {
		return nil, reason.Errorf(reason.Malformed, "the server opened event %q, wanted %q", answer.GetId(), id)
	}
	return answer.GetOutcomes(), nil
}

// Event returns the event with this id or unique prefix, and where it stands by the server's words.
// The event is parsed and not judged.
func (c *Client) Event(ctx context.Context, id string) (*event.Event, *pb.EventSummary, error) {
	ctx, cancel := c.call(ctx)
	defer cancel()
	answer, err := c.release.GetEvent(ctx, &pb.GetEventRequest{Id: id}, grpc.MaxCallRecvMsgSize(maxEvent))
	if err != nil {
		return nil, nil, c.failed(ctx, err)
	}
	e, err := event.Parse(answer.GetEvent())
	if err != nil {
		return nil, nil, reason.Wrap(err, "event %q from the server", id)
	}
	if got := e.ID(); len(got) < len(id) || got[:len(id)] != id {
		return nil, nil, reason.Errorf(reason.Malformed, "the server gave event %q, wanted %q", got, id)
	}
	return e, answer.GetSummary(), nil
}

// page is how many events are asked for at once.
const page = 100

// Events returns the open events, newest first, or with all the others too, at most limit; 0 means
// no limit.
func (c *Client) Events(ctx context.Context, all bool, limit int) ([]*pb.EventSummary, error) {
	var events []*pb.EventSummary
	after := ""
	for {
		cctx, cancel := c.call(ctx)
		answer, err := c.release.ListEvents(cctx, &pb.ListEventsRequest{All: all, Limit: page, After: after})
		err = c.failed(cctx, err)
		cancel()
		if err != nil {
			return nil, err
		}
		events = append(events, answer.GetEvents()...)
		if limit > 0 && len(events) >= limit {
			return events[:limit], nil
		}
		if len(answer.GetEvents()) < page {
			return events, nil
		}
		after = events[len(events)-1].GetId()
	}
}

// AddSignatures gives what people signed to the server and returns what became of each.
func (c *Client) AddSignatures(ctx context.Context, id string, sigs []event.Signature, approvals []statement.Envelope) ([]*pb.SignatureOutcome, error) {
	in := &pb.AddSignatureRequest{Id: id}
	for _, s := range sigs {
		in.Signatures = append(in.Signatures, &pb.Signature{File: int32(s.File), Keyid: s.KeyID, Sig: s.Sig}) //nolint:gosec // an event has fewer files
	}
	for i := range approvals {
		data, err := approvals[i].Bytes()
		if err != nil {
			return nil, err
		}
		in.Approvals = append(in.Approvals, data)
	}
	ctx, cancel := c.call(ctx)
	defer cancel()
	answer, err := c.release.AddSignature(ctx, in)
	return answer.GetOutcomes(), c.failed(ctx, err)
}

// Publish makes an event public and returns what is public now.
func (c *Client) Publish(ctx context.Context, id string) ([]*pb.PublishedRole, error) {
	ctx, cancel := c.call(ctx)
	defer cancel()
	answer, err := c.release.Publish(ctx, &pb.PublishRequest{Id: id})
	return answer.GetRoles(), c.failed(ctx, err)
}

// Cancel voids an event and returns how many signatures are void now and the id of the event that
// takes its place, or "".
func (c *Client) Cancel(ctx context.Context, id, why string) (void int, successor string, err error) {
	ctx, cancel := c.call(ctx)
	defer cancel()
	answer, err := c.release.Cancel(ctx, &pb.CancelRequest{Id: id, Reason: why})
	return int(answer.GetVoidSignatures()), answer.GetSuccessor(), c.failed(ctx, err)
}

// Expiry returns what expires when and who must act, and whether the server is well, by the server's
// words: nothing of it is proven.
func (c *Client) Expiry(ctx context.Context) (*pb.GetExpiryResponse, error) {
	ctx, cancel := c.call(ctx)
	defer cancel()
	answer, err := c.files.GetExpiry(ctx, &pb.GetExpiryRequest{})
	return answer, c.failed(ctx, err)
}

// Published is a role file as a server gives it: not verified.
type Published struct {
	// File is byte for byte as published; nil when there is none.
	File []byte
	// Version and Counter are up to where those of an offline role are used up by signatures, when its
	// newest version was asked for.
	Version, Counter int64
}

// Published returns one version of a role; 0 is the newest.
func (c *Client) Published(ctx context.Context, r metadata.Repository, role string, version int64) (Published, error) {
	ctx, cancel := c.call(ctx)
	defer cancel()
	answer, err := c.files.GetMetadata(ctx, &pb.GetMetadataRequest{Repository: string(r), Role: role, Version: version})
	err = c.failed(ctx, err)
	if reason.Is(err, reason.NotFound) {
		return Published{}, nil
	}
	p := Published{Version: answer.GetUsedVersion(), Counter: answer.GetUsedCounter()}
	if len(answer.GetData()) > 0 {
		p.File = answer.GetData()
	}
	return p, err
}
