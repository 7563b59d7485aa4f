package api

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc/credentials"

	"github.com/countersign-ota/countersign/proto/enroll"
)

// front takes the connections of the gRPC address, makes the TLS handshake, and hands those of
// operators to one gRPC server and all others to another. gRPC holds a message whole before anybody
// can look at it, and has one limit a server: a stranger must not get the 64 MiB that an event may
// have. Who is an operator here is judged again at every call.
type front struct {
	a                *API
	listener         net.Listener
	known, strangers *handoff
	handshakes       chan struct{}
	anonymous        chan struct{} // one for each connection of nobody known
	done             chan struct{}
	once             sync.Once
}

func newFront(a *API, l net.Listener) *front {
	done := make(chan struct{})
	return &front{
		a: a, listener: limitConns(l, maxConns), done: done, handshakes: make(chan struct{}, maxHandshakes),
		anonymous: make(chan struct{}, maxAnonymous),
		known:     &handoff{conns: make(chan net.Conn), done: done, addr: l.Addr()},
		strangers: &handoff{conns: make(chan net.Conn), done: done, addr: l.Addr()},
	}
}

func (f *front) close() {
	f.once.Do(func() { close(f.done) })
	_ = f.listener.Close()
}

func (f *front) run() error {
	config := f.a.tlsConfig("h2")
	for {
		select {
		case f.handshakes <- struct{}{}:
		case <-f.done:
			return nil
		}
		c, err := f.listener.Accept()
		if err != nil {
			<-f.handshakes
			var temporary net.Error
			if errors.As(err, &temporary) && temporary.Timeout() {
				continue
			}
			select {
			case <-f.done:
				return nil
			case <-time.After(100 * time.Millisecond): // such as too many open files: it may pass
			}
			if errors.Is(err, net.ErrClosed) {
				return err
			}
			f.a.Log.Error("accept", "error", err)
			continue
		}
		go func() {
			defer func() { <-f.handshakes }()
			f.handshake(tls.Server(c, config))
		}()
	}
}

// handshake hands the connection over or closes it.
func (f *front) handshake(c *tls.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), handshakeTimeout)
	defer cancel()
	if err := c.HandshakeContext(ctx); err != nil {
		f.a.Log.Debug("handshake failed", "peer", c.RemoteAddr().String(), "error", err)
		_ = c.Close()
		return
	}
	to, conn := f.strangers, &frontConn{Conn: c, release: func() {}}
	caller, err := f.a.Registry.Caller(ctx, c.ConnectionState().PeerCertificates)
	switch {
	case err == nil && caller.Kind == enroll.Operator:
		to = f.known
	case err != nil || caller.Kind == "":
		select {
		case f.anonymous <- struct{}{}:
			conn.release = sync.OnceFunc(func() { <-f.anonymous })
		default:
			f.a.Log.Warn("too many connections of strangers", "peer", c.RemoteAddr().String())
			_ = c.Close()
			return
		}
	}
	select {
	case to.conns <- conn:
	case <-f.done:
		_ = conn.Close()
	}
}

// frontConn is a connection after its handshake.
type frontConn struct {
	*tls.Conn
	release func()
}

// Close closes the connection and gives its place back.
func (c *frontConn) Close() error {
	err := c.Conn.Close()
	c.release()
	return err
}

// handoff is a listener whose connections come from front.
type handoff struct {
	conns chan net.Conn
	done  <-chan struct{}
	addr  net.Addr
}

func (h *handoff) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}

func (h *handoff) Close() error   { return nil } // front closes the one listener
func (h *handoff) Addr() net.Addr { return h.addr }

// handshaken are the credentials of connections whose handshake front has made.
type handshaken struct{}

var _ credentials.TransportCredentials = handshaken{}

func (handshaken) ServerHandshake(c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	t, ok := c.(*frontConn)
	if !ok || !t.ConnectionState().HandshakeComplete {
		return nil, nil, errors.New("api: connection without TLS")
	}
	if t.ConnectionState().NegotiatedProtocol != "h2" {
		return nil, nil, errors.New("the peer speaks no HTTP/2")
	}
	return c, credentials.TLSInfo{
		State:          t.ConnectionState(),
		CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity},
	}, nil
}

func (handshaken) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("api: these are a server's credentials")
}

func (handshaken) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "tls"}
}

func (h handshaken) Clone() credentials.TransportCredentials { return h }

func (handshaken) OverrideServerName(string) error { return nil }
