package status

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/countersign-ota/countersign/proto/reason"
)

// wire sends s through its protobuf form, as a call does.
func wire(t testing.TB, s *status.Status) error {
	t.Helper()
	data, err := proto.Marshal(s.Proto())
	if err != nil {
		t.Fatal(err)
	}
	var back spb.Status
	if err := proto.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	return status.FromProto(&back).Err()
}

func TestEveryReasonSurvivesTheWire(t *testing.T) {
	for _, r := range reason.All() {
		t.Run(string(r), func(t *testing.T) {
			sent := reason.Errorf(r, "no good: %q", "gw-100").WithHint("run it again")
			s := ToStatus(sent)
			if s.Code() != r.Code() {
				t.Errorf("code %v, want %v", s.Code(), r.Code())
			}
			got := FromError(wire(t, s))
			if reason.Of(got) != r || got.Error() != sent.Text || reason.HintOf(got) != sent.Hint {
				t.Errorf("got %q [%s] hint %q, want %q [%s] hint %q", got, reason.Of(got), reason.HintOf(got), sent.Text, r, sent.Hint)
			}
			if reason.Exit(got) != reason.Exit(sent) {
				t.Errorf("exit %d, want %d", reason.Exit(got), reason.Exit(sent))
			}
		})
	}
}

func TestToStatus(t *testing.T) {
	cases := []struct {
		name string
		err  error
		code codes.Code
		text string
	}{
		{"nil", nil, codes.OK, ""},
		{"unknown", errors.New("open /var/lib/secret: broken"), codes.Internal, "internal error"},
		{"unknown wrapped", fmt.Errorf("publish: %w", io.ErrUnexpectedEOF), codes.Internal, "internal error"},
		{"cancelled", fmt.Errorf("waiting: %w", context.Canceled), codes.Canceled, "the call was cancelled"},
		{"deadline", context.DeadlineExceeded, codes.DeadlineExceeded, "the call took too long"},
		{"status", status.Error(codes.Unavailable, "closing"), codes.Unavailable, "closing"},
		{"status unknown", status.Error(codes.Unknown, "detail"), codes.Internal, "internal error"},
		{"wrapped reason", fmt.Errorf("role %q: %w", "gw", reason.Errorf(reason.Rollback, "version 3 below 4")), codes.DataLoss, `role "gw": version 3 below 4`},
		{"reason over context", reason.Errorf(reason.Busy, "stopping: %w", context.Canceled), codes.Unavailable, "stopping: context canceled"},
		{"not UTF-8", reason.Errorf(reason.NotFound, "no \xff"), codes.NotFound, "no \uFFFD"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := ToStatus(c.err)
			if s.Code() != c.code || s.Message() != c.text {
				t.Errorf("got %v %q, want %v %q", s.Code(), s.Message(), c.code, c.text)
			}
		})
	}
}

func TestFromError(t *testing.T) {
	cases := []struct {
		name string
		err  error
		want reason.Reason
		is   error
	}{
		{"unavailable", status.Error(codes.Unavailable, "refused"), reason.Unreachable, nil},
		{"deadline", status.Error(codes.DeadlineExceeded, "late"), reason.Unreachable, nil},
		{"plain deadline", fmt.Errorf("dial: %w", context.DeadlineExceeded), reason.Unreachable, context.DeadlineExceeded},
		{"cancelled", status.Error(codes.Canceled, "gone"), "", context.Canceled},
		{"plain cancelled", context.Canceled, "", context.Canceled},
		{"denied", status.Error(codes.PermissionDenied, "no"), reason.Permission, nil},
		{"unauthenticated", status.Error(codes.Unauthenticated, "who"), reason.Permission, nil},
		{"not found", status.Error(codes.NotFound, "nothing"), reason.NotFound, nil},
		{"internal", status.Error(codes.Internal, "internal error"), "", nil},
		{"own", fmt.Errorf("x: %w", reason.Errorf(reason.Floor, "low")), reason.Floor, nil},
		{"plain", io.ErrUnexpectedEOF, "", io.ErrUnexpectedEOF},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got := FromError(c.err)
			if got == nil || reason.Of(got) != c.want {
				t.Errorf("got %v [%s], want [%s]", got, reason.Of(got), c.want)
			}
			if c.is != nil && !errors.Is(got, c.is) {
				t.Errorf("%v is not %v", got, c.is)
			}
		})
	}
	if FromError(nil) != nil {
		t.Error("nil became an error")
	}
}

func TestNewerPeerAndForeignInfo(t *testing.T) {
	newer := ToStatus(&reason.Error{Reason: "moon-phase", Text: "wrong moon"})
	if got := FromError(wire(t, newer)); reason.Of(got) != "moon-phase" || reason.Exit(got) != 1 {
		t.Errorf("newer reason: %v [%s] exit %d", got, reason.Of(got), reason.Exit(got))
	}
	for _, bad := range []reason.Reason{"", "A", "a b", "x\x1b[31m", reason.Reason(strings.Repeat("a", 65))} {
		s := ToStatus(&reason.Error{Reason: bad, Text: "t"})
		if got := FromError(wire(t, s)); reason.Of(got) != "" {
			t.Errorf("reason %q was taken as %q", bad, reason.Of(got))
		}
	}
}

func TestLongTextIsCutBetweenRunes(t *testing.T) {
	for pad := range 4 {
		e := reason.Errorf(reason.Malformed, "%s", strings.Repeat("x", pad)+strings.Repeat("é", maxText)).WithHint("%s", strings.Repeat("ü", maxText))
		got := FromError(wire(t, ToStatus(e)))
		for _, s := range []string{got.Error(), reason.HintOf(got)} {
			if len(s) > maxText || !utf8.ValidString(s) || !strings.HasSuffix(s, "…") {
				t.Errorf("pad %d: %d bytes, valid %v", pad, len(s), utf8.ValidString(s))
			}
		}
	}
}

func FuzzFromError(f *testing.F) {
	for _, err := range []error{
		reason.Errorf(reason.HashMismatch, "other bytes").WithHint("look"),
		status.Error(codes.Unavailable, "gone"),
		errors.New("x"),
	} {
		data, _ := proto.Marshal(ToStatus(err).Proto())
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var p spb.Status
		if proto.Unmarshal(data, &p) != nil {
			return
		}
		err := FromError(status.FromProto(&p).Err())
		if (err == nil) != (codes.Code(p.GetCode()) == codes.OK) {
			t.Fatalf("code %d became %v", p.GetCode(), err)
		}
		var e *reason.Error
		if !errors.As(err, &e) {
			return
		}
		// What was understood is understood again.
		again := FromError(wire(t, ToStatus(err)))
		if reason.Of(again) != e.Reason || again.Error() != err.Error() || reason.HintOf(again) != e.Hint {
			t.Fatalf("%q [%s] %q became %q [%s] %q", err, e.Reason, e.Hint, again, reason.Of(again), reason.HintOf(again))
		}
	})
}
