package api

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/reason/status"
	"github.com/countersign-ota/countersign/repository/internal/identity"
)

// A panic in a handler ends one request, is logged with its stack under the request's id, and tells
// the caller nothing.
func TestPanicEndsOneRequest(t *testing.T) {
	var log bytes.Buffer
	a := New(Config{Registry: &identity.Registry{}, Log: slog.New(slog.NewTextHandler(&log, nil)), Now: time.Now})
	var id string
	err := a.do(context.Background(), pb.Repository_GetMetadata_FullMethodName, nil, func(s string) { id = s },
		func(context.Context) error { panic("secret detail") })
	s := status.ToStatus(err)
	if s.Code() != codes.Internal || strings.Contains(s.Message(), "secret") {
		t.Errorf("the caller hears %v", s)
	}
	if !strings.Contains(log.String(), "secret detail") || !strings.Contains(log.String(), "recover_test.go") || strings.Count(log.String(), id) != 2 {
		t.Errorf("log of request %s: %s", id, log.String())
	}
}
