// Package thief plays an attacker who took the server: its folder with the TLS identity, the online
// keys and every published file, or an older copy of it. The tests and the demonstration let devices
// meet it and look at what they refuse.
//
// Start with Steal; Listen serves what was stolen, changed with Put, Replace, Sign and Publish.
package thief

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// maxFile bounds what is read of a published file.
const maxFile = 64 << 20

// Thief holds what was stolen.
type Thief struct {
	// Ahead is how far above the stolen ones the versions of snapshots and timestamps are that Publish
	// signs. A device that met one thief takes no equal version from the next.
	Ahead int64

	dir string
	now func() time.Time

	mu    sync.Mutex
	files map[string][]byte // guarded by mu; by path in the TUF layout, without the leading slash

	server *http.Server
	addr   string
}

// Steal copies everything that a server at base (https://host:port, its folder is dir) has published,
// and reads its keys.
func Steal(ctx context.Context, dir, base string) (*Thief, error) {
	t := &Thief{Ahead: 1, dir: dir, now: time.Now, files: map[string][]byte{}}
	client := &http.Client{
		Timeout:   30 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}, // the thief sits on the server
	}
	defer client.CloseIdleConnections()
	take := func(name string) ([]byte, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/"+name, nil)
		if err != nil {
			return nil, err
		}
		res, err := client.Do(req)
		if err != nil {
			return nil, err
		}
		defer res.Body.Close()
		if res.StatusCode == http.StatusNotFound {
			return nil, os.ErrNotExist
		}
		if res.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("steal %s: %s", name, res.Status)
		}
		data, err := io.ReadAll(io.LimitReader(res.Body, maxFile))
		if err == nil {
			t.files[name] = data
		}
		return data, err
	}
	for v := 1; ; v++ {
		if _, err := take(fmt.Sprintf("%d.root.json", v)); errors.Is(err, os.ErrNotExist) {
			break
		} else if err != nil {
			return nil, err
		}
	}
	if _, err := take("timestamp.json"); err != nil {
		return nil, err
	}
	ts, err := t.timestamp()
	if err != nil {
		return nil, err
	}
	if _, err := take(fmt.Sprintf("%d.snapshot.json", ts.Signed.Meta["snapshot.json"].Version)); err != nil {
		return nil, err
	}
	snap, err := t.snapshot()
	if err != nil {
		return nil, err
	}
	for name, m := range snap.Signed.Meta {
		if _, err := take(fmt.Sprintf("%d.%s", m.Version, name)); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// Put serves data under a path of the TUF layout, such as "timestamp.json" or
// "targets/gw-100/1.0.0/HASH.gw.img".
func (t *Thief) Put(path string, data []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.files[path] = data
}

// Remove serves a path no more.
func (t *Thief) Remove(path string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.files, path)
}

// Copy returns a thief with the same loot, whose changes are its own.
func (t *Thief) Copy() *Thief {
	t.mu.Lock()
	defer t.mu.Unlock()
	return &Thief{Ahead: t.Ahead, dir: t.dir, now: t.now, files: maps.Clone(t.files)}
}

// Get returns what is served under a path; nil when that is nothing.
func (t *Thief) Get(path string) []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.files[path]
}

// Listen serves over TLS with a certificate that the thief issues from the stolen intermediate, and
// returns the base URL. Close ends it.
func (t *Thief) Listen() (string, error) {
	if t.addr != "" {
		return t.addr, nil
	}
	cert, err := t.certificate()
	if err != nil {
		return "", err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	t.server = &http.Server{
		Handler: t, ReadTimeout: time.Minute, WriteTimeout: time.Minute,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{*cert}, MinVersion: tls.VersionTLS13, ClientAuth: tls.RequestClientCert},
	}
	go t.server.ServeTLS(l, "", "")
	t.addr = "https://" + l.Addr().String()
	return t.addr, nil
}

// Close ends the server.
func (t *Thief) Close() error {
	if t.server == nil {
		return nil
	}
	return t.server.Close()
}

// ServeHTTP serves the files, and image bytes out of the stolen folder.
func (t *Thief) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/")
	if data := t.Get(name); data != nil {
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(string(data)))
		return
	}
	base := name[strings.LastIndexByte(name, '/')+1:]
	if hash, _, ok := strings.Cut(base, "."); ok && len(hash) == 64 && strings.HasPrefix(name, "targets/") {
		http.ServeFile(w, r, filepath.Join(t.dir, "blobs", hash[:2], hash))
		return
	}
	http.NotFound(w, r)
}

// certificate issues one for the loopback address.
func (t *Thief) certificate() (*tls.Certificate, error) {
	interPEM, err := os.ReadFile(filepath.Join(t.dir, "identity", "intermediate.pem"))
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(interPEM)
	if block == nil {
		return nil, errors.New("stolen intermediate is no PEM")
	}
	inter, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, err
	}
	signer, err := t.privateKey("identity/intermediate.key")
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(t.now().UnixNano()), NotBefore: t.now().Add(-time.Hour), NotAfter: t.now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"}, URIs: []*url.URL{},
	}, inter, key.Public(), signer)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der, inter.Raw}, PrivateKey: key}, nil
}

// privateKey reads a PKCS#8 PEM of the stolen folder.
func (t *Thief) privateKey(name string) (crypto.Signer, error) {
	data, err := os.ReadFile(filepath.Join(t.dir, name))
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("stolen %s is no PEM", name)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("stolen %s signs nothing", name)
	}
	return signer, nil
}
