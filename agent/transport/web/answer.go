package web

import (
	"io"
	"net/http"

	spb "google.golang.org/genproto/googleapis/rpc/status"
	grpcstatus "google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/proto/reason/status"
)

// answered returns nil for an answer with the status code that was wanted and bytes as they are. A
// refusal of our own servers is a google.rpc.Status; mirrors and caches have only the code.
func answered(r *http.Response, want int) error {
	if r.StatusCode == want {
		if e := r.Header.Get("Content-Encoding"); e != "" && e != "identity" {
			return reason.Errorf(reason.Malformed, "the answer has encoding %q, asked for none", e)
		}
		return nil
	}
	if r.StatusCode >= 400 && r.Header.Get("Content-Type") == protobufType {
		data, err := io.ReadAll(io.LimitReader(r.Body, maxError+1))
		var s spb.Status
		if err == nil && len(data) <= maxError && proto.Unmarshal(data, &s) == nil && s.GetCode() != 0 {
			return status.FromError(grpcstatus.FromProto(&s).Err())
		}
	}
	why := reason.Unreachable
	switch r.StatusCode {
	case http.StatusNotFound, http.StatusGone:
		why = reason.NotFound
	case http.StatusUnauthorized, http.StatusForbidden:
		why = reason.Permission
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		why = reason.Busy
	case http.StatusRequestedRangeNotSatisfiable:
		// Asked to go on where its last answer ended: its file is shorter than the signed length.
		why = reason.LengthMismatch
	case http.StatusOK, http.StatusPartialContent:
		why = reason.Malformed
	}
	return reason.Errorf(why, "the server answered %d %s", r.StatusCode, http.StatusText(r.StatusCode))
}
