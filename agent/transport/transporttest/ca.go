// Package transporttest makes identity CAs and certificates for tests of whatever speaks TLS to a
// server or as one. Their keys are made anew each time.
package transporttest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"testing"
	"time"
)

// CA can sign certificates.
type CA struct {
	t     testing.TB
	cert  *x509.Certificate
	key   *ecdsa.PrivateKey
	chain [][]byte // intermediates up to below the root, DER
}

// Option changes a certificate before it is signed.
type Option func(*x509.Certificate)

// Valid sets the dates.
func Valid(from, to time.Time) Option {
	return func(c *x509.Certificate) { c.NotBefore, c.NotAfter = from, to }
}

// New returns a root.
func New(t testing.TB, options ...Option) *CA {
	t.Helper()
	return sign(t, nil, options)
}

// Intermediate returns a CA below c.
func (c *CA) Intermediate(options ...Option) *CA {
	c.t.Helper()
	return sign(c.t, c, options)
}

func sign(t testing.TB, parent *CA, options []Option) *CA {
	t.Helper()
	tmpl := template(t, "identity CA", options)
	tmpl.IsCA, tmpl.BasicConstraintsValid = true, true
	tmpl.KeyUsage = x509.KeyUsageCertSign
	key := newKey(t)
	ca := &CA{t: t, key: key}
	signer, signerKey := tmpl, key
	if parent != nil {
		signer, signerKey = parent.cert, parent.key
	}
	der := create(t, tmpl, signer, key, signerKey)
	ca.cert = parse(t, der)
	if parent != nil {
		ca.chain = append([][]byte{der}, parent.chain...)
	}
	return ca
}

// PEM returns the CA's certificate.
func (c *CA) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.cert.Raw})
}

// Pool returns a pool of this CA alone.
func (c *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(c.cert)
	return pool
}

// Server returns a server's certificate, with its chain, for a host name or an IP address.
func (c *CA) Server(name string, options ...Option) tls.Certificate {
	c.t.Helper()
	return c.leaf(append([]Option{func(x *x509.Certificate) {
		x.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		if ip := net.ParseIP(name); ip != nil {
			x.IPAddresses = []net.IP{ip}
		} else {
			x.DNSNames = []string{name}
		}
	}}, options...))
}

// Device returns a device's certificate, with its chain.
func (c *CA) Device(id string, options ...Option) tls.Certificate {
	c.t.Helper()
	return c.leaf(append([]Option{func(x *x509.Certificate) {
		x.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		x.URIs = []*url.URL{{Scheme: "spiffe", Host: "acme", Path: "/device/" + id}}
	}}, options...))
}

func (c *CA) leaf(options []Option) tls.Certificate {
	c.t.Helper()
	tmpl := template(c.t, "leaf", options)
	tmpl.KeyUsage = x509.KeyUsageDigitalSignature
	key := newKey(c.t)
	der := create(c.t, tmpl, c.cert, key, c.key)
	return tls.Certificate{Certificate: append([][]byte{der}, c.chain...), PrivateKey: key, Leaf: parse(c.t, der)}
}

func template(t testing.TB, name string, options []Option) *x509.Certificate {
	t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name + " " + serial.String()},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
	}
	for _, o := range options {
		o(tmpl)
	}
	return tmpl
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func create(t testing.TB, tmpl, parent *x509.Certificate, key, parentKey *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, key.Public(), parentKey)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func parse(t testing.TB, der []byte) *x509.Certificate {
	t.Helper()
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}
