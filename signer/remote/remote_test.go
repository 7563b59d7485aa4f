package remote

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/countersign-ota/countersign/proto/enroll"
	"github.com/countersign-ota/countersign/proto/reason"
)

func TestLoginProvesTheTokenAndRenewChangesTheKey(t *testing.T) {
	s := newServer(t)
	k, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	id, roles, err := Login(t.Context(), Config{Address: s.addr}, s.token(), k)
	if err != nil || len(roles) != 1 || roles[0] != "release" {
		t.Fatalf("roles %q, %v", roles, err)
	}
	if id.Due(time.Now()) || !id.Due(time.Now().Add(30*time.Minute)) {
		t.Error("a certificate of an hour is due after a quarter of it")
	}
	if err := id.Expired(time.Now()); err != nil {
		t.Error(err)
	}
	if err := id.Expired(time.Now().Add(2 * time.Hour)); !reason.Is(err, reason.Expired) {
		t.Errorf("got %v", err)
	}
	data, err := id.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	read, err := ParseIdentity(data)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := read.Bytes(); err != nil || !bytes.Equal(data, again) {
		t.Fatalf("the identity changes when it is read and written: %v", err)
	}
	c, err := Dial(Config{Address: s.addr, CA: s.ca.root, Identity: read})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	who, err := c.WhoAmI(t.Context())
	if err != nil || who.GetOperator() != "spiffe://acme/operator/rivera" {
		t.Fatalf("got %v, %v", who, err)
	}
	fresh, err := c.Renew(t.Context(), s.ca.root, "acme", "rivera")
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(fresh.key, id.key) {
		t.Error("renewal kept the key")
	}
}

func TestLoginRefuses(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*server, *enroll.TokenFile)
		want   reason.Reason
	}{
		{"a device's token", func(_ *server, f *enroll.TokenFile) { f.Kind = enroll.Device }, reason.TokenInvalid},
		{"another secret", func(_ *server, f *enroll.TokenFile) { f.Secret = bytes.Repeat([]byte{9}, 32) }, reason.TokenInvalid},
		{"another CA: somebody else answers", func(s *server, f *enroll.TokenFile) { f.CA = newCA(s.t).root }, reason.ServerUnproven},
		{"a certificate for somebody else", func(s *server, _ *enroll.TokenFile) {
			s.uri = func(string) string { return "spiffe://acme/operator/chen" }
		}, reason.ScopeMismatch},
		{"a certificate of another deployment", func(s *server, _ *enroll.TokenFile) {
			s.uri = func(string) string { return "spiffe://other/operator/rivera" }
		}, reason.ScopeMismatch},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newServer(t)
			token := s.token()
			tt.change(s, token)
			k, err := NewKey()
			if err != nil {
				t.Fatal(err)
			}
			id, _, err := Login(t.Context(), Config{Address: s.addr}, token, k)
			if !reason.Is(err, tt.want) || id != nil {
				t.Errorf("got %v [%s], want %s", err, reason.Of(err), tt.want)
			}
		})
	}
}

func TestServerOfAnotherName(t *testing.T) {
	s := newServer(t)
	_, port, _ := net.SplitHostPort(s.addr)
	c, err := Dial(Config{Address: "127.0.0.1:" + port, CA: s.ca.root})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.WhoAmI(t.Context()); !reason.Is(err, reason.ServerUnproven) {
		t.Errorf("got %v [%s]", err, reason.Of(err))
	}
}

func TestErrorsOfCalls(t *testing.T) {
	s := newServer(t)
	stranger, err := Dial(Config{Address: s.addr, CA: s.ca.root})
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	_, err = stranger.WhoAmI(t.Context())
	if !reason.Is(err, reason.Permission) || err.Error() != "who are you?" || reason.HintOf(err) != "countersign login" {
		t.Errorf("text, reason or hint are lost: %v [%s], %q", err, reason.Of(err), reason.HintOf(err))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := stranger.WhoAmI(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled by the person: %v", err)
	}
	s.stop()
	_, err = stranger.WhoAmI(t.Context())
	if !reason.Is(err, reason.Unreachable) || !strings.Contains(err.Error(), "localhost not reachable: ") {
		t.Errorf("got %v [%s]", err, reason.Of(err))
	}
	if _, err := Dial(Config{Address: "updates.example", CA: s.ca.root}); !reason.Is(err, reason.Config) {
		t.Errorf("got %v", err)
	}
}

// A server that takes connections and says nothing.
func TestSilentServer(t *testing.T) {
	l, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	c, err := Dial(Config{Address: "localhost:" + port, CA: newCA(t).root, Timeout: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = c.WhoAmI(t.Context())
	if !reason.Is(err, reason.Unreachable) || err.Error() != "localhost silent for 50ms" {
		t.Errorf("got %v [%s]", err, reason.Of(err))
	}
}

// firmware writes a file of n bytes and returns its path and hash.
func firmware(t *testing.T, n int) (string, [32]byte, []byte) {
	t.Helper()
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(i * 7 >> 3)
	}
	path := filepath.Join(t.TempDir(), "gw.img")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, sha256.Sum256(data), data
}

// moves records what a Watch is told.
type moves struct{ start, total, added int64 }

func (m *moves) watch() Watch {
	return Watch{Start: func(done, total int64) { m.start, m.total = done, total }, Add: func(n int64) { m.added += n }}
}

func TestUploadResumes(t *testing.T) {
	const length = 5<<20 + 123
	path, id, data := firmware(t, length)
	for _, tt := range []struct {
		name string
		held int
	}{{"from the start", 0}, {"in the middle", 2<<20 + 17}, {"at the end, not yet checked", length - 1}, {"all there", length}} {
		t.Run(tt.name, func(t *testing.T) {
			s := newServer(t)
			c := s.login(0)
			s.held[id] = bytes.Clone(data[:tt.held])
			var m moves
			if err := c.Upload(t.Context(), path, id, length, m.watch()); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(s.held[id], data) {
				t.Errorf("the server holds %d bytes, want %d", len(s.held[id]), length)
			}
			if m.start != int64(tt.held) || m.total != length || m.added != int64(length-tt.held) {
				t.Errorf("progress %+v, held %d", m, tt.held)
			}
		})
	}
}

func TestUploadToASilentServerSaysHowFar(t *testing.T) {
	const length = 9 << 20
	path, id, data := firmware(t, length)
	s := newServer(t)
	c := s.login(200 * time.Millisecond)
	s.stall = 6 << 20
	err := c.Upload(t.Context(), path, id, length, Watch{})
	if !reason.Is(err, reason.Unreachable) {
		t.Fatalf("got %v [%s]", err, reason.Of(err))
	}
	if !strings.HasPrefix(err.Error(), "localhost silent for 200ms; ") || !strings.HasSuffix(err.Error(), " of 10 MB uploaded") {
		t.Errorf("text %q", err)
	}
	if h := reason.HintOf(err); !strings.HasPrefix(h, "the same command goes on at ") {
		t.Errorf("hint %q", h)
	}
	s.mu.Lock()
	s.stall = 0
	s.mu.Unlock()
	if err := c.Upload(t.Context(), path, id, length, Watch{}); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(s.held[id], data) {
		t.Error("the second upload did not complete the first")
	}
}

func TestUploadRefused(t *testing.T) {
	const length = 3 << 20
	for _, tt := range []struct {
		name   string
		change func(*server, [32]byte)
		length int64
		want   reason.Reason
	}{
		{"somebody else uploads", func(s *server, _ [32]byte) { s.refuse = reason.Errorf(reason.UploadBusy, "busy") }, length, reason.UploadBusy},
		{"disk full", func(s *server, _ [32]byte) { s.refuse = reason.Errorf(reason.DiskFull, "full") }, length, reason.DiskFull},
		{"the held part is of other bytes", func(s *server, id [32]byte) { s.held[id] = make([]byte, 1000) }, length, reason.HashMismatch},
		{"more is held than there is", func(s *server, id [32]byte) { s.held[id] = make([]byte, length+1) }, length, reason.Malformed},
		{"the file has another length", func(*server, [32]byte) {}, length - 1, reason.ArtifactDiffers},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path, id, _ := firmware(t, length)
			s := newServer(t)
			c := s.login(0)
			tt.change(s, id)
			if err := c.Upload(t.Context(), path, id, tt.length, Watch{}); !reason.Is(err, tt.want) {
				t.Errorf("got %v [%s], want %s", err, reason.Of(err), tt.want)
			}
		})
	}
}

func TestUploadInterrupted(t *testing.T) {
	const length = 8 << 20
	path, id, _ := firmware(t, length)
	s := newServer(t)
	c := s.login(0)
	s.stall = 1 << 20
	ctx, cancel := context.WithCancel(t.Context())
	err := c.Upload(ctx, path, id, length, Watch{Add: func(int64) { cancel() }})
	if !errors.Is(err, context.Canceled) || reason.Of(err) != "" {
		t.Errorf("got %v [%s]", err, reason.Of(err))
	}
}

func TestParseIdentityRefuses(t *testing.T) {
	s := newServer(t)
	k, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	id, _, err := Login(t.Context(), Config{Address: s.addr}, s.token(), k)
	if err != nil {
		t.Fatal(err)
	}
	good, err := id.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	other, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	otherPEM, err := other.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(good, []byte("-----BEGIN CERTIFICATE"))
	for name, data := range map[string][]byte{
		"empty": nil, "no certificate": good[:at], "no key": good[at:], "two keys": append(bytes.Clone(otherPEM), good...),
		"another key": append(bytes.Clone(otherPEM), good[at:]...), "left over": append(bytes.Clone(good), "more"...),
		"too many certificates": append(bytes.Clone(good), bytes.Repeat(good[at:], 4)...),
	} {
		if _, err := ParseIdentity(data); !reason.Is(err, reason.Malformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ParseIdentity(make([]byte, maxIdentity+1)); !reason.Is(err, reason.TooLarge) {
		t.Errorf("too large: %v", err)
	}
}

func FuzzParseIdentity(f *testing.F) {
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIAAA\n-----END PRIVATE KEY-----\n"))
	f.Add([]byte(""))
	f.Fuzz(func(t *testing.T, data []byte) {
		id, err := ParseIdentity(data)
		if err != nil {
			if reason.Of(err) == "" {
				t.Fatalf("no reason: %v", err)
			}
			return
		}
		out, err := id.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseIdentity(out); err != nil {
			t.Fatalf("what was written is not read: %v", err)
		}
	})
}
