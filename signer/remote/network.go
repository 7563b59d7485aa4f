package remote

import (
	"context"
	"errors"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// isSilence reports whether a call ended because nothing came.
func isSilence(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || code(err) == codes.DeadlineExceeded
}

func code(err error) codes.Code {
	for e := err; e != nil; e = errors.Unwrap(e) {
		if s, ok := status.FromError(e); ok && s.Code() != codes.Unknown {
			return s.Code()
		}
	}
	return codes.Unknown
}

// network returns the part of gRPC's words about a connection that a person wants: "connection
// refused", "no such host".
func network(err error) string {
	text := err.Error()
	for _, cut := range []string{"connect: ", "lookup ", "handshake failed: ", "dial tcp ", "desc = "} {
		if i := strings.LastIndex(text, cut); i >= 0 {
			text = text[i+len(cut):]
			break
		}
	}
	return strings.Trim(text, `"`)
}
