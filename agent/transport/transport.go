// Package transport is what the two ways to a server have in common: how the server proves itself to
// a device, and the device to it. agent/transport/rpc speaks gRPC, agent/transport/web HTTPS in the
// layout of a TUF repository; both offer Fetch, Download and Enroll.
//
// A device trusts none of the bytes that it fetches; TLS keeps strangers out and images private. So
// chain and name of the server's certificate are verified, and dates are not: a device with a wrong
// clock, or one that lay on a shelf for years, must still get its cure (DESIGN 1.6). TLS 1.3 only.
package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/countersign-ota/countersign/proto/reason"
)

// maxPEM bounds CA, certificate and key files, in bytes.
const maxPEM = 64 << 10

// Certificate returns the certificate with which the device proves itself. It is called for each
// connection, so a renewed one is used from then on.
type Certificate func() (*tls.Certificate, error)

// FromFiles reads certificate (leaf first) and key, PEM, each time. A key that others can read is
// refused (secret-exposed).
func FromFiles(certificate, key string) Certificate {
	return func() (*tls.Certificate, error) {
		cert, err := readSmall(certificate)
		if err != nil {
			return nil, err
		}
		info, err := os.Stat(key)
		if err != nil {
			return nil, reason.Errorf(reason.StateDamaged, "device key: %w", err)
		}
		if mode := info.Mode().Perm(); mode&0o077 != 0 {
			return nil, reason.Errorf(reason.SecretExposed, "device key %q has mode %04o, want 0600", key, mode).WithHint("chmod 600 %s", key)
		}
		secret, err := readSmall(key)
		if err != nil {
			return nil, err
		}
		pair, err := tls.X509KeyPair(cert, secret)
		if err != nil {
			return nil, reason.Errorf(reason.StateDamaged, "device certificate %q and key %q: %w", certificate, key, err)
		}
		return &pair, nil
	}
}

func readSmall(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err == nil && info.Size() > maxPEM {
		err = errors.New("too large")
	}
	var data []byte
	if err == nil {
		data, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, reason.Errorf(reason.StateDamaged, "cannot read %q: %w", path, err)
	}
	return data, nil
}

// Peer verifies one server. It is safe for concurrent use.
type Peer struct {
	name        string
	roots       *x509.CertPool
	certificate Certificate

	mu       sync.Mutex
	unproven error // why the last handshake failed at a certificate, theirs or ours; guarded by mu
}

// NewPeer returns the server that is called name, a host name or IP address, under the identity CA in
// PEM. certificate may be nil, for a device that has none yet.
func NewPeer(name string, ca []byte, certificate Certificate) (*Peer, error) {
	if name == "" {
		return nil, reason.Errorf(reason.Config, "the server's address names no host")
	}
	p := &Peer{name: name, roots: x509.NewCertPool(), certificate: certificate}
	if len(ca) > maxPEM {
		return nil, reason.Errorf(reason.Config, "identity CA has more than %d bytes", maxPEM)
	}
	found := false
	for block, rest := pem.Decode(ca); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			return nil, reason.Errorf(reason.Config, "identity CA holds a %q, want certificates only", block.Type)
		}
		root, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, reason.Errorf(reason.Config, "identity CA: %w", err)
		}
		p.roots.AddCert(timeless(root))
		found = true
	}
	if !found {
		return nil, reason.Errorf(reason.Config, "identity CA holds no certificate in PEM")
	}
	return p, nil
}

// TLS returns the configuration for connections to the peer.
func (p *Peer) TLS() *tls.Config {
	c := &tls.Config{
		MinVersion: tls.VersionTLS13,
		ServerName: p.name,
		// Not skipped: verify does what the library would, but for the dates.
		InsecureSkipVerify: true, //nolint:gosec // see above
		VerifyConnection: func(s tls.ConnectionState) error {
			return p.note(p.verify(s.PeerCertificates))
		},
		// Records of full size from the start: a download is worth it, and a poll fits one anyway.
		DynamicRecordSizingDisabled: true,
	}
	if p.certificate != nil {
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			cert, err := p.certificate()
			if err != nil {
				return nil, p.note(err)
			}
			return cert, nil
		}
	}
	return c
}

// verify checks chain, name and usage of the server's certificate, leaf first. The library wants one
// moment at which all of a chain is valid, which need not exist once a device's copy of the CA has
// aged; so the copies that it sees have no dates at all.
func (p *Peer) verify(chain []*x509.Certificate) error {
	if len(chain) == 0 {
		return errors.New("the server showed no certificate")
	}
	o := x509.VerifyOptions{
		Roots:         p.roots,
		Intermediates: x509.NewCertPool(),
		// Our own name: the one in the connection's state is empty for an IP address, and an empty
		// name would match any.
		DNSName:     p.name,
		KeyUsages:   []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		CurrentTime: epoch,
	}
	for _, c := range chain[1:] {
		o.Intermediates.AddCert(timeless(c))
	}
	_, err := timeless(chain[0]).Verify(o)
	return err
}

// epoch is the moment at which timeless certificates are judged.
var epoch = time.Unix(0, 0)

// timeless returns a copy of a parsed certificate that is valid at any time. Signatures are verified
// over the bytes as they came, so nothing else changes.
func timeless(c *x509.Certificate) *x509.Certificate {
	t := *c
	t.NotBefore, t.NotAfter = epoch.AddDate(-1, 0, 0), epoch.AddDate(1, 0, 0)
	return &t
}

func (p *Peer) note(err error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.unproven = err
	return err
}

// Failed returns what the error of a call over the peer's connections means. The end of ctx stays
// what it is, except for a deadline; the error of a handshake, which looks like a broken network from
// above, becomes server-unproven or what the device's own certificate failed of.
func (p *Peer) Failed(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if e := ctx.Err(); e != nil && !errors.Is(e, context.DeadlineExceeded) {
		return context.Cause(ctx)
	}
	if r := reason.Of(err); r != reason.Unreachable {
		return err
	}
	p.mu.Lock()
	unproven := p.unproven
	p.mu.Unlock()
	switch {
	case unproven == nil || !strings.Contains(err.Error(), unproven.Error()):
		// The last handshake went well, or this failure is a later and another one.
		return reason.Wrap(err, "%s", p.name)
	case reason.Of(unproven) != "":
		return unproven
	}
	return reason.Errorf(reason.ServerUnproven, "%s is not the server of this deployment: %w", p.name, unproven).
		WithHint("check that the network is the right one, and the CA file")
}
