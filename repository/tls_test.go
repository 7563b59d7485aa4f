package repository_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/repository"
	"github.com/countersign-ota/countersign/signer/event"
	"github.com/countersign-ota/countersign/signer/remote"
)

// ownCertificate writes a certificate of the operator's own choice for 127.0.0.1 and returns it.
func (b *bed) ownCertificate(serial int64) *x509.Certificate {
	b.t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(serial), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, k.Public(), k)
	if err != nil {
		b.t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		b.t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"own.pem": {Type: "CERTIFICATE", Bytes: der}, "own.key": {Type: "PRIVATE KEY", Bytes: key}} {
		if err := os.WriteFile(filepath.Join(b.dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			b.t.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		b.t.Fatal(err)
	}
	return cert
}

// A configured certificate is shown in place of the intermediate's, and is one of the TLS anchors that
// an init must name.
func TestConfiguredCertificate(t *testing.T) {
	b := newBed(t)
	before := b.plan(basicPlan)
	b.stop()
	own := b.ownCertificate(1)
	b.cfg.TLSCert, b.cfg.TLSKey = "own.pem", "own.key"
	b.start()
	for _, address := range []string{b.cfg.GRPC, b.webAddress()} {
		c, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}) //nolint:gosec // the certificate is compared below
		if err != nil {
			t.Fatal(err)
		}
		if !c.ConnectionState().PeerCertificates[0].Equal(own) {
			t.Errorf("%s shows another certificate", address)
		}
		c.Close()
	}
	b.ca = own
	rivera := b.dial(b.ids["rivera"])
	defer rivera.Close()
	e, err := event.NewInit(before, event.Opening{Now: b.clock.now().Truncate(time.Second)})
	if err != nil {
		t.Fatal(err)
	}
	_, err = rivera.OpenEvent(ctx, e) // the plan names the key of the certificate before
	wantReason(t, err, reason.OnlineKeyUnknown)
	e, err = event.NewInit(b.plan(basicPlan), event.Opening{Now: b.clock.now().Truncate(time.Second)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rivera.OpenEvent(ctx, e); err != nil { // online.pub is true again
		t.Error(err)
	}
	b.stop()
	if err := os.Chmod(filepath.Join(b.dir, "own.key"), 0o640); err != nil {
		t.Fatal(err)
	}
	_, err = repository.Open(ctx, b.cfg)
	wantReason(t, err, reason.SecretExposed)
	b.cfg.URL = "https://updates.example"
	if err := os.Chmod(filepath.Join(b.dir, "own.key"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = repository.Open(ctx, b.cfg)
	wantReason(t, err, reason.Config) // for another host
}

// The online keys come from the service manager as well.
func TestOnlineKeysAsCredentials(t *testing.T) {
	b := newBed(t)
	b.found(basicPlan)
	b.stop()
	creds := t.TempDir()
	for _, name := range []string{"image", "director"} {
		if err := os.Rename(filepath.Join(b.dir, "online", name+".key"), filepath.Join(creds, name)); err != nil {
			t.Fatal(err)
		}
	}
	b.cfg.OnlineImage, b.cfg.OnlineDirector = "credential:image", "credential:director"
	_, err := repository.Open(ctx, b.cfg)
	wantReason(t, err, reason.Config)
	b.cfg.Credentials = creds
	b.start()
	b.released("2.4.1")
	b.checked()
}

// A full disk refuses an upload by name, keeps what is durable, and takes the rest when there is room.
func TestDiskFullInUpload(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("a full disk needs a small tmpfs, and mounting one needs root")
	}
	b := newBed(t)
	b.stop()
	blobs := filepath.Join(b.dir, "blobs")
	if err := syscall.Mount("tmpfs", blobs, "tmpfs", 0, "size=2m"); err != nil {
		t.Skipf("cannot mount a tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if b.end != nil {
			b.stop()
		}
		if err := syscall.Unmount(blobs, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	b.start()
	data := bytes.Repeat([]byte("firmware"), 400_000)
	sum := sha256.Sum256(data)
	path := b.write("gw.img", data)
	rivera := b.operators["rivera"]
	err := rivera.Upload(ctx, path, sum, int64(len(data)), remote.Watch{})
	wantReason(t, err, reason.DiskFull)
	if code, _ := b.get("/timestamp.json"); code != 404 {
		t.Errorf("the server does not go on: %d", code)
	}
	if err := syscall.Mount("tmpfs", blobs, "tmpfs", syscall.MS_REMOUNT, "size=16m"); err != nil {
		t.Fatal(err)
	}
	if err := rivera.Upload(ctx, path, sum, int64(len(data)), remote.Watch{}); err != nil {
		t.Errorf("with room again: %v [%s]", err, reason.Of(err))
	}
	b.checked()
}

// Many people publish at once: each event once, in one order.
func TestPublishAtOnce(t *testing.T) {
	b := newBed(t)
	b.found(basicPlan)
	e, s := b.release("2.4.1", basicSpec)
	b.upload(e, s)
	id := b.open("rivera", e)
	b.sign(id, "rivera", "chen")
	answers := make(chan map[string]int64, 8)
	for range cap(answers) {
		go func() {
			roles, err := b.operators["rivera"].Publish(ctx, id)
			if err != nil {
				t.Error(err)
			}
			answers <- versions(roles)
		}()
	}
	first := <-answers
	for range cap(answers) - 1 {
		if next := <-answers; next["image/timestamp"] != first["image/timestamp"] || next["image/gw-100"] != 2 {
			t.Errorf("two publications: %v and %v", first, next)
		}
	}
	b.checked()
}
