package api

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"

	"github.com/countersign-ota/countersign/proto/chunk"
	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/proto/statement"
	"github.com/countersign-ota/countersign/repository/internal/publish"
)

// releaseService takes firmware and events from operators.
type releaseService struct {
	pb.UnimplementedReleaseServer
	a *API
}

// operator returns the id of the calling operator; the table lets nobody else come here.
func operator(ctx context.Context) string { return callerOf(ctx).ID }

func digest(b []byte) ([32]byte, error) {
	if len(b) != 32 {
		return [32]byte{}, reason.Errorf(reason.Malformed, "sha256 has %d bytes, want 32", len(b))
	}
	return [32]byte(b), nil
}

func (s *releaseService) UploadStatus(ctx context.Context, q *pb.UploadStatusRequest) (*pb.UploadStatusResponse, error) {
	sum, err := digest(q.GetSha256())
	if err != nil {
		return nil, err
	}
	offset, complete, err := s.a.Publisher.UploadStatus(ctx, operator(ctx), sum)
	if err != nil {
		return nil, err
	}
	return &pb.UploadStatusResponse{Offset: offset, Complete: complete}, nil
}

func (s *releaseService) Upload(stream grpc.ClientStreamingServer[pb.UploadRequest, pb.UploadResponse]) error {
	parts := receive(stream)
	defer parts.stop()
	first, done, err := parts.next()
	if err != nil {
		return err
	}
	if done || first.Header == nil {
		first.Free()
		return reason.Errorf(reason.Malformed, "an upload begins with a header")
	}
	h := first.Header
	sum, err := digest(h.GetSha256())
	if err != nil {
		return err
	}
	ctx := stream.Context()
	offset, err := s.a.Publisher.Upload(ctx, operator(ctx), sum, h.GetLength(), h.GetOffset(), func() (mem.BufferSlice, bool, error) {
		part, done, err := parts.next()
		if err == nil && !done && part.Header != nil {
			err = reason.Errorf(reason.Malformed, "a second header in one upload")
		}
		return part.Data, done, err
	})
	if err != nil {
		return err
	}
	return stream.SendAndClose(&pb.UploadResponse{Offset: offset})
}

// parts receives an upload. A goroutine of its own waits for the next part, so that a sender who
// stalls is given up; it holds one part at a time, and the sender is held back by flow control.
type parts struct {
	in   chan part
	done chan struct{}
}

type part struct {
	chunk.Part
	err error
}

func receive(stream grpc.ServerStream) *parts {
	p := &parts{in: make(chan part), done: make(chan struct{})}
	go func() {
		for {
			var next part
			next.err = stream.RecvMsg(&next.Part)
			select {
			case p.in <- next:
				if next.err != nil {
					return
				}
			case <-p.done:
				next.Free()
				return
			}
		}
	}()
	return p
}

// next returns the next part, which the caller frees; done is true at the end of the upload.
func (p *parts) next() (chunk.Part, bool, error) {
	t := time.NewTimer(stallTimeout)
	defer t.Stop()
	select {
	case next := <-p.in:
		switch {
		case errors.Is(next.err, io.EOF):
			return chunk.Part{}, true, nil
		case status.Code(next.err) == codes.Internal: // the codec's refusal; gRPC keeps only its words
			return chunk.Part{}, false, reason.Errorf(reason.Malformed, "upload: %s", status.Convert(next.err).Message())
		}
		return next.Part, false, next.err
	case <-t.C:
		return chunk.Part{}, false, reason.Errorf(reason.Unreachable, "the sender was silent for %s", stallTimeout)
	}
}

func (p *parts) stop() { close(p.done) }

func (s *releaseService) OpenEvent(ctx context.Context, q *pb.OpenEventRequest) (*pb.OpenEventResponse, error) {
	id, outcomes, err := s.a.Publisher.OpenEvent(ctx, operator(ctx), q.GetEvent())
	if err != nil {
		return nil, err
	}
	return &pb.OpenEventResponse{Id: id, Outcomes: outcomesOf(outcomes)}, nil
}

func (s *releaseService) GetEvent(ctx context.Context, q *pb.GetEventRequest) (*pb.GetEventResponse, error) {
	data, summary, err := s.a.Publisher.Event(ctx, q.GetId())
	if err != nil {
		return nil, err
	}
	return &pb.GetEventResponse{Event: data, Summary: summary}, nil
}

func (s *releaseService) ListEvents(ctx context.Context, q *pb.ListEventsRequest) (*pb.ListEventsResponse, error) {
	events, err := s.a.Publisher.Events(ctx, q.GetAll(), int(q.GetLimit()), q.GetAfter())
	if err != nil {
		return nil, err
	}
	return &pb.ListEventsResponse{Events: events}, nil
}

func (s *releaseService) AddSignature(ctx context.Context, q *pb.AddSignatureRequest) (*pb.AddSignatureResponse, error) {
	sigs := make([]publish.Signature, 0, len(q.GetSignatures()))
	for _, g := range q.GetSignatures() {
		sigs = append(sigs, publish.Signature{File: int(g.GetFile()), KeyID: g.GetKeyid(), Sig: g.GetSig()})
	}
	approvals := make([]statement.Envelope, 0, len(q.GetApprovals()))
	for _, data := range q.GetApprovals() {
		env, err := statement.ParseEnvelope(data)
		if err != nil {
			return nil, reason.Wrap(err, "approval")
		}
		approvals = append(approvals, *env)
	}
	outcomes, err := s.a.Publisher.AddSignature(ctx, operator(ctx), q.GetId(), sigs, approvals)
	if err != nil {
		return nil, err
	}
	return &pb.AddSignatureResponse{Outcomes: outcomesOf(outcomes)}, nil
}

func (s *releaseService) Publish(ctx context.Context, q *pb.PublishRequest) (*pb.PublishResponse, error) {
	roles, err := s.a.Publisher.Publish(ctx, operator(ctx), q.GetId())
	if err != nil {
		return nil, err
	}
	return &pb.PublishResponse{Roles: roles}, nil
}

func (s *releaseService) Cancel(ctx context.Context, q *pb.CancelRequest) (*pb.CancelResponse, error) {
	c, err := s.a.Publisher.Cancel(ctx, operator(ctx), q.GetId(), q.GetReason())
	if err != nil {
		return nil, err
	}
	return &pb.CancelResponse{VoidSignatures: int32(c.Void), Successor: c.Successor}, nil //nolint:gosec // an event has fewer signatures
}

func (s *releaseService) OfferFiles(ctx context.Context, q *pb.OfferFilesRequest) (*pb.OfferFilesResponse, error) {
	files := make([]publish.Shown, 0, len(q.GetFiles()))
	for _, f := range q.GetFiles() {
		files = append(files, publish.Shown{Repository: metadata.Repository(f.GetRepository()), Role: f.GetRole(), Data: f.GetData()})
	}
	answers, err := s.a.Publisher.Offer(ctx, operator(ctx), files)
	if err != nil {
		return nil, err
	}
	return &pb.OfferFilesResponse{Files: answers}, nil
}

func outcomesOf(outcomes []publish.Outcome) []*pb.SignatureOutcome {
	out := make([]*pb.SignatureOutcome, 0, len(outcomes))
	for _, o := range outcomes {
		s := &pb.SignatureOutcome{File: int32(o.File), Keyid: o.KeyID, Taken: o.Err == nil} //nolint:gosec // an event has fewer files
		if o.Err != nil {
			s.Reason, s.Message = string(reason.Of(o.Err)), o.Err.Error()
		}
		out = append(out, s)
	}
	return out
}
