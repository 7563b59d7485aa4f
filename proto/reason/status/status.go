// Package status carries reasons across gRPC. A server turns the error of a handler into a status in
// one place, with ToStatus; a client gets the same reason, text and hint back with FromError. The
// reason travels in google.rpc.ErrorInfo under the domain "countersign" (DESIGN 4.1), so that a client
// written without this package can read it too.
//
// What has no reason is a fault of the server, not an answer: its text stays in the server's log and
// the client learns "internal error". What a peer sends is outside text; it is bounded here, and
// whoever prints it must make it safe for a terminal.
package status

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/countersign-ota/countersign/proto/reason"
)

// Domain names us in ErrorInfo.
const Domain = "countersign"

// hintKey is the member of ErrorInfo's metadata that holds the hint.
const hintKey = "hint"

// maxText bounds a text or hint on the wire, in bytes: both travel in trailers, which peers limit.
const maxText = 2048

// ToStatus returns the status that carries err: nil is OK; an error with a reason keeps reason, text
// and hint; an ended context keeps its code; a status of gRPC itself keeps code and message. Anything
// else becomes Internal without a word about the cause, which the caller must log.
func ToStatus(err error) *status.Status {
	if err == nil {
		return nil
	}
	var e *reason.Error
	if errors.As(err, &e) {
		return withInfo(e, err.Error())
	}
	switch {
	case errors.Is(err, context.Canceled):
		return status.New(codes.Canceled, "the call was cancelled")
	case errors.Is(err, context.DeadlineExceeded):
		return status.New(codes.DeadlineExceeded, "the call took too long")
	}
	if s, ok := status.FromError(err); ok && s.Code() != codes.OK && s.Code() != codes.Unknown {
		return status.New(s.Code(), bounded(s.Message()))
	}
	return status.New(codes.Internal, "internal error")
}

func withInfo(e *reason.Error, text string) *status.Status {
	info := &errdetails.ErrorInfo{Reason: string(e.Reason), Domain: Domain}
	if e.Hint != "" {
		info.Metadata = map[string]string{hintKey: bounded(e.Hint)}
	}
	s := status.New(e.Reason.Code(), bounded(text))
	detailed, err := s.WithDetails(info)
	if err != nil { // no reason of the table does this: they are valid UTF-8
		return s
	}
	return detailed
}

// FromError returns what a call's error means here. A status with our ErrorInfo becomes a
// *reason.Error with the same reason, text and hint, even if the reason is one that only a newer peer
// knows. Without one, a server that cannot be reached or is too slow is unreachable, and a refusal to
// serve the caller is permission; the caller's own cancellation stays context.Canceled. Other errors
// come back as plain errors. The status remains in the chain.
func FromError(err error) error {
	if err == nil {
		return nil
	}
	var own *reason.Error
	if errors.As(err, &own) {
		return err
	}
	s, ok := status.FromError(err)
	if !ok {
		switch {
		case errors.Is(err, context.Canceled):
			return err
		case errors.Is(err, context.DeadlineExceeded):
			return &reason.Error{Reason: reason.Unreachable, Text: "no answer in time", Err: err}
		}
		return err
	}
	text := bounded(s.Message())
	for _, d := range s.Details() {
		info, ok := d.(*errdetails.ErrorInfo)
		if !ok || info.GetDomain() != Domain || !wellFormed(info.GetReason()) {
			continue
		}
		return &reason.Error{
			Reason: reason.Reason(info.GetReason()),
			Text:   text,
			Hint:   bounded(info.GetMetadata()[hintKey]),
			Err:    err,
		}
	}
	return withoutInfo(s.Code(), text, err)
}

// withoutInfo judges a status that gRPC itself, a proxy or a stranger made.
func withoutInfo(code codes.Code, text string, err error) error {
	switch code {
	case codes.OK:
		return nil
	case codes.Canceled:
		return fmt.Errorf("%w: %w", context.Canceled, err)
	case codes.Unavailable:
		return &reason.Error{Reason: reason.Unreachable, Text: "server not reachable: " + text, Err: err}
	case codes.DeadlineExceeded:
		return &reason.Error{Reason: reason.Unreachable, Text: "no answer in time", Err: err}
	case codes.PermissionDenied, codes.Unauthenticated:
		return &reason.Error{Reason: reason.Permission, Text: text, Err: err}
	case codes.NotFound:
		return &reason.Error{Reason: reason.NotFound, Text: text, Err: err}
	case codes.Internal:
		return fmt.Errorf("the server failed: %w", err)
	}
	return err
}

// wellFormed reports whether a reason from outside looks like one: lower case letters, digits and
// hyphens, at most 64 bytes.
func wellFormed(r string) bool {
	if r == "" || len(r) > 64 {
		return false
	}
	for _, c := range []byte(r) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// bounded returns s as valid UTF-8 of at most maxText bytes, cut between runes: a protobuf string
// with other bytes could not be sent at all.
func bounded(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= maxText {
		return s
	}
	cut := maxText - len("…")
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}
