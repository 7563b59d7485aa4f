package api

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"runtime/debug"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/reflection"

	"github.com/countersign-ota/countersign/proto/chunk"
	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/proto/reason/status"
	"github.com/countersign-ota/countersign/repository/internal/identity"
)

// requestIDHeader carries the request's id in answers and in the log.
const requestIDHeader = "x-request-id"

// newGRPC returns a server with all services and the given limits.
func (a *API) newGRPC(maxMessage int, streams uint32) *grpc.Server {
	opts := append(chunk.ServerOptions(),
		grpc.Creds(handshaken{}),
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.MaxConcurrentStreams(streams),
		grpc.MaxHeaderListSize(maxHeader),
		grpc.ConnectionTimeout(handshakeTimeout),
		grpc.KeepaliveParams(keepaliveParams),
		grpc.KeepaliveEnforcementPolicy(keepalivePolicy),
		grpc.UnaryInterceptor(a.unary),
		grpc.StreamInterceptor(a.stream),
	)
	s := grpc.NewServer(opts...)
	a.register(s)
	return s
}

// register adds every service of this server to s.
func (a *API) register(s *grpc.Server) {
	pb.RegisterRepositoryServer(s, &repositoryService{a: a})
	pb.RegisterDeviceServer(s, &deviceService{a: a})
	pb.RegisterReleaseServer(s, &releaseService{a: a})
	pb.RegisterIdentityServer(s, &identityService{a: a})
	grpc_health_v1.RegisterHealthServer(s, a.health)
	reflection.Register(s)
}

// call is one request.
type call struct {
	id     string
	method string
	caller identity.Caller
	start  time.Time
}

type callKey struct{}

// callerOf returns the caller of the request under ctx; nobody without one.
func callerOf(ctx context.Context) identity.Caller {
	if c, ok := ctx.Value(callKey{}).(*call); ok {
		return c.caller
	}
	return identity.Caller{}
}

func (a *API) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, h grpc.UnaryHandler) (resp any, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err = a.do(ctx, info.FullMethod, grpcCerts(ctx), func(id string) {
		_ = grpc.SetHeader(ctx, metadata.Pairs(requestIDHeader, id))
	}, func(ctx context.Context) error {
		var err error
		resp, err = h(ctx, req)
		return err
	})
	if err != nil {
		return nil, status.ToStatus(err).Err()
	}
	return resp, nil
}

func (a *API) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, h grpc.StreamHandler) error {
	ctx := ss.Context()
	err := a.do(ctx, info.FullMethod, grpcCerts(ctx), func(id string) {
		_ = ss.SetHeader(metadata.Pairs(requestIDHeader, id))
	}, func(ctx context.Context) error {
		return h(srv, &contextStream{ServerStream: ss, ctx: ctx})
	})
	return status.ToStatus(err).Err()
}

type contextStream struct {
	grpc.ServerStream
	ctx context.Context //nolint:containedctx // grpc.ServerStream hands its context out by a method
}

func (s *contextStream) Context() context.Context { return s.ctx }

func grpcCerts(ctx context.Context) []*x509.Certificate {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return nil
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok {
		return nil
	}
	return info.State.PeerCertificates
}

// do runs one request of either address: it names it, authorises the caller, recovers from a panic of
// next and writes the log. The error still has its reason.
func (a *API) do(ctx context.Context, method string, certs []*x509.Certificate, named func(id string), next func(context.Context) error) (err error) {
	c := &call{id: newID(), method: method, start: a.Now()}
	named(c.id)
	defer func() {
		if p := recover(); p != nil {
			a.Log.Error("panic", "request", c.id, "method", method, "panic", p, "stack", string(debug.Stack()))
			err = errors.New("panic in a handler")
		}
		a.logCall(ctx, c, err)
	}()
	if c.caller, err = a.Registry.Caller(ctx, certs); err != nil {
		return err
	}
	if err = c.caller.Allow(identity.MethodPermission(method), a.PublicImages); err != nil {
		a.Audit.Refused(ctx, c.caller.String(), "call", method, err)
		return err
	}
	return next(context.WithValue(ctx, callKey{}, c))
}

// logCall writes one line a call: refusals and changes as information, what only reads for debugging,
// faults of ours as errors.
func (a *API) logCall(ctx context.Context, c *call, err error) {
	level := slog.LevelInfo
	reads := map[identity.Permission]bool{identity.Anybody: true, identity.ReadImages: true, identity.ReadReleases: true}
	switch {
	case reads[identity.MethodPermission(c.method)] && (err == nil || reason.Is(err, reason.NotFound)):
		level = slog.LevelDebug // such as the root after the newest, at each poll
	case err != nil && status.ToStatus(err).Code() == codes.Internal:
		level = slog.LevelError
	}
	attrs := []slog.Attr{
		slog.String("request", c.id), slog.String("method", c.method), slog.String("caller", c.caller.String()),
		slog.Duration("took", a.Now().Sub(c.start)),
	}
	if err != nil && !errors.Is(err, io.EOF) {
		attrs = append(attrs, slog.String("reason", string(reason.Of(err))), slog.String("error", err.Error()))
	}
	a.Log.LogAttrs(ctx, level, "call", attrs...)
}

func newID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	return hex.EncodeToString(b[:])
}
