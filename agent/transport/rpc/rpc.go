// Package rpc reaches a server over gRPC (DESIGN 4.1). It moves bytes and judges none of them: role
// files go to agent/trust, images to the staging of package agent.
//
// A Client keeps at most one connection, and drops it when it was idle for a while, so a device that
// only waits for its next poll has no traffic at all. Start with New.
package rpc

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	grpcstatus "google.golang.org/grpc/status"

	"github.com/countersign-ota/countersign/agent/transport"
	"github.com/countersign-ota/countersign/agent/trust"
	"github.com/countersign-ota/countersign/proto/chunk"
	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/proto/reason/status"
)

// Defaults of Config.
const (
	// DefaultTimeout bounds a call that moves no image, connecting included.
	DefaultTimeout = 30 * time.Second
	// DefaultIdle is after how long without a call the connection is dropped.
	DefaultIdle = 30 * time.Second
)

// framing is what a message has beyond the file in it: tag and length.
const framing = 16

// Config says where the server is and how both sides prove themselves.
type Config struct {
	// Address is HOST:PORT.
	Address string
	// CA is the identity CA, PEM.
	CA []byte
	// Certificate proves the device; nil while it has none.
	Certificate transport.Certificate
	// Timeout and Idle default to DefaultTimeout and DefaultIdle. A download has no limit of its
	// own: whoever stages it cuts a slow one.
	Timeout, Idle time.Duration
	// UserAgent tells the server's log who calls, such as "countersign-agent/1.0".
	UserAgent string
}

// Client is a transport over gRPC. It is safe for concurrent use.
type Client struct {
	peer    *transport.Peer
	conn    *grpc.ClientConn
	files   pb.RepositoryClient
	device  pb.DeviceClient
	timeout time.Duration
}

// New returns a client; the first call connects. Close it after use.
func New(cfg Config) (*Client, error) {
	host, _, err := net.SplitHostPort(cfg.Address)
	if err != nil {
		return nil, reason.Errorf(reason.Config, "server address %q is not HOST:PORT", cfg.Address)
	}
	peer, err := transport.NewPeer(host, cfg.CA, cfg.Certificate)
	if err != nil {
		return nil, err
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = DefaultTimeout
	}
	if cfg.Idle <= 0 {
		cfg.Idle = DefaultIdle
	}
	options := append(chunk.DialOptions(),
		grpc.WithTransportCredentials(credentials.NewTLS(peer.TLS())),
		grpc.WithDisableServiceConfig(),
		grpc.WithDisableRetry(),
		grpc.WithIdleTimeout(cfg.Idle),
		grpc.WithUserAgent(cfg.UserAgent),
		// Calls fail at once while the server is away, and whoever calls waits before the next; the
		// connection itself must then be tried again soon.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 500 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 5 * time.Second},
			MinConnectTimeout: cfg.Timeout,
		}),
	)
	conn, err := grpc.NewClient(cfg.Address, options...)
	if err != nil {
		return nil, reason.Errorf(reason.Config, "server address %q: %w", cfg.Address, err)
	}
	return &Client{
		peer: peer, conn: conn, timeout: cfg.Timeout,
		files: pb.NewRepositoryClient(conn), device: pb.NewDeviceClient(conn),
	}, nil
}

// Close ends the connection and every call on it.
func (c *Client) Close() error { return c.conn.Close() }

var _ trust.Fetcher = (*Client)(nil)

// Fetch returns a role file of the image repository; version 0 is the newest. Absent: an error with
// trust.ErrNotFound in its chain. More than limit bytes: too-large, and no more than that is read.
func (c *Client) Fetch(ctx context.Context, role string, version, limit int64) ([]byte, error) {
	call, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	what := fmt.Sprintf("role %q version %d", role, version)
	if version == 0 {
		what = fmt.Sprintf("role %q", role)
	}
	out, err := c.files.GetMetadata(call, &pb.GetMetadataRequest{Role: role, Version: version},
		grpc.MaxCallRecvMsgSize(int(min(limit, chunk.MaxMessage))+framing))
	if err != nil {
		if larger(err) {
			return nil, reason.Errorf(reason.TooLarge, "%s has more than %d bytes", what, limit)
		}
		err = c.failed(ctx, err)
		if reason.Is(err, reason.NotFound) {
			return nil, fmt.Errorf("%s: %w", what, trust.ErrNotFound)
		}
		return nil, reason.Wrap(err, "%s", what)
	}
	data := out.GetData()
	switch {
	case int64(len(data)) > limit:
		return nil, reason.Errorf(reason.TooLarge, "%s has more than %d bytes", what, limit)
	case len(data) == 0:
		return nil, fmt.Errorf("%s: %w", what, trust.ErrNotFound)
	}
	return data, nil
}

// larger reports whether err is gRPC's own refusal to receive so many bytes.
func larger(err error) bool {
	s, ok := grpcstatus.FromError(err)
	return ok && s.Code() == codes.ResourceExhausted && len(s.Details()) == 0 &&
		strings.Contains(s.Message(), "larger than max")
}

// Download returns the bytes of a target from offset on. The server's refusal comes from the first
// Read. Read returns when ctx ends. The caller closes it.
func (c *Client) Download(ctx context.Context, path string, sha256 [32]byte, offset int64) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancel(ctx)
	s, err := c.files.Download(ctx, &pb.DownloadRequest{Path: path, Sha256: sha256[:], Offset: offset})
	if err != nil {
		err = c.failed(ctx, err)
		cancel()
		return nil, err
	}
	return &download{c: c, ctx: ctx, cancel: cancel, r: chunk.NewReader(s)}, nil
}

// download gives the errors of a stream their meaning.
type download struct {
	c      *Client
	ctx    context.Context // the stream's, for Close and the meaning of its errors
	cancel context.CancelFunc
	r      *chunk.Reader
}

// Read implements io.Reader.
func (d *download) Read(p []byte) (int, error) {
	n, err := d.r.Read(p)
	if err != nil && err != io.EOF { //nolint:errorlint // the reader returns it bare
		err = d.c.failed(d.ctx, err)
	}
	return n, err
}

// Close ends the stream; the server stops sending.
func (d *download) Close() error {
	d.cancel()
	d.r.Release()
	return nil
}

// Enroll exchanges a token's MAC and a public key for a certificate.
func (c *Client) Enroll(ctx context.Context, in *pb.EnrollRequest) (*pb.EnrollResponse, error) {
	call, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	out, err := c.device.Enroll(call, in)
	if err != nil {
		return nil, c.failed(ctx, err)
	}
	return out, nil
}

// failed returns what the error of a call means; ctx is the caller's.
func (c *Client) failed(ctx context.Context, err error) error {
	return c.peer.Failed(ctx, status.FromError(err))
}
