package identity

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"sync"
	"time"

	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/repository/internal/secret"
)

// recheck is how often a configured certificate file is looked at again.
const recheck = time.Minute

// ServerCertificate is the certificate that the server shows: issued from the intermediate and
// renewed by itself, or read from files and read again when they change. It is safe for concurrent
// use.
type ServerCertificate struct {
	a         *Authority
	host      string
	cert, key string // files; empty: from the intermediate

	mu      sync.Mutex
	current *tls.Certificate // guarded by mu, as are the two below
	renewAt time.Time
	changed time.Time // of the files
}

// NewServerCertificate returns the certificate for host, the name in the server's URL. cert and key
// name PEM files, both or neither. Reasons: config, secret-exposed, key-malformed.
func (a *Authority) NewServerCertificate(host, cert, key string) (*ServerCertificate, error) {
	if (cert == "") != (key == "") {
		return nil, reason.Errorf(reason.Config, "tls: cert and key go together")
	}
	s := &ServerCertificate{a: a, host: host, cert: cert, key: key}
	c, err := s.get()
	if err != nil {
		return nil, err
	}
	if err := c.Leaf.VerifyHostname(host); err != nil {
		return nil, reason.Errorf(reason.Config, "tls: the certificate is not for the host of url: %v", err)
	}
	return s, nil
}

// Get is tls.Config.GetCertificate.
func (s *ServerCertificate) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.get() }

// Hash returns the SPKI hash of the certificate in use.
func (s *ServerCertificate) Hash() ([32]byte, error) {
	c, err := s.get()
	if err != nil {
		return [32]byte{}, err
	}
	return SPKIHash(c.Leaf), nil
}

func (s *ServerCertificate) get() (*tls.Certificate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.a.now()
	if s.current != nil && now.Before(s.renewAt) {
		return s.current, nil
	}
	var err error
	if s.cert == "" {
		err = s.issue(now)
	} else {
		err = s.load(now)
	}
	if err != nil && s.current == nil {
		return nil, err
	}
	// A file that is half replaced leaves the old certificate in use until the next look.
	return s.current, nil
}

func (s *ServerCertificate) issue(now time.Time) error {
	leaf, err := s.a.issueServer(s.host)
	if err != nil {
		return err
	}
	s.current = &tls.Certificate{Certificate: [][]byte{leaf.Raw, s.a.inter.Raw}, PrivateKey: s.a.serverKey, Leaf: leaf}
	s.renewAt = now.Add(leaf.NotAfter.Sub(now) * 2 / 3)
	return nil
}

func (s *ServerCertificate) load(now time.Time) error {
	s.renewAt = now.Add(recheck)
	info, err := os.Stat(s.cert)
	if err != nil {
		return reason.Errorf(reason.Config, "tls: %w", err)
	}
	if s.current != nil && info.ModTime().Equal(s.changed) {
		return nil
	}
	chain, err := os.ReadFile(s.cert)
	if err != nil {
		return reason.Errorf(reason.Config, "tls: %w", err)
	}
	key, err := secret.ReadFile(s.key)
	if err != nil {
		return err
	}
	c, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return reason.Errorf(reason.Config, "tls: %v", err)
	}
	if c.Leaf == nil {
		if c.Leaf, err = x509.ParseCertificate(c.Certificate[0]); err != nil {
			return reason.Errorf(reason.Config, "tls: %v", err)
		}
	}
	s.current, s.changed = &c, info.ModTime()
	return nil
}
