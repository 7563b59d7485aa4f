package api

import (
	"net"
	"sync"
	"time"

	"google.golang.org/grpc/keepalive"

	"github.com/countersign-ota/countersign/proto/chunk"
	"github.com/countersign-ota/countersign/repository/internal/publish"
)

// Limits of the edge.
const (
	// maxSmallMessage is the largest message that a stranger or a device can make us hold, in bytes.
	maxSmallMessage = chunk.MaxMessage
	// maxEventMessage is that of an operator: an event and its framing.
	maxEventMessage = publish.MaxEvent + 1<<10
	// Streams that one connection may have open.
	strangerStreams, operatorStreams = 32, 64
	// maxConns is how many connections each address holds; more wait in the kernel's queue.
	maxConns = 8192
	// maxAnonymous is how many of those of the gRPC address belong to nobody who is known here; more
	// are closed, so that strangers cannot keep devices and operators out.
	maxAnonymous = 2048
	// maxHandshakes is how many TLS handshakes run at once.
	maxHandshakes = 1024
	// handshakeTimeout bounds one of them, and the wait for a request's headers.
	handshakeTimeout = 10 * time.Second
	// callTimeout bounds a call that is no stream.
	callTimeout = 60 * time.Second
	// stallTimeout bounds the wait for the next bytes of a transfer.
	stallTimeout = 60 * time.Second
	// idleTimeout closes a connection without calls.
	idleTimeout = 15 * time.Minute
	// maxHeader bounds the headers of a request, in bytes.
	maxHeader = 16 << 10
	// maxEnroll bounds the body of an enrolment over HTTPS, in bytes.
	maxEnroll = 4 << 10
)

// keepaliveParams find connections whose other end is gone.
var keepaliveParams = keepalive.ServerParameters{
	MaxConnectionIdle: idleTimeout,
	Time:              2 * time.Minute,
	Timeout:           20 * time.Second,
}

// keepalivePolicy cuts clients that ping more often than they need to.
var keepalivePolicy = keepalive.EnforcementPolicy{MinTime: 30 * time.Second, PermitWithoutStream: false}

// limitConns returns a listener of which at most n connections are open at once.
func limitConns(l net.Listener, n int) net.Listener {
	return &limitListener{Listener: l, free: make(chan struct{}, n), done: make(chan struct{})}
}

type limitListener struct {
	net.Listener
	free chan struct{}
	done chan struct{}
	once sync.Once
}

func (l *limitListener) Accept() (net.Conn, error) {
	select {
	case l.free <- struct{}{}:
	case <-l.done:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.free
		return nil, err
	}
	return &limitedConn{Conn: c, release: sync.OnceFunc(func() { <-l.free })}, nil
}

func (l *limitListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return l.Listener.Close()
}

type limitedConn struct {
	net.Conn
	release func()
}

func (c *limitedConn) Close() error {
	err := c.Conn.Close()
	c.release()
	return err
}
