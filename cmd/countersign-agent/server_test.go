package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/countersign-ota/countersign/proto/countersign/v1"

	"github.com/countersign-ota/countersign/proto/enroll"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/metadata/metadatatest"
)

// server is a repository over HTTPS in the TUF layout, with an identity CA.
type server struct {
	http *httptest.Server
	ca   *x509.Certificate
	key  ed25519.PrivateKey

	mu     sync.Mutex // guards the rest
	d      *metadatatest.Deployment
	files  map[string][]byte
	mode   string
	secret map[string][]byte // of tokens, by id
}

// quietTB lets a server live outside a test.
type quietTB struct{ testing.TB }

func (quietTB) Helper()                           {}
func (quietTB) Fatalf(format string, args ...any) { log.Panicf(format, args...) }
func (quietTB) Fatal(args ...any)                 { log.Panic(args...) }

func newServer() (*server, error) {
	s := &server{d: metadatatest.New(quietTB{}, metadatatest.Options{Now: time.Now().Add(-time.Hour).UTC().Truncate(time.Second)}), secret: map[string][]byte{}}
	s.d.AddProduct("gw-100", metadatatest.Product{})
	s.files = s.d.Files()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	s.key = key
	template := &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := s.issue(template, key.Public())
	if err != nil {
		return nil, err
	}
	if s.ca, err = x509.ParseCertificate(der); err != nil {
		return nil, err
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err = s.issue(&x509.Certificate{
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, public)
	if err != nil {
		return nil, err
	}
	s.http = httptest.NewUnstartedServer(s)
	s.http.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.http.TLS = &tls.Config{
		MinVersion: tls.VersionTLS13, ClientAuth: tls.RequestClientCert,
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: private}},
	}
	s.http.StartTLS()
	return s, nil
}

// issue signs a certificate under the CA; the first one signs itself.
func (s *server) issue(c *x509.Certificate, public any) ([]byte, error) {
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return nil, err
	}
	c.SerialNumber, c.Subject = serial, pkix.Name{CommonName: "acme " + serial.String()}
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	parent := s.ca
	if parent == nil {
		parent = c
	}
	return x509.CreateCertificate(rand.Reader, c, parent, public, s.key)
}

func (s *server) caPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.ca.Raw})
}

// publish changes the deployment and serves the outcome.
func (s *server) publish(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
	s.files = s.d.Files()
}

// token makes a token for a device.
func (s *server) token(device string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id, secret := make([]byte, 8), make([]byte, enroll.SecretSize)
	_, _ = rand.Read(id)
	_, _ = rand.Read(secret)
	s.secret[hex.EncodeToString(id)] = secret
	root, err := metadata.ParseRoot(s.d.Root(metadata.Image, 1), metadata.Profile)
	if err != nil {
		return nil, err
	}
	digest := root.Digest()
	address := strings.TrimPrefix(s.http.URL, "https://")
	t := &enroll.TokenFile{
		Deployment: "acme", Kind: enroll.Device, Subject: device, ID: hex.EncodeToString(id), Secret: secret,
		Expires: time.Now().Add(time.Hour).Truncate(time.Second).UTC(), Server: address, HTTPS: s.http.URL, CA: s.ca,
		Root: hex.EncodeToString(digest[:]),
	}
	return t.Bytes()
}

// ServeHTTP answers files and enrolments.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mode == "down" {
		panic(http.ErrAbortHandler)
	}
	if r.Method == http.MethodPost {
		s.enroll(w, r)
		return
	}
	path := strings.TrimPrefix(r.URL.Path, "/")
	data, ok := s.files[path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	if s.mode == "bad" && strings.HasPrefix(path, "targets/") {
		data = bytes.Clone(data)
		data[len(data)/2] ^= 1
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
}

func (s *server) enroll(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<16))
	var q pb.EnrollRequest
	if r.URL.Path != "/countersign.v1.Device/Enroll" || proto.Unmarshal(body, &q) != nil {
		http.NotFound(w, r)
		return
	}
	if !enroll.VerifyMAC(s.secret[q.TokenId], enroll.Device, q.Device, q.PublicKey, q.Mac) {
		http.Error(w, "token", http.StatusForbidden)
		return
	}
	key, err := x509.ParsePKIXPublicKey(q.PublicKey)
	if err != nil {
		http.Error(w, "key", http.StatusBadRequest)
		return
	}
	id := "device/" + q.Device
	if s.mode == "bad" {
		id = "device/somebody-else"
	}
	der, err := s.issue(&x509.Certificate{
		URIs: []*url.URL{{Scheme: "spiffe", Host: "acme", Path: "/" + id}}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, key)
	if err != nil {
		http.Error(w, "certificate", http.StatusInternalServerError)
		return
	}
	answer, _ := proto.Marshal(&pb.EnrollResponse{Certificates: [][]byte{der}})
	w.Header().Set("Content-Type", "application/x-protobuf")
	_, _ = w.Write(answer)
}
