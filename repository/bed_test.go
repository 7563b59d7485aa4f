package repository_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/enroll"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/proto/statement"
	"github.com/countersign-ota/countersign/repository"
	"github.com/countersign-ota/countersign/signer/event"
	"github.com/countersign-ota/countersign/signer/key"
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
	b := &bed{
		t: t, dir: filepath.Join(t.TempDir(), "server"), files: t.TempDir(), clock: &clock{}, log: &lockedBuffer{},
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
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// child is the environment variable that makes this test binary a server: the value names its
// configuration.
const child = "COUNTERSIGN_TEST_SERVER"

// initChild makes this test binary make a server's directory, which the value names.
const initChild = "COUNTERSIGN_TEST_INIT"

func TestMain(m *testing.M) {
	if config := os.Getenv(child); config != "" {
		if err := serveChild(config); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if dir := os.Getenv(initChild); dir != "" {
		_, err := repository.Init(context.Background(), repository.InitOptions{
			Deployment: "acme", URL: "https://updates.example", Dir: dir, Operator: "rivera", Passphrase: []byte("secret"),
		})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func serveChild(config string) error {
	cfg, err := repository.LoadConfig(config)
	if err != nil {
		return err
	}
	cfg.Log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	s, err := repository.Open(ctx, *cfg)
	if err != nil {
		return err
	}
	return errors.Join(s.Serve(ctx), s.Close())
}

// startProcess starts the server as a process of its own, with more environment, and returns it. It
// is waited for by whoever kills it; stop ends it in good order.
func (b *bed) startProcess(env ...string) *exec.Cmd {
	b.t.Helper()
	self, err := os.Executable()
	if err != nil {
		b.t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(append(os.Environ(), "GOGC=300", child+"="+filepath.Join(b.dir, repository.ConfigFile)), env...)
	cmd.Stderr = b.log
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	b.end = func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			b.t.Errorf("server: %v", err)
		}
	}
	waitFor(b.t, b.cfg.GRPC)
	waitFor(b.t, b.webAddress())
	return cmd
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

// keysOf makes each person's signing keys once for all tests.
var keysOf = func() func(t testing.TB, id string) *key.Private {
	var mu sync.Mutex
	made := map[string]*key.Private{}
	return func(t testing.TB, id string) *key.Private {
		t.Helper()
		mu.Lock()
		defer mu.Unlock()
		if made[id] == nil {
			person, _, _ := strings.Cut(id, "@")
			kind := key.Ed25519
			if person == "okafor" {
				kind = key.P256
			}
			k, err := key.Generate(kind, key.Public{Person: person, Name: strings.ToUpper(person[:1]) + person[1:]}, true)
			if err != nil {
				t.Fatal(err)
			}
			made[id] = k
		}
		return made[id]
	}
}()

const basicPlan = `deployment: acme
online: online.pub
people: {rivera: rivera.pub, chen: chen.pub, okafor: okafor.pub}
meaning: {holder: approved, engineering: authored, quality: approved, stop: stopped}
roots: {require: {holder: 2}, people: {holder: [rivera, chen, okafor]}}
products:
  gw-100: {require: {engineering: 1, quality: 1}, people: {engineering: [rivera], quality: [chen, okafor]}}
`

// write makes a file of people's.
func (b *bed) write(name string, content []byte) string {
	b.t.Helper()
	path := filepath.Join(b.files, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		b.t.Fatal(err)
	}
	return path
}

// plan parses a plan; NAME.pub may name person@n for another key of theirs.
func (b *bed) plan(text string) *event.Plan {
	b.t.Helper()
	p, err := event.ParsePlan("plan.yaml", []byte(text), func(file string) ([]byte, error) {
		if file == "online.pub" {
			return os.ReadFile(filepath.Join(b.dir, repository.OnlineFile))
		}
		return keysOf(b.t, strings.TrimSuffix(file, ".pub")).Public.Bytes()
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return p
}

// opening is what a tool opens an event with.
func (b *bed) opening() event.Opening {
	return event.Opening{Now: b.clock.now().Truncate(time.Second), Memory: usedOf{b}}
}

// usedOf is the memory of a tool that asks the server what is used up.
type usedOf struct{ b *bed }

func (usedOf) Seen(metadata.Repository, string) (int64, [32]byte) { return 0, [32]byte{} }
func (usedOf) Signed(metadata.Repository, string, int64) ([32]byte, bool) {
	return [32]byte{}, false
}

func (u usedOf) Used(r metadata.Repository, role string) (version, counter int64) {
	p, err := u.b.operators["rivera"].Published(context.Background(), r, role, 0)
	if err != nil {
		u.b.t.Fatal(err)
	}
	return p.Version, p.Counter
}

// served is the event.Source of a tool: what the server answers.
type served struct{ b *bed }

func (s served) Current(r metadata.Repository, role string) ([]byte, error) {
	p, err := s.b.operators["rivera"].Published(context.Background(), r, role, 0)
	return p.File, err
}

func (s served) Root(r metadata.Repository, version int64) ([]byte, error) {
	p, err := s.b.operators["rivera"].Published(context.Background(), r, metadata.Root, version)
	return p.File, err
}

// state is what is in force, verified from root 1 on.
func (b *bed) state() *event.State {
	b.t.Helper()
	s, err := event.StateFrom(served{b}, "acme", event.Pins{})
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

// open gives an event to the server and returns its id.
func (b *bed) open(by string, e *event.Event) string {
	b.t.Helper()
	if _, err := b.operator(by).OpenEvent(context.Background(), e); err != nil {
		b.t.Fatalf("open: %v [%s]", err, reason.Of(err))
	}
	return e.ID()
}

// signed returns what a person signs of an event that the server holds.
func (b *bed) signed(id, person string) ([]event.Signature, []statement.Envelope) {
	b.t.Helper()
	e, _, err := b.operators["rivera"].Event(context.Background(), id)
	if err != nil {
		b.t.Fatal(err)
	}
	s, err := event.StateFromBase(e, event.Pins{})
	if err != nil {
		b.t.Fatalf("base of %s: %v", id, err)
	}
	j, err := event.Judge(e, s, event.Options{Now: b.clock.now()})
	if err != nil {
		b.t.Fatalf("%s judges: %v [%s]", person, err, reason.Of(err))
	}
	signers, err := keysOf(b.t, person).Signers()
	if err != nil {
		b.t.Fatal(err)
	}
	sigs, approval, err := event.Sign(j, signers, event.SignOptions{Reason: "record 8812", Now: b.clock.now()})
	if err != nil {
		b.t.Fatalf("%s signs: %v [%s]", person, err, reason.Of(err))
	}
	return sigs, []statement.Envelope{*approval}
}

// sign has people sign an event and fails unless all of it counts.
func (b *bed) sign(id string, people ...string) {
	b.t.Helper()
	for _, person := range people {
		sigs, approvals := b.signed(id, person)
		outcomes, err := b.operators["rivera"].AddSignatures(context.Background(), id, sigs, approvals)
		if err != nil {
			b.t.Fatalf("signature of %s: %v [%s]", person, err, reason.Of(err))
		}
		for _, o := range outcomes {
			if !o.GetTaken() {
				b.t.Fatalf("signature of %s: %s [%s]", person, o.GetMessage(), o.GetReason())
			}
		}
	}
}

// publish publishes an event and returns the versions that are public now, by repository and role.
func (b *bed) publish(id string) map[string]int64 {
	b.t.Helper()
	roles, err := b.operators["rivera"].Publish(context.Background(), id)
	if err != nil {
		b.t.Fatalf("publish: %v [%s]", err, reason.Of(err))
	}
	return versions(roles)
}

func versions(roles []*pb.PublishedRole) map[string]int64 {
	v := map[string]int64{}
	for _, r := range roles {
		v[r.GetRepository()+"/"+r.GetRole()] = r.GetVersion()
	}
	return v
}

// found founds the deployment of a plan.
func (b *bed) found(plan string) map[string]int64 {
	b.t.Helper()
	e, err := event.NewInit(b.plan(plan), b.opening())
	if err != nil {
		b.t.Fatal(err)
	}
	id := b.open("rivera", e)
	b.sign(id, "rivera", "chen", "okafor")
	return b.publish(id)
}

const basicSpec = `spread_hours: 24
class: security
evidence: {sbom: gw.cdx.json}
targets:
- {file: build/gw.img, component: main, hardware: [gw-100-c], installer: slot, installer_args: {}}
`

const sbom = `{"bomFormat":"CycloneDX","specVersion":"1.6","version":1,"components":[]}`

// firmware is the image of a release.
func firmware(version string) []byte {
	return bytes.Repeat([]byte("firmware "+version+"\n"), 20_000)
}

// release returns a release event of gw-100 and its spec.
func (b *bed) release(version, spec string) (*event.Event, *event.Spec) {
	b.t.Helper()
	b.write("build/gw.img", firmware(version))
	b.write("gw.cdx.json", []byte(sbom))
	s, err := event.LoadSpec(b.write("release.yaml", []byte(spec)))
	if err != nil {
		b.t.Fatal(err)
	}
	e, err := event.NewRelease("gw-100", version, s, b.state(), b.opening())
	if err != nil {
		b.t.Fatalf("release %s: %v [%s]", version, err, reason.Of(err))
	}
	return e, s
}

// upload sends the files of a release.
func (b *bed) upload(e *event.Event, s *event.Spec) {
	b.t.Helper()
	for _, a := range s.Artifacts(e) {
		sum, err := hex.DecodeString(a.Blob.SHA256)
		if err != nil {
			b.t.Fatal(err)
		}
		if err := b.operators["rivera"].Upload(context.Background(), a.File, [32]byte(sum), a.Blob.Length, remote.Watch{}); err != nil {
			b.t.Fatalf("upload of %s: %v [%s]", a.File, err, reason.Of(err))
		}
	}
}

// released publishes a release of gw-100.
func (b *bed) released(version string) map[string]int64 {
	b.t.Helper()
	e, s := b.release(version, basicSpec)
	b.upload(e, s)
	id := b.open("rivera", e)
	b.sign(id, "rivera", "chen")
	return b.publish(id)
}

// checked stops the server and fails if anything that it stored is not sound.
func (b *bed) checked() *repository.Report {
	b.t.Helper()
	if b.end != nil {
		b.stop()
	}
	r, err := repository.Check(context.Background(), b.dir, b.clock.now())
	if err != nil {
		b.t.Fatalf("check: %v [%s]", err, reason.Of(err))
	}
	for _, p := range r.Problems {
		b.t.Errorf("check: %s: %v [%s]", p.Where, p.Err, reason.Of(p.Err))
	}
	return r
}

func imagePath(version string) string {
	sum := sha256.Sum256(firmware(version))
	return fmt.Sprintf("/targets/gw-100/%s/%x.gw.img", version, sum)
}

func wantReason(t testing.TB, err error, want reason.Reason) {
	t.Helper()
	if got := reason.Of(err); got != want {
		t.Errorf("reason %q, want %q: %v", got, want, err)
	}
}

func hexOf(d [32]byte) string { return hex.EncodeToString(d[:]) }
