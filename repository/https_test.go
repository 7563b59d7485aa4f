package repository_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	spb "google.golang.org/genproto/googleapis/rpc/status"
	grpcstatus "google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/enroll"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/proto/reason/status"
	"github.com/countersign-ota/countersign/repository"
)

// answer is what an HTTPS request brought.
type answer struct {
	code   int
	header http.Header
	body   []byte
}

// reason returns the reason in the body of a refusal.
func (a answer) reason(t *testing.T) reason.Reason {
	t.Helper()
	var s spb.Status
	if err := proto.Unmarshal(a.body, &s); err != nil {
		t.Fatalf("%d %q: %v", a.code, a.body, err)
	}
	return reason.Of(status.FromError(grpcstatus.FromProto(&s).Err()))
}

func (b *bed) ask(client *http.Client, method, path string, body []byte, headers ...string) answer {
	b.t.Helper()
	req, err := http.NewRequest(method, b.cfg.URL+path, bytes.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := client.Do(req)
	if err != nil {
		b.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, data}
}

// device enrols a device over HTTPS and returns its certificate.
func (b *bed) device(id string) *tls.Certificate {
	b.t.Helper()
	toks, err := b.operators["rivera"].InviteDevices(ctx, []string{id})
	if err != nil {
		b.t.Fatal(err)
	}
	k, body := enrolment(b.t, toks[0])
	a := b.ask(b.browser(nil), http.MethodPost, pb.Device_Enroll_FullMethodName, body, "Content-Type", "application/x-protobuf")
	if a.code != 200 {
		b.t.Fatalf("enrol %s: %d %q", id, a.code, a.body)
	}
	var resp pb.EnrollResponse
	if err := proto.Unmarshal(a.body, &resp); err != nil {
		b.t.Fatal(err)
	}
	return &tls.Certificate{Certificate: resp.GetCertificates(), PrivateKey: k}
}

func enrolment(t testing.TB, tok *enroll.TokenFile) (*ecdsa.PrivateKey, []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	mac := enroll.MAC(tok.Secret, enroll.Device, tok.Subject, spki)
	body, err := proto.Marshal(&pb.EnrollRequest{Device: tok.Subject, PublicKey: spki, TokenId: tok.ID, Mac: mac[:]})
	if err != nil {
		t.Fatal(err)
	}
	return k, body
}

// The TUF layout over HTTPS: metadata for anybody, images for devices and operators.
func TestLayout(t *testing.T) {
	b := newBed(t)
	b.found(basicPlan)
	v := b.released("2.4.1")
	anybody, device, operator := b.browser(nil), b.browser(b.device("gw-0001")), b.browser(b.certificate("rivera"))

	for path, forever := range map[string]bool{
		"/1.root.json": true, "/1.targets.json": true, "/1.gw-100.json": true, "/2.gw-100.json": true, "/1.gw-100.stop.json": true,
		fmt.Sprintf("/%d.snapshot.json", v["image/snapshot"]): true, fmt.Sprintf("/%d.timestamp.json", v["image/timestamp"]): true,
		"/timestamp.json": false,
	} {
		a := b.ask(anybody, http.MethodGet, path, nil)
		if a.code != 200 || !bytes.HasPrefix(a.body, []byte(`{"signatures":`)) || a.header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d %.40q %v", path, a.code, a.body, a.header)
		}
		if immutable := strings.Contains(a.header.Get("Cache-Control"), "immutable"); immutable != forever {
			t.Errorf("%s: Cache-Control %q", path, a.header.Get("Cache-Control"))
		}
		if !forever && a.header.Get("Cache-Control") != "no-cache" {
			t.Errorf("%s: Cache-Control %q", path, a.header.Get("Cache-Control"))
		}
		sum := sha256.Sum256(a.body)
		if want := `"` + hex.EncodeToString(sum[:]) + `"`; a.header.Get("ETag") != want {
			t.Errorf("%s: ETag %s", path, a.header.Get("ETag"))
		}
		if a.header.Get("X-Request-Id") == "" {
			t.Errorf("%s: no request id", path)
		}
		if again := b.ask(anybody, http.MethodGet, path, nil, "If-None-Match", a.header.Get("ETag")); again.code != 304 || len(again.body) != 0 {
			t.Errorf("%s: %d with its ETag", path, again.code)
		}
		if head := b.ask(anybody, http.MethodHead, path, nil); head.code != 200 || len(head.body) != 0 {
			t.Errorf("%s: HEAD %d, %d bytes", path, head.code, len(head.body))
		}
	}

	image := firmware("2.4.1")
	path := imagePath("2.4.1")
	for name, client := range map[string]*http.Client{"device": device, "operator": operator} {
		a := b.ask(client, http.MethodGet, path, nil)
		if a.code != 200 || !bytes.Equal(a.body, image) || !strings.Contains(a.header.Get("Cache-Control"), "private") {
			t.Errorf("%s: %d, %d bytes, %v", name, a.code, len(a.body), a.header)
		}
		a = b.ask(client, http.MethodGet, path, nil, "Range", "bytes=100000-")
		if a.code != 206 || !bytes.Equal(a.body, image[100_000:]) {
			t.Errorf("%s: range %d, %d bytes", name, a.code, len(a.body))
		}
		a = b.ask(client, http.MethodGet, path, nil, "Range", fmt.Sprintf("bytes=%d-", len(image)))
		if a.code != 416 {
			t.Errorf("%s: range behind the end: %d", name, a.code)
		}
	}
	if a := b.ask(anybody, http.MethodGet, path, nil); a.code != 403 || a.reason(t) != reason.Permission {
		t.Errorf("image without a certificate: %d", a.code)
	}
	sbomSum := sha256.Sum256([]byte(sbom))
	if a := b.ask(device, http.MethodGet, fmt.Sprintf("/targets/gw-100/2.4.1/%x.gw.cdx.json", sbomSum), nil); a.code != 200 || string(a.body) != sbom {
		t.Errorf("evidence: %d", a.code)
	}
}

func TestPathsThatAreNotThere(t *testing.T) {
	b := newBed(t)
	b.found(basicPlan)
	b.released("2.4.1")
	e, s := b.release("2.4.2", basicSpec)
	b.upload(e, s) // there, and not published
	device := b.browser(b.device("gw-0001"))
	for _, path := range []string{
		"/", "/root.json", "/0.root.json", "/2.root.json", "/01.root.json", "/+1.root.json", "/-1.root.json", "/99999999999999999999.root.json",
		"/snapshot.json", "/targets.json", "/1.pump-9.json", "/1.gw-100.bin-0.json", "/1.ROOT.json", "/1.root.json/", "/1.root", "//1.root.json",
		"/targets/", "/targets/gw-100/2.4.1/gw.img", "/targets/gw-100/2.4.1/" + strings.Repeat("0", 64) + ".gw.img",
		imagePath("2.4.2"), strings.ToUpper(imagePath("2.4.1")), strings.Replace(imagePath("2.4.1"), "gw-100", "gw-101", 1),
		strings.Replace(imagePath("2.4.1"), "2.4.1", "2.4.2", 1), "/targets/../server.yaml", "/targets/%2e%2e/x/y.z",
		"/../../etc/passwd", "/countersign.db", "/identity/intermediate.key", "/online/image.key",
	} {
		if a := b.ask(device, http.MethodGet, path, nil); a.code != 404 || len(a.body) == 0 || a.reason(t) != reason.NotFound || a.header.Get("ETag") != "" {
			t.Errorf("GET %s: %d", path, a.code)
		}
	}
	for _, method := range []string{http.MethodPut, http.MethodDelete, http.MethodOptions, "BREW"} {
		if a := b.ask(device, method, "/timestamp.json", nil); a.code != 405 {
			t.Errorf("%s: %d", method, a.code)
		}
	}
	for _, path := range []string{"/timestamp.json", "/countersign.v1.Identity/Login", "/countersign.v1.Release/Publish"} {
		if a := b.ask(device, http.MethodPost, path, nil, "Content-Type", "application/x-protobuf"); a.code != 404 {
			t.Errorf("POST %s: %d", path, a.code)
		}
	}
}

func TestEnrolmentsOverHTTPSThatAreRefused(t *testing.T) {
	b := newBed(t)
	toks, err := b.operators["rivera"].InviteDevices(ctx, []string{"gw-0001"})
	if err != nil {
		t.Fatal(err)
	}
	_, body := enrolment(t, toks[0])
	flipped := bytes.Clone(body)
	flipped[len(flipped)-1] ^= 1
	for _, tt := range []struct {
		name, kind string
		body       []byte
		code       int
		want       reason.Reason
	}{
		{"wrong MAC", "application/x-protobuf", flipped, 401, reason.TokenInvalid},
		{"not protobuf", "application/x-protobuf", []byte("\xff\xff\xff"), 400, reason.Malformed},
		{"empty", "application/x-protobuf", nil, 400, reason.Malformed},
		{"other content type", "application/json", body, 400, reason.Malformed},
		{"too large", "application/x-protobuf", make([]byte, 5000), 413, reason.TooLarge},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := b.ask(b.browser(nil), http.MethodPost, pb.Device_Enroll_FullMethodName, tt.body, "Content-Type", tt.kind)
			if a.code != tt.code || a.reason(t) != tt.want {
				t.Errorf("got %d %s, want %d %s", a.code, a.reason(t), tt.code, tt.want)
			}
		})
	}
	a := b.ask(b.browser(nil), http.MethodPost, pb.Device_Enroll_FullMethodName, body, "Content-Type", "application/x-protobuf")
	if a.code != 200 {
		t.Errorf("the good one: %d %q", a.code, a.body)
	}
}

func TestPublicImages(t *testing.T) {
	b := newBed(t, func(c *repository.Config) { c.PublicImages = true })
	b.found(basicPlan)
	b.released("2.4.1")
	a := b.ask(b.browser(nil), http.MethodGet, imagePath("2.4.1"), nil)
	if a.code != 200 || !bytes.Equal(a.body, firmware("2.4.1")) || !strings.HasPrefix(a.header.Get("Cache-Control"), "public") {
		t.Errorf("%d, %d bytes, %v", a.code, len(a.body), a.header)
	}
}

// TLS 1.2, plain HTTP and plain HTTP/2 get nowhere.
func TestOnlyTLS13(t *testing.T) {
	b := newBed(t)
	for _, address := range []string{b.cfg.GRPC, b.webAddress()} {
		c := b.tlsOf(nil)
		c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
		if conn, err := tls.Dial("tcp", address, c); err == nil {
			conn.Close()
			t.Errorf("%s speaks TLS 1.2", address)
		}
		if resp, err := http.Get("http://" + address + "/timestamp.json"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				t.Errorf("%s speaks plain HTTP", address)
			}
		}
	}
}

// Readers see the old set or the new one while releases are published.
func TestReadersNeverSeeHalf(t *testing.T) {
	b := newBed(t)
	b.found(basicPlan)
	b.released("0")
	device := b.browser(b.device("gw-0001"))
	stop := make(chan struct{})
	done := make(chan int)
	go func() {
		reads := 0
		defer func() { done <- reads }()
		for {
			select {
			case <-stop:
				return
			default:
				b.consistent(device)
				reads++
			}
		}
	}()
	for i := 1; i <= 5; i++ {
		b.released(fmt.Sprint(i))
	}
	close(stop)
	if n := <-done; n == 0 {
		t.Error("nothing was read meanwhile")
	}
	b.checked()
}

// consistent reads one whole set and fails the test unless it is there and hangs together.
func (b *bed) consistent(client *http.Client) {
	b.t.Helper()
	if !b.tryConsistent(client) {
		b.t.Error("the server does not answer")
	}
}

// tryConsistent reads one whole set and fails the test unless it hangs together. It returns false when
// the server stopped answering meanwhile.
func (b *bed) tryConsistent(client *http.Client) bool {
	t := b.t
	gone := false
	read := func(method, path string) []byte {
		req, err := http.NewRequest(method, b.cfg.URL+path, nil)
		if err != nil {
			t.Error(err)
			return nil
		}
		resp, err := client.Do(req)
		if err != nil {
			gone = true
			return nil
		}
		defer resp.Body.Close()
		data, err := io.ReadAll(resp.Body)
		if err != nil {
			gone = true
			return nil
		}
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s %s: %d", method, path, resp.StatusCode)
		}
		return data
	}
	named := func(name string, version int64, hash []byte) []byte {
		data := read(http.MethodGet, fmt.Sprintf("/%d.%s", version, name))
		if sum := sha256.Sum256(data); !gone && !bytes.Equal(sum[:], hash) {
			t.Errorf("%s %d is not the one that is named", name, version)
		}
		return data
	}
	data := read(http.MethodGet, "/timestamp.json")
	if gone {
		return false
	}
	ts, err := metadata.ParseTimestamp(data, metadata.Profile)
	if err != nil {
		t.Error(err)
		return true
	}
	m := ts.Signed.Meta["snapshot.json"]
	data = named("snapshot.json", m.Version, m.Hashes["sha256"])
	if gone {
		return false
	}
	sn, err := metadata.ParseSnapshot(data, metadata.Profile)
	if err != nil {
		t.Error(err)
		return true
	}
	for name, m := range sn.Signed.Meta {
		data := named(name, m.Version, m.Hashes["sha256"])
		if gone {
			return false
		}
		f, err := metadata.ParseTargets(data, metadata.Profile)
		if err != nil {
			t.Error(err)
			continue
		}
		for path, target := range f.Signed.Targets {
			i := strings.LastIndexByte(path, '/') + 1
			read(http.MethodHead, fmt.Sprintf("/targets/%s%x.%s", path[:i], []byte(target.Hashes["sha256"]), path[i:]))
		}
	}
	return !gone
}
