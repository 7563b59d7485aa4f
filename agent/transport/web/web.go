// Package web reaches a server over plain HTTPS: role files and images in the layout of a TUF
// repository, so that mirrors and caches can stand between, and enrolment as a protobuf message
// posted to the path of its gRPC method (docs/formats.md). It moves bytes and judges none of them.
//
// Redirects are followed on the same host only, answers are never compressed, and everything but the
// length of an image has a limit. Start with New.
package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/countersign-ota/countersign/agent/transport"
	"github.com/countersign-ota/countersign/agent/trust"
	"github.com/countersign-ota/countersign/proto/reason"
)

// Defaults of Config.
const (
	// DefaultTimeout bounds a request that moves no image, and of any request the time until the
	// answer begins.
	DefaultTimeout = 30 * time.Second
	// DefaultIdle is after how long without a request the connection is dropped.
	DefaultIdle = 30 * time.Second
)

// Limits in bytes.
const (
	maxHeader = 16 << 10
	maxError  = 16 << 10
	maxEnroll = 64 << 10
)

// maxRedirects is how many redirects are followed, all on the same host.
const maxRedirects = 3

const protobufType = "application/x-protobuf"

// Config says where the server is and how both sides prove themselves.
type Config struct {
	// URL is the base of the repository, https only.
	URL string
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

// Client is a transport over HTTPS. It is safe for concurrent use.
type Client struct {
	peer    *transport.Peer
	base    *url.URL
	http    *http.Client
	timeout time.Duration
	agent   string
}

// New returns a client; the first request connects. Close it after use.
func New(cfg Config) (*Client, error) {
	base, err := url.Parse(cfg.URL)
	if err != nil || base.Scheme != "https" || base.Host == "" || base.User != nil || base.RawQuery != "" || base.Fragment != "" {
		return nil, reason.Errorf(reason.Config, "server address %q is not https://HOST[:PORT][/PATH]", cfg.URL)
	}
	peer, err := transport.NewPeer(base.Hostname(), cfg.CA, cfg.Certificate)
	if err != nil {
		return nil, err
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = DefaultTimeout
	}
	if cfg.Idle <= 0 {
		cfg.Idle = DefaultIdle
	}
	var protocols http.Protocols
	protocols.SetHTTP1(true) // one request at a time gains nothing from HTTP/2
	t := &http.Transport{
		Proxy: http.ProxyFromEnvironment,
		// No keep-alive packets: between polls the radio sleeps.
		DialContext:            (&net.Dialer{Timeout: cfg.Timeout, KeepAlive: -1}).DialContext,
		TLSClientConfig:        peer.TLS(),
		TLSHandshakeTimeout:    cfg.Timeout,
		ResponseHeaderTimeout:  cfg.Timeout,
		IdleConnTimeout:        cfg.Idle,
		MaxIdleConns:           1,
		MaxResponseHeaderBytes: maxHeader,
		ReadBufferSize:         64 << 10,
		DisableCompression:     true,
		Protocols:              &protocols,
	}
	return &Client{
		peer: peer, base: base, timeout: cfg.Timeout, agent: cfg.UserAgent,
		http: &http.Client{Transport: t, CheckRedirect: sameHost},
	}, nil
}

// Close drops idle connections; requests under way end with their contexts.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

// errRedirect is why a redirect was not followed.
var errRedirect = errors.New("redirect")

func sameHost(next *http.Request, via []*http.Request) error {
	switch first := via[0].URL; {
	case next.URL.Scheme != first.Scheme || next.URL.Host != first.Host:
		return fmt.Errorf("%w to %q, another host than %q", errRedirect, next.URL.Host, first.Host)
	case len(via) > maxRedirects:
		return fmt.Errorf("%w after redirect, more than %d", errRedirect, maxRedirects)
	}
	return nil
}

var _ trust.Fetcher = (*Client)(nil)

// Fetch returns a role file of the image repository; version 0 is the newest. Absent: an error with
// trust.ErrNotFound in its chain. More than limit bytes: too-large, and no more than that is read.
func (c *Client) Fetch(ctx context.Context, role string, version, limit int64) ([]byte, error) {
	name := role + ".json"
	if version > 0 {
		name = fmt.Sprintf("%d.%s", version, name)
	}
	call, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	r, err := c.do(call, http.MethodGet, []string{name}, nil, nil)
	if err == nil {
		defer r.Body.Close()
		err = answered(r, http.StatusOK)
	}
	if err != nil {
		if reason.Is(err, reason.NotFound) {
			return nil, fmt.Errorf("%q: %w", name, trust.ErrNotFound)
		}
		return nil, reason.Wrap(c.peer.Failed(ctx, err), "%q", name)
	}
	data, err := read(call, r.Body, limit)
	if err != nil {
		return nil, reason.Wrap(c.peer.Failed(ctx, err), "%q", name)
	}
	return data, nil
}

// read reads a body of at most limit bytes. A server may end its answer properly when the connection
// is closed because ctx ended, so that is asked too.
func read(ctx context.Context, body io.Reader, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(body, limit+1))
	if err == nil {
		err = ctx.Err()
	}
	switch {
	case int64(len(data)) > limit:
		return nil, reason.Errorf(reason.TooLarge, "the answer has more than %d bytes", limit)
	case err != nil:
		return nil, broken(err)
	}
	return data, nil
}

// do sends a request to a path below the base.
func (c *Client) do(ctx context.Context, method string, path []string, h http.Header, body io.Reader) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, c.base.JoinPath(path...).String(), body)
	if err != nil {
		return nil, reason.Errorf(reason.Config, "%w", err)
	}
	if h != nil {
		r.Header = h
	}
	r.Header.Set("User-Agent", c.agent)
	answer, err := c.http.Do(r)
	if err != nil {
		var inner *url.Error // its text repeats method and URL
		if errors.As(err, &inner) {
			err = inner.Err
		}
		return nil, broken(err)
	}
	return answer, nil
}

// broken is the error of a connection.
func broken(err error) error {
	return reason.Errorf(reason.Unreachable, "%w", err)
}
