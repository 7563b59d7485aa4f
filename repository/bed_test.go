package repository_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign-ota/countersign/integration/loopback"
	"github.com/countersign-ota/countersign/proto/enroll"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/repository"
	"github.com/countersign-ota/countersign/signer/remote"
)

// clock is the machine's clock plus what a test put it forward.
type clock struct {
	mu    sync.Mutex
	ahead time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.ahead)
}

func (c *clock) forward(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
}

// bed is a real server on real ports with real TLS, and the people around it.
type bed struct {
	t     testing.TB
	dir   string // the server's
	files string // people's
	cfg   repository.Config
	clock *clock
	ca    *x509.Certificate
	log   *lockedBuffer
	end   func()

	operators map[string]*remote.Client
	ids       map[string]*remote.Identity
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// newBed makes a server with rivera as its first operator and starts it.
func newBed(t testing.TB, change ...func(*repository.Config)) *bed {
	t.Helper()
	return newBedAt(t, 0, change...)
}

// newBedAt is newBed with a clock that is ahead of the machine's, or behind it. The people's tools know the
// machine's clock, by which the server's certificate must be good: from its clock on, for 90 days.
func newBedAt(t testing.TB, ahead time.Duration, change ...func(*repository.Config)) *bed {
	t.Helper()
	b := &bed{
		t: t, dir: filepath.Join(t.TempDir(), "server"), files: t.TempDir(), clock: &clock{ahead: ahead}, log: &lockedBuffer{},
		operators: map[string]*remote.Client{}, ids: map[string]*remote.Identity{},
	}
	_, err := repository.Init(context.Background(), repository.InitOptions{
		Deployment: "acme", URL: "https://" + freeAddress(t), Dir: b.dir, Operator: "rivera",
		Passphrase: []byte("secret"), GRPC: freeAddress(t), Now: b.clock.now,
	})
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := repository.LoadConfig(filepath.Join(b.dir, repository.ConfigFile))
	if err != nil {
		t.Fatal(err)
	}
	b.cfg = *cfg
	b.cfg.Now, b.cfg.Log = b.clock.now, slog.New(slog.NewTextHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	for _, c := range change {
		c(&b.cfg)
	}
	b.start()
	t.Cleanup(func() {
		if b.end != nil {
			b.stop()
		}
		for _, c := range b.operators {
			c.Close()
		}
		if t.Failed() {
			t.Log(b.log.String())
		}
	})
	tok := b.token(filepath.Join(b.dir, "rivera.token"))
	b.ca = tok.CA
	b.login(tok)
	return b
}

// freeAddress returns an address on which nothing listens.
func freeAddress(t testing.TB) string {
	t.Helper()
	address, err := loopback.Address()
	if err != nil {
		t.Fatal(err)
	}
	return address
}

func (b *bed) start() {
	b.t.Helper()
	s, err := repository.Open(context.Background(), b.cfg)
	if err != nil {
		b.t.Fatalf("open: %v [%s]", err, reason.Of(err))
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	b.end = func() {
		cancel()
		if err := <-done; err != nil {
			b.t.Errorf("serve: %v", err)
		}
		if err := s.Close(); err != nil {
			b.t.Errorf("close: %v", err)
		}
	}
	waitFor(b.t, b.cfg.GRPC)
	waitFor(b.t, b.webAddress())
}

func waitFor(t testing.TB, address string) {
	t.Helper()
	for range 500 {
		c, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			c.Close()
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("nothing listens on %s", address)
}

func (b *bed) stop() {
	b.t.Helper()
	b.end()
	b.end = nil
}

func (b *bed) webAddress() string { return strings.TrimPrefix(b.cfg.URL, "https://") }

func (b *bed) token(path string) *enroll.TokenFile {
	b.t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		b.t.Fatal(err)
	}
	tok, err := enroll.ParseTokenFile(data)
	if err != nil {
		b.t.Fatal(err)
	}
	return tok
}

// login enrols an operator and keeps a connection.
func (b *bed) login(tok *enroll.TokenFile) *remote.Client {
	b.t.Helper()
	k, err := remote.NewKey()
	if err != nil {
		b.t.Fatal(err)
	}
	id, _, err := remote.Login(context.Background(), remote.Config{Address: tok.Server}, tok, k)
	if err != nil {
		b.t.Fatalf("login of %s: %v", tok.Subject, err)
	}
	b.ids[tok.Subject] = id
	b.operators[tok.Subject] = b.dial(id)
	return b.operators[tok.Subject]
}

func (b *bed) dial(id *remote.Identity) *remote.Client {
	b.t.Helper()
	c, err := remote.Dial(remote.Config{Address: b.cfg.Server(), CA: b.ca, Identity: id})
	if err != nil {
		b.t.Fatal(err)
	}
	return c
}

// operator returns the connection of an operator, who is invited by rivera and enrolled if need be.
func (b *bed) operator(id string) *remote.Client {
	b.t.Helper()
	if c := b.operators[id]; c != nil {
		return c
	}
	tok, err := b.operators["rivera"].InviteOperator(context.Background(), id, []string{"admin"}, "")
	if err != nil {
		b.t.Fatal(err)
	}
	return b.login(tok)
}

// tlsOf returns a TLS configuration of a peer, with a certificate or without.
func (b *bed) tlsOf(cert *tls.Certificate) *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(b.ca)
	c := &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13, Time: b.clock.now}
	if cert != nil {
		c.Certificates = []tls.Certificate{*cert}
	}
	return c
}

// browser returns an HTTPS client, with a certificate or without.
func (b *bed) browser(cert *tls.Certificate) *http.Client {
	tr := &http.Transport{TLSClientConfig: b.tlsOf(cert), ForceAttemptHTTP2: true}
	b.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 20 * time.Second}
}

// get fetches a path over HTTPS without a certificate.
func (b *bed) get(path string) (int, []byte) {
	b.t.Helper()
	resp, err := b.browser(nil).Get(b.cfg.URL + path)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return resp.StatusCode, data
}
