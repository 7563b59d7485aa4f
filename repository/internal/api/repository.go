package api

import (
	"context"
	"io"
	"strings"

	"google.golang.org/grpc"

	"github.com/countersign-ota/countersign/proto/chunk"
	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/enroll"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/proto/reason/status"
)

// repositoryService serves role files and images over gRPC.
type repositoryService struct {
	pb.UnimplementedRepositoryServer
	a *API
}

func (s *repositoryService) GetMetadata(ctx context.Context, q *pb.GetMetadataRequest) (*pb.GetMetadataResponse, error) {
	r := metadata.Repository(q.GetRepository())
	if r == "" {
		r = metadata.Image
	}
	withUsed := callerOf(ctx).Kind == enroll.Operator
	f, err := s.a.Publisher.RoleFile(ctx, r, q.GetRole(), q.GetVersion(), withUsed)
	if err != nil {
		return nil, err
	}
	return &pb.GetMetadataResponse{Data: f.Data, UsedVersion: f.UsedVersion, UsedCounter: f.UsedCounter}, nil
}

func (s *repositoryService) GetExpiry(ctx context.Context, _ *pb.GetExpiryRequest) (*pb.GetExpiryResponse, error) {
	report, err := s.a.Publisher.Report(ctx)
	if err != nil {
		return nil, err
	}
	answer := &pb.GetExpiryResponse{Now: s.a.Now().Unix()}
	if !report.Looked.IsZero() {
		answer.Looked = report.Looked.Unix()
	}
	if unwell := report.Unwell; unwell != nil {
		told := status.ToStatus(unwell).Message() // what has no reason is for the log alone
		answer.Reason, answer.Message, answer.Hint = string(reason.Of(unwell)), strings.ReplaceAll(told, "\n", "; "), reason.HintOf(unwell)
	}
	for _, d := range report.Deadlines {
		e := &pb.Expiry{
			Repository: string(d.Repository), Role: d.Role, Version: d.Version, Expires: d.Expires.Unix(), Event: d.Event,
			Bins: int32(d.Bins), //nolint:gosec // a product has at most 1,024
		}
		for class, n := range d.Require {
			if e.Require == nil {
				e.Require = map[string]int32{}
			}
			e.Require[class] = int32(n) //nolint:gosec // a role has fewer people
		}
		answer.Expiries = append(answer.Expiries, e)
	}
	return answer, nil
}

func (s *repositoryService) Download(q *pb.DownloadRequest, stream grpc.ServerStreamingServer[pb.DownloadResponse]) error {
	sum, err := digest(q.GetSha256())
	if err != nil {
		return err
	}
	f, err := s.a.Publisher.Open(q.GetPath(), sum)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if q.GetOffset() < 0 || q.GetOffset() > f.Len() {
		return reason.Errorf(reason.LengthMismatch, "offset %d of a file of %d bytes", q.GetOffset(), f.Len())
	}
	if _, err := f.Seek(q.GetOffset(), io.SeekStart); err != nil {
		return err
	}
	_, err = chunk.Send(stream, f)
	return err
}
