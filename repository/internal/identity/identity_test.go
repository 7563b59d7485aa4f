package identity

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/encrypted"

	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/enroll"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/repository/internal/audit"
	"github.com/countersign-ota/countersign/repository/internal/store"
	"github.com/countersign-ota/countersign/repository/internal/store/bolt"
)

// clock is a clock that tests set.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) forward(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// world is a registry over a real store and a real CA.
type world struct {
	*Registry
	t     *testing.T
	dir   string
	clock *clock
	db    store.Store
}

var start = time.Date(2026, 11, 25, 9, 0, 0, 0, time.UTC)

// usual is the CA of most tests: the key derivation of its passphrase takes its time.
var usual = sync.OnceValues(func() (*Material, error) { return NewMaterial("acme", []byte("secret"), start) })

func makeCA(t testing.TB, dir, deployment string) *Material {
	t.Helper()
	m, err := NewMaterial(deployment, []byte("secret"), start)
	if err != nil {
		t.Fatal(err)
	}
	return put(t, dir, m)
}

func put(t testing.TB, dir string, m *Material) *Material {
	t.Helper()
	for name, data := range m.Files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), clock: &clock{t: start}}
	m, err := usual()
	if err != nil {
		t.Fatal(err)
	}
	put(t, w.dir, m)
	ca, err := OpenAuthority(w.dir, "acme", w.clock.now)
	if err != nil {
		t.Fatal(err)
	}
	db, err := bolt.Create(filepath.Join(w.dir, "db"), bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	w.db = db
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	w.Registry = NewRegistry(db, ca, audit.NewRecorder(db, w.clock.now, log), w.clock.now, "updates.example:8443", "https://updates.example")
	return w
}

type key struct {
	crypto.Signer
	spki []byte
}

func newKey(t testing.TB) key {
	t.Helper()
	_, k, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key{k, spkiOf(t, k)}
}

func spkiOf(t testing.TB, k crypto.Signer) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func request(kind enroll.Kind, tok *pb.Token, k key) Request {
	mac := enroll.MAC(tok.GetSecret(), kind, tok.GetSubject(), k.spki)
	return Request{Kind: kind, ID: tok.GetSubject(), PublicKey: k.spki, TokenID: tok.GetId(), MAC: mac[:]}
}

func (w *world) inviteOperator(id string) *pb.Token {
	w.t.Helper()
	tok, err := w.InviteOperator(context.Background(), "server", id, []string{"admin"}, "")
	if err != nil {
		w.t.Fatal(err)
	}
	return tok
}

func (w *world) inviteDevice(id string) *pb.Token {
	w.t.Helper()
	toks, err := w.InviteDevices(context.Background(), "operator/rivera", []string{id})
	if err != nil {
		w.t.Fatal(err)
	}
	return toks[0]
}

func (w *world) enrolled(kind enroll.Kind, tok *pb.Token) (key, []*x509.Certificate) {
	w.t.Helper()
	k := newKey(w.t)
	certs, _, err := w.Enroll(context.Background(), request(kind, tok, k))
	if err != nil {
		w.t.Fatal(err)
	}
	return k, parse(w.t, certs)
}

func parse(t testing.TB, ders [][]byte) []*x509.Certificate {
	t.Helper()
	var certs []*x509.Certificate
	for _, der := range ders {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		certs = append(certs, c)
	}
	return certs
}

func (w *world) caller(certs []*x509.Certificate) Caller {
	w.t.Helper()
	c, err := w.Caller(context.Background(), certs)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// audited returns the newest audit entry.
func (w *world) audited() *pb.AuditRecord {
	w.t.Helper()
	var last *pb.AuditRecord
	err := w.db.View(context.Background(), func(v store.View) error {
		entries, err := v.AuditLog(1, 1000)
		if len(entries) > 0 {
			last = entries[len(entries)-1].Record
		}
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return last
}

func TestRootKeyIsEncryptedAndFitsTheRoot(t *testing.T) {
	m := makeCA(t, t.TempDir(), "acme")
	block, rest := pem.Decode(m.RootKey)
	if block == nil || block.Type != EncryptedKeyType || len(rest) != 0 {
		t.Fatalf("root key is %q", m.RootKey)
	}
	if _, err := encrypted.Decrypt(block.Bytes, []byte("guess")); err == nil {
		t.Error("opened with another passphrase")
	}
	der, err := encrypted.Decrypt(block.Bytes, []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	k, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil || !k.(*ecdsa.PrivateKey).PublicKey.Equal(m.Root.PublicKey) {
		t.Errorf("the key is not the root's: %v", err)
	}
	for name := range m.Files {
		if name == RootKeyFile {
			t.Error("the server keeps the root key")
		}
	}
	if _, err := NewMaterial("acme", nil, start); reason.Of(err) != reason.WrongPassphrase {
		t.Errorf("empty passphrase: %v", err)
	}
	if _, err := NewMaterial("Acme", []byte("x"), start); reason.Of(err) != reason.Malformed {
		t.Errorf("bad id: %v", err)
	}
}

// RootKeyFile is no file of the server's.
const RootKeyFile = "identity/root.key"

func TestOpenAuthorityRefuses(t *testing.T) {
	for _, tt := range []struct {
		name   string
		damage func(t *testing.T, dir string)
		want   reason.Reason
	}{
		{"no root", func(t *testing.T, dir string) { os.Remove(filepath.Join(dir, RootFile)) }, reason.Config},
		{"exposed key", func(t *testing.T, dir string) { os.Chmod(filepath.Join(dir, IntermediateKeyFile), 0o644) }, reason.SecretExposed},
		{"exposed server key", func(t *testing.T, dir string) { os.Chmod(filepath.Join(dir, ServerKeyFile), 0o640) }, reason.SecretExposed},
		{"garbage", func(t *testing.T, dir string) { os.WriteFile(filepath.Join(dir, IntermediateFile), []byte("x"), 0o600) }, reason.Config},
		{"another CA's root", func(t *testing.T, dir string) {
			m := makeCA(t, t.TempDir(), "acme")
			os.WriteFile(filepath.Join(dir, RootFile), m.Files[RootFile], 0o600)
		}, reason.Config},
		{"another key", func(t *testing.T, dir string) {
			m := makeCA(t, t.TempDir(), "acme")
			os.WriteFile(filepath.Join(dir, IntermediateKeyFile), m.Files[IntermediateKeyFile], 0o600)
		}, reason.Config},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			makeCA(t, dir, "acme")
			tt.damage(t, dir)
			if _, err := OpenAuthority(dir, "acme", time.Now); reason.Of(err) != tt.want {
				t.Fatalf("got %v, want %s", err, tt.want)
			}
		})
	}
}

func TestParseSPKI(t *testing.T) {
	p256, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	good := newKey(t).spki
	for name, der := range map[string][]byte{"ed25519": good, "p256": spkiOf(t, p256)} {
		if _, err := ParseSPKI(der); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, der := range map[string][]byte{
		"empty": nil, "cut": good[:len(good)-1], "left over": append(append([]byte{}, good...), 0),
		"p384": spkiOf(t, p384), "long": make([]byte, 4096),
	} {
		if _, err := ParseSPKI(der); reason.Of(err) != reason.KeyMalformed {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParseSPKI(f *testing.F) {
	f.Add(newKey(f).spki)
	p256, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	f.Add(spkiOf(f, p256))
	f.Fuzz(func(t *testing.T, der []byte) {
		pub, err := ParseSPKI(der)
		if err != nil {
			if reason.Of(err) != reason.KeyMalformed {
				t.Fatalf("reason of %v", err)
			}
			return
		}
		again, err := x509.MarshalPKIXPublicKey(pub)
		if err != nil || string(again) != string(der) {
			t.Fatalf("two forms of one key: %x, %x", der, again)
		}
	})
}
