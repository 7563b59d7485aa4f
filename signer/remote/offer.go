package remote

import (
	"context"

	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/signer/event"
)

// Bounds of one call of OfferFiles: below those of the server.
const (
	maxOffered      = 1000
	maxOfferedBytes = 32 << 20
)

// OfferFiles shows the server role files that are newer than its own, and returns what it said of each,
// in their order. Roots go first, each after the one before it, then targets, products, and all else.
func (c *Client) OfferFiles(ctx context.Context, files []event.BaseFile) ([]*pb.OfferedFile, error) {
	var all []*pb.OfferedFile
	for len(files) > 0 {
		q := &pb.OfferFilesRequest{}
		size := 0
		for len(files) > 0 && len(q.GetFiles()) < maxOffered && (size == 0 || size+len(files[0].File) <= maxOfferedBytes) {
			f := files[0]
			q.Files = append(q.Files, &pb.RoleFile{Repository: string(f.Repository), Role: f.Role, Data: f.File})
			size += len(f.File)
			files = files[1:]
		}
		answer, err := c.offer(ctx, q)
		if err != nil {
			return all, err
		}
		if len(answer.GetFiles()) != len(q.GetFiles()) {
			return all, reason.Errorf(reason.Malformed, "the server was shown %d role files and speaks of %d", len(q.GetFiles()), len(answer.GetFiles()))
		}
		all = append(all, answer.GetFiles()...)
	}
	return all, nil
}

func (c *Client) offer(ctx context.Context, q *pb.OfferFilesRequest) (*pb.OfferFilesResponse, error) {
	ctx, cancel := c.call(ctx)
	defer cancel()
	answer, err := c.release.OfferFiles(ctx, q)
	return answer, c.failed(ctx, err)
}
