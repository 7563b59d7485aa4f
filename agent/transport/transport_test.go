package transport_test

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/countersign-ota/countersign/agent/transport"
	"github.com/countersign-ota/countersign/agent/transport/transporttest"
	"github.com/countersign-ota/countersign/proto/reason"
)

func years(from, to int) transporttest.Option {
	return transporttest.Valid(time.Date(from, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(to, 1, 1, 0, 0, 0, 0, time.UTC))
}

// handshake connects to a server that shows cert.
func handshake(t *testing.T, client *tls.Config, server *tls.Config) (clientErr, serverErr error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			done <- err
			return
		}
		defer conn.Close()
		s := tls.Server(conn, server)
		if err := s.Handshake(); err != nil {
			done <- err
			return
		}
		_, err = s.Write([]byte{1})
		done <- err
	}()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := tls.Client(conn, client)
	if clientErr = c.Handshake(); clientErr == nil {
		_, clientErr = c.Read(make([]byte, 1))
	} else {
		_ = conn.Close()
	}
	return clientErr, <-done
}

// Chain, name and usage count; dates do not, not even where no moment exists at which all of the
// chain is valid.
func TestServerProves(t *testing.T) {
	root := transporttest.New(t, years(2000, 2010))
	middle := root.Intermediate(years(2020, 2021))
	other := transporttest.New(t)
	device := middle.Device("gw-0001")
	cases := []struct {
		name string
		peer string
		cert tls.Certificate
		good bool
	}{
		{"IP address", "127.0.0.1", middle.Server("127.0.0.1"), true},
		{"host name", "updates.example", middle.Server("updates.example"), true},
		{"under the root itself", "updates.example", root.Server("updates.example"), true},
		{"expired", "updates.example", middle.Server("updates.example", years(1999, 2001)), true},
		{"not valid yet", "updates.example", middle.Server("updates.example", years(2090, 2091)), true},
		{"another name", "updates.example", middle.Server("other.example"), false},
		{"name for an address", "127.0.0.1", middle.Server("updates.example"), false},
		{"another address", "127.0.0.1", middle.Server("127.0.0.2"), false},
		{"another CA", "updates.example", other.Server("updates.example"), false},
		{"no intermediate", "updates.example", tls.Certificate{Certificate: middle.Server("updates.example").Certificate[:1]}, false},
		{"a device", "updates.example", middle.Device("updates", func(c *x509.Certificate) { c.DNSNames = []string{"updates.example"} }), false},
		{"a device as a CA", "updates.example", forged(t, middle, device), false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if c.cert.PrivateKey == nil {
				full := middle.Server("updates.example")
				c.cert = tls.Certificate{Certificate: full.Certificate[:1], PrivateKey: full.PrivateKey}
			}
			p, err := transport.NewPeer(c.peer, root.PEM(), nil)
			if err != nil {
				t.Fatal(err)
			}
			err, _ = handshake(t, p.TLS(), &tls.Config{Certificates: []tls.Certificate{c.cert}})
			if (err == nil) != c.good {
				t.Fatalf("handshake: %v", err)
			}
			// Above, a failed handshake looks like a broken network.
			seen := p.Failed(t.Context(), reason.Errorf(reason.Unreachable, "connection error: %w", errors.Join(err)))
			if want := reason.ServerUnproven; !c.good && !reason.Is(seen, want) {
				t.Errorf("got %v [%s], want [%s]", seen, reason.Of(seen), want)
			}
			if c.good && !reason.Is(p.Failed(t.Context(), reason.Errorf(reason.Unreachable, "cable out")), reason.Unreachable) {
				t.Error("a broken network is not unreachable")
			}
		})
	}
}

// forged is a server's certificate that a device signed.
func forged(t *testing.T, ca *transporttest.CA, device tls.Certificate) tls.Certificate {
	t.Helper()
	server := ca.Server("updates.example")
	tmpl := *server.Leaf
	der, err := x509.CreateCertificate(rand.Reader, &tmpl, device.Leaf, server.Leaf.PublicKey, device.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: append([][]byte{der}, device.Certificate...), PrivateKey: server.PrivateKey}
}

func TestOldTLSIsRefused(t *testing.T) {
	root := transporttest.New(t)
	p, err := transport.NewPeer("127.0.0.1", root.PEM(), nil)
	if err != nil {
		t.Fatal(err)
	}
	server := &tls.Config{Certificates: []tls.Certificate{root.Server("127.0.0.1")}, MaxVersion: tls.VersionTLS12}
	if err, _ := handshake(t, p.TLS(), server); err == nil {
		t.Error("TLS 1.2 was taken")
	}
}

func TestDeviceProvesItself(t *testing.T) {
	root := transporttest.New(t)
	cert := root.Device("gw-0001", years(2000, 2001))
	dir := t.TempDir()
	pemPath, keyPath := filepath.Join(dir, "identity.pem"), filepath.Join(dir, "identity.key")
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	write := func(path, kind string, der []byte) {
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(pemPath, "CERTIFICATE", cert.Certificate[0])
	write(keyPath, "PRIVATE KEY", key)

	p, err := transport.NewPeer("127.0.0.1", root.PEM(), transport.FromFiles(pemPath, keyPath))
	if err != nil {
		t.Fatal(err)
	}
	var seen []*x509.Certificate
	server := &tls.Config{
		Certificates:     []tls.Certificate{root.Server("127.0.0.1")},
		ClientAuth:       tls.RequestClientCert,
		VerifyConnection: func(s tls.ConnectionState) error { seen = s.PeerCertificates; return nil },
	}
	if clientErr, serverErr := handshake(t, p.TLS(), server); clientErr != nil || serverErr != nil || len(seen) != 1 || !seen[0].Equal(cert.Leaf) {
		t.Fatalf("%v, %v, server saw %d certificates", clientErr, serverErr, len(seen))
	}

	if err := os.Chmod(keyPath, 0o640); err != nil {
		t.Fatal(err)
	}
	err, _ = handshake(t, p.TLS(), server)
	if got := p.Failed(t.Context(), reason.Errorf(reason.Unreachable, "%w", err)); !reason.Is(got, reason.SecretExposed) {
		t.Errorf("readable key: %v [%s], want [secret-exposed]", got, reason.Of(got))
	}
	for name, spoil := range map[string]func() error{
		"no key":      func() error { return nil },
		"empty key":   func() error { return os.WriteFile(keyPath, nil, 0o600) },
		"huge key":    func() error { return os.WriteFile(keyPath, make([]byte, 1<<20), 0o600) },
		"other's key": func() error { return os.WriteFile(keyPath, []byte("-----BEGIN PRIVATE KEY-----\n"), 0o600) },
	} {
		_ = os.Remove(keyPath)
		if err := spoil(); err != nil {
			t.Fatal(name, err)
		}
		if _, err := transport.FromFiles(pemPath, keyPath)(); !reason.Is(err, reason.StateDamaged) {
			t.Errorf("%s: %v [%s]", name, err, reason.Of(err))
		}
	}
}

func TestNewPeerRefuses(t *testing.T) {
	root := transporttest.New(t)
	for name, c := range map[string]struct {
		host string
		ca   []byte
	}{
		"no name":    {"", root.PEM()},
		"no CA":      {"updates.example", nil},
		"a key":      {"updates.example", []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")},
		"not DER":    {"updates.example", []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")},
		"very large": {"updates.example", make([]byte, 1<<20)},
	} {
		if _, err := transport.NewPeer(c.host, c.ca, nil); !reason.Is(err, reason.Config) {
			t.Errorf("%s: %v [%s], want [config]", name, err, reason.Of(err))
		}
	}
}
