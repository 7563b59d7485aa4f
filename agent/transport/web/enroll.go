package web

import (
	"bytes"
	"context"
	"net/http"
	"strings"

	"google.golang.org/protobuf/proto"

	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/reason"
)

// Enroll exchanges a token's MAC and a public key for a certificate.
func (c *Client) Enroll(ctx context.Context, in *pb.EnrollRequest) (*pb.EnrollResponse, error) {
	message, err := proto.Marshal(in)
	if err != nil {
		return nil, reason.Errorf(reason.Malformed, "enrolment request: %w", err)
	}
	call, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	h := http.Header{"Content-Type": {protobufType}}
	r, err := c.do(call, http.MethodPost, strings.Split(strings.TrimPrefix(pb.Device_Enroll_FullMethodName, "/"), "/"), h, bytes.NewReader(message))
	if err == nil {
		defer r.Body.Close()
		err = answered(r, http.StatusOK)
	}
	if err != nil {
		return nil, c.peer.Failed(ctx, err)
	}
	data, err := read(call, r.Body, maxEnroll)
	if err != nil {
		return nil, c.peer.Failed(ctx, err)
	}
	var out pb.EnrollResponse
	if err := proto.Unmarshal(data, &out); err != nil {
		return nil, reason.Errorf(reason.Malformed, "the answer to enrolment: %w", err)
	}
	return &out, nil
}
