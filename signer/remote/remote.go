// Package remote is the tool's side of a server: login and renewal of the connection key, uploads,
// signing events, operators and invitations (DESIGN 4.1, 4.3).
//
// A connection is TLS 1.3 under the deployment's identity CA, which came in a token file, and shows
// the operator's certificate. Nothing that a server answers is believed about what is signed: events
// come back as bytes, and signer/event judges them against pinned roots. Errors carry reasons: those
// of the server as it gave them, unreachable when it did not answer, server-unproven when somebody
// else did. Start with Login and Dial.
package remote

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/countersign-ota/countersign/proto/chunk"
	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/proto/reason/status"
	"github.com/countersign-ota/countersign/signer/event"
)

// DefaultTimeout is how long a server may be silent.
const DefaultTimeout = 10 * time.Second

// maxEvent bounds an event on the wire: the event, the names around it.
const maxEvent = event.MaxSize + chunk.MaxMessage

// Config says which server is called, and as whom.
type Config struct {
	// Address is host:port of the server's gRPC. Required.
	Address string
	// CA is the identity CA's root certificate. Required.
	CA *x509.Certificate
	// Identity is the operator's connection key and certificate; nil for Login only.
	Identity *Identity
	// Timeout is how long the server may be silent; 0 is DefaultTimeout.
	Timeout time.Duration
	// Agent is the name and version that the server may log.
	Agent string
}

// Client calls one server. It is safe for concurrent use.
type Client struct {
	conn    *grpc.ClientConn
	host    string
	timeout time.Duration
	release pb.ReleaseClient
	files   pb.RepositoryClient
	people  pb.IdentityClient

	mu       sync.Mutex
	unproven error // why the last handshake failed at the server's certificate; guarded by mu
}

// Dial prepares a connection; the first call makes it. Close it after use.
func Dial(cfg Config) (*Client, error) {
	host, _, err := net.SplitHostPort(cfg.Address)
	if err != nil {
		return nil, reason.Errorf(reason.Config, "server address %q is not HOST:PORT", cfg.Address)
	}
	c := &Client{host: host, timeout: cfg.Timeout}
	if c.timeout == 0 {
		c.timeout = DefaultTimeout
	}
	options := append(chunk.DialOptions(),
		grpc.WithTransportCredentials(credentials.NewTLS(c.tls(cfg))),
		grpc.WithDisableServiceConfig(),
		grpc.WithUserAgent(cfg.Agent),
	)
	if c.conn, err = grpc.NewClient(cfg.Address, options...); err != nil {
		return nil, reason.Errorf(reason.Config, "server address %q: %v", cfg.Address, err)
	}
	c.release = pb.NewReleaseClient(c.conn)
	c.files = pb.NewRepositoryClient(c.conn)
	c.people = pb.NewIdentityClient(c.conn)
	return c, nil
}

// Close ends the connection.
func (c *Client) Close() error { return c.conn.Close() }

// tls verifies the server's chain, name and dates, and remembers a failure: gRPC reports it as
// Unavailable, like a cable that is out.
func (c *Client) tls(cfg Config) *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(cfg.CA)
	t := &tls.Config{
		MinVersion: tls.VersionTLS13,
		ServerName: c.host,
		// Not skipped: VerifyConnection below does what the library would, so that the error is ours.
		InsecureSkipVerify: true, //nolint:gosec // see above
		VerifyConnection: func(s tls.ConnectionState) error {
			opts := x509.VerifyOptions{Roots: roots, DNSName: c.host, Intermediates: x509.NewCertPool()}
			for _, cert := range s.PeerCertificates[1:] {
				opts.Intermediates.AddCert(cert)
			}
			_, err := s.PeerCertificates[0].Verify(opts)
			c.mu.Lock()
			c.unproven = err
			c.mu.Unlock()
			return err
		},
	}
	if cfg.Identity != nil {
		cert := cfg.Identity.certificate()
		t.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
	}
	return t
}

// call bounds one call that moves no file.
func (c *Client) call(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, c.timeout)
}

// failed returns what the error of a call means.
func (c *Client) failed(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return context.Cause(ctx)
	}
	err = status.FromError(err)
	if reason.Of(err) != reason.Unreachable {
		return err
	}
	c.mu.Lock()
	unproven := c.unproven
	c.mu.Unlock()
	switch {
	case unproven != nil:
		return reason.Errorf(reason.ServerUnproven, "%s is not the server of this deployment: %v", c.host, unproven).
			WithHint("check network and clock; if neither is wrong, report it")
	case isSilence(err):
		return &reason.Error{Reason: reason.Unreachable, Text: c.host + " silent for " + c.timeout.String(), Err: err}
	}
	return &reason.Error{Reason: reason.Unreachable, Text: c.host + " not reachable: " + network(err), Err: err}
}
