// Package api is the server's edge: gRPC and HTTPS (DESIGN 4.1). Its handlers translate a request,
// have the caller authorised by the one table of identity, call a room of the server, and translate
// the answer; they decide nothing.
//
// Two addresses speak TLS 1.3. A client certificate is asked for and judged by us at every call. The
// edge also bounds what a stranger can make the server hold: connections, handshakes, streams,
// message sizes, header and idle times. It recovers from panics, gives every request an id, and turns
// errors into gRPC codes with their reason in one place. Start with New.
package api

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/countersign-ota/countersign/repository/internal/audit"
	"github.com/countersign-ota/countersign/repository/internal/identity"
	"github.com/countersign-ota/countersign/repository/internal/publish"
)

// Config is what the edge serves.
type Config struct {
	Deployment string
	Registry   *identity.Registry
	Publisher  *publish.Publisher
	Audit      *audit.Recorder
	// Certificate is tls.Config.GetCertificate.
	Certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// PublicImages serves image bytes to anybody.
	PublicImages bool
	Log          *slog.Logger
	Now          func() time.Time
}

// API serves both addresses. It is made by New and used by one Serve.
type API struct {
	Config
	health *health.Server
	// known serves connections of operators, strangers all others: the same services, other limits.
	known, strangers *grpc.Server
	web              *http.Server
}

// New returns an API that serves nothing yet.
func New(c Config) *API {
	a := &API{Config: c, health: health.NewServer()}
	a.known = a.newGRPC(maxEventMessage, operatorStreams)
	a.strangers = a.newGRPC(maxSmallMessage, strangerStreams)
	a.web = a.newWeb()
	a.SetHealth(true)
	return a
}

// SetHealth says whether the server can do all of its work; gRPC's health service tells.
func (a *API) SetHealth(good bool) {
	s := grpc_health_v1.HealthCheckResponse_SERVING
	if !good {
		s = grpc_health_v1.HealthCheckResponse_NOT_SERVING
	}
	a.health.SetServingStatus("", s)
}

// Serve takes connections on both listeners until ctx ends, lets calls that run finish for at most
// drain, and returns. It closes the listeners.
func (a *API) Serve(ctx context.Context, grpcListener, webListener net.Listener, drain time.Duration) error {
	f := newFront(a, grpcListener)
	errs := make(chan error, 4)
	go func() { errs <- f.run() }()
	go func() { errs <- a.known.Serve(f.known) }()
	go func() { errs <- a.strangers.Serve(f.strangers) }()
	go func() {
		errs <- a.web.Serve(tls.NewListener(limitConns(webListener, maxConns), a.tlsConfig("h2", "http/1.1")))
	}()

	var first error
	select {
	case <-ctx.Done():
	case first = <-errs:
	}
	a.Log.Info("draining", "for", drain)
	a.health.Shutdown()
	f.close()
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	var wg sync.WaitGroup
	for _, s := range []*grpc.Server{a.known, a.strangers} {
		wg.Go(func() { stop(end, s) })
	}
	wg.Go(func() {
		if err := a.web.Shutdown(end); err != nil {
			_ = a.web.Close()
		}
	})
	wg.Wait()
	if errors.Is(first, http.ErrServerClosed) || errors.Is(first, net.ErrClosed) {
		first = nil
	}
	return first
}

// stop lets the calls of s finish until end.
func stop(end context.Context, s *grpc.Server) {
	done := make(chan struct{})
	go func() {
		s.GracefulStop()
		close(done)
	}()
	select {
	case <-done:
	case <-end.Done():
		s.Stop()
		<-done
	}
}

func (a *API) tlsConfig(protocols ...string) *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS13,
		GetCertificate: a.Certificate,
		ClientAuth:     tls.RequestClientCert, // Registry.Caller judges it
		NextProtos:     protocols,
	}
}
