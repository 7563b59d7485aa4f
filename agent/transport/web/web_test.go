package web

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/countersign-ota/countersign/agent/transport/transporttest"
	"github.com/countersign-ota/countersign/agent/trust"
	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/proto/reason/status"
)

type world struct {
	ca    *transporttest.CA
	image []byte
	url   string
	http  *httptest.Server
	seen  []string // requests
}

func refuse(w http.ResponseWriter, code int, err error) {
	data, _ := proto.Marshal(status.ToStatus(err).Proto())
	w.Header().Set("Content-Type", protobufType)
	w.WriteHeader(code)
	_, _ = w.Write(data)
}

func start(t *testing.T) *world {
	t.Helper()
	w := &world{ca: transporttest.New(t), image: bytes.Repeat([]byte("firmware"), 100_000)}
	sum := sha256.Sum256(w.image)
	target := func(name string) string { return fmt.Sprintf("/base/targets/p/1/%x.%s", sum, name) }
	mux := http.NewServeMux()
	mux.HandleFunc("/base/timestamp.json", func(out http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(out, `{"timestamp":1}`) })
	mux.HandleFunc("/base/7.gw-100.stop.json", func(out http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(out, `{"stop":7}`) })
	mux.HandleFunc("/base/1.huge.json", func(out http.ResponseWriter, _ *http.Request) {
		out.(http.Flusher).Flush() // no Content-Length
		_, _ = out.Write(make([]byte, 1<<20))
	})
	mux.HandleFunc("/base/1.gone.json", func(out http.ResponseWriter, _ *http.Request) {
		refuse(out, 404, reason.Errorf(reason.NotFound, "no such version"))
	})
	mux.HandleFunc("/base/1.busy.json", func(out http.ResponseWriter, _ *http.Request) {
		refuse(out, 503, reason.Errorf(reason.Busy, "stopping").WithHint("later"))
	})
	mux.HandleFunc("/base/1.proxy.json", func(out http.ResponseWriter, _ *http.Request) { http.Error(out, "bad gateway", http.StatusBadGateway) })
	mux.HandleFunc("/base/1.denied.json", func(out http.ResponseWriter, _ *http.Request) { http.Error(out, "no", http.StatusForbidden) })
	mux.HandleFunc("/base/1.zipped.json", func(out http.ResponseWriter, _ *http.Request) {
		out.Header().Set("Content-Encoding", "gzip")
		_, _ = io.WriteString(out, "x")
	})
	mux.HandleFunc("/base/1.headers.json", func(out http.ResponseWriter, _ *http.Request) {
		for i := range 100 {
			out.Header().Set(fmt.Sprintf("X-%d", i), strings.Repeat("x", 1000))
		}
	})
	mux.HandleFunc("/base/1.slow.json", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	mux.HandleFunc("/base/1.cut.json", func(out http.ResponseWriter, _ *http.Request) {
		out.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(out, "x")
	})
	mux.HandleFunc("/base/1.moved.json", func(out http.ResponseWriter, r *http.Request) {
		http.Redirect(out, r, "/base/timestamp.json", http.StatusFound)
	})
	mux.HandleFunc("/base/1.away.json", func(out http.ResponseWriter, r *http.Request) {
		http.Redirect(out, r, "https://localhost:1/base/timestamp.json", http.StatusFound)
	})
	mux.HandleFunc("/base/1.plain.json", func(out http.ResponseWriter, r *http.Request) {
		http.Redirect(out, r, "http://"+r.Host+"/base/timestamp.json", http.StatusFound)
	})
	mux.HandleFunc("/base/1.loop.json", func(out http.ResponseWriter, r *http.Request) {
		http.Redirect(out, r, r.URL.Path, http.StatusFound)
	})
	mux.HandleFunc(target("f"), func(out http.ResponseWriter, r *http.Request) {
		if len(r.TLS.PeerCertificates) == 0 {
			refuse(out, 403, reason.Errorf(reason.Permission, "images need a certificate"))
			return
		}
		http.ServeContent(out, r, "", time.Time{}, bytes.NewReader(w.image))
	})
	mux.HandleFunc(target("norange"), func(out http.ResponseWriter, _ *http.Request) { _, _ = out.Write(w.image) })
	mux.HandleFunc(target("otherrange"), func(out http.ResponseWriter, _ *http.Request) {
		out.Header().Set("Content-Range", fmt.Sprintf("bytes 0-%d/%d", len(w.image)-1, len(w.image)))
		out.WriteHeader(http.StatusPartialContent)
		_, _ = out.Write(w.image)
	})
	mux.HandleFunc(target("cut"), func(out http.ResponseWriter, _ *http.Request) {
		out.Header().Set("Content-Length", fmt.Sprint(len(w.image)))
		_, _ = out.Write(w.image[:1000])
	})
	mux.HandleFunc(target("hang"), func(out http.ResponseWriter, r *http.Request) {
		_, _ = out.Write(w.image[:1000])
		out.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	mux.HandleFunc("POST /base"+pb.Device_Enroll_FullMethodName, func(out http.ResponseWriter, r *http.Request) {
		data, _ := io.ReadAll(r.Body)
		var in pb.EnrollRequest
		if r.Header.Get("Content-Type") != protobufType || proto.Unmarshal(data, &in) != nil || in.GetTokenId() != "t1" {
			refuse(out, 401, reason.Errorf(reason.TokenInvalid, "unknown token"))
			return
		}
		data, _ = proto.Marshal(&pb.EnrollResponse{Certificates: [][]byte{{1}, {2}}})
		_, _ = out.Write(data)
	})
	w.http = httptest.NewUnstartedServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		w.seen = append(w.seen, r.Method+" "+r.URL.Path)
		mux.ServeHTTP(out, r)
	}))
	w.http.TLS = &tls.Config{MinVersion: tls.VersionTLS13, ClientAuth: tls.RequestClientCert, Certificates: []tls.Certificate{w.ca.Server("127.0.0.1")}}
	w.http.StartTLS()
	t.Cleanup(w.http.Close)
	w.url = w.http.URL + "/base/"
	return w
}

func (w *world) client(t *testing.T, change func(*Config)) *Client {
	t.Helper()
	device := w.ca.Device("gw-0001")
	cfg := Config{
		URL: w.url, CA: w.ca.PEM(), UserAgent: "countersign-agent/test",
		Certificate: func() (*tls.Certificate, error) { return &device, nil },
	}
	if change != nil {
		change(&cfg)
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestFetch(t *testing.T) {
	w := start(t)
	c := w.client(t, nil)
	cases := []struct {
		role     string
		version  int64
		limit    int64
		want     string
		reason   reason.Reason
		notFound bool
	}{
		{"timestamp", 0, 100, `{"timestamp":1}`, "", false},
		{"timestamp", 0, 15, `{"timestamp":1}`, "", false},
		{"timestamp", 0, 14, "", reason.TooLarge, false},
		{"gw-100.stop", 7, 100, `{"stop":7}`, "", false},
		{"gw-100.stop", 8, 100, "", "", true},
		{"gone", 1, 100, "", "", true},
		{"huge", 1, 1000, "", reason.TooLarge, false},
		{"busy", 1, 100, "", reason.Busy, false},
		{"proxy", 1, 100, "", reason.Unreachable, false},
		{"denied", 1, 100, "", reason.Permission, false},
		{"zipped", 1, 100, "", reason.Malformed, false},
		{"headers", 1, 100, "", reason.Unreachable, false},
		{"cut", 1, 100, "", reason.Unreachable, false},
		{"moved", 1, 100, `{"timestamp":1}`, "", false},
		{"away", 1, 100, "", reason.Unreachable, false},
		{"plain", 1, 100, "", reason.Unreachable, false},
		{"loop", 1, 100, "", reason.Unreachable, false},
	}
	for _, tc := range cases {
		t.Run(fmt.Sprintf("%s %d limit %d", tc.role, tc.version, tc.limit), func(t *testing.T) {
			got, err := c.Fetch(t.Context(), tc.role, tc.version, tc.limit)
			if string(got) != tc.want || reason.Of(err) != tc.reason || errors.Is(err, trust.ErrNotFound) != tc.notFound {
				t.Errorf("%q, %v [%s], want %q [%s]", got, err, reason.Of(err), tc.want, tc.reason)
			}
		})
	}
	if n := strings.Count(strings.Join(w.seen, "\n"), "1.loop"); n > 1+maxRedirects {
		t.Errorf("%d requests in a loop of redirects", n)
	}
}

func TestDownload(t *testing.T) {
	w := start(t)
	c, stranger := w.client(t, nil), w.client(t, func(c *Config) { c.Certificate = nil })
	sum := sha256.Sum256(w.image)
	cases := []struct {
		name   string
		c      *Client
		path   string
		sum    [32]byte
		offset int64
		want   reason.Reason
	}{
		{"whole", c, "p/1/f", sum, 0, ""},
		{"from the middle", c, "p/1/f", sum, 300_001, ""},
		{"beyond the end", c, "p/1/f", sum, 1 << 40, reason.LengthMismatch},
		{"no ranges", c, "p/1/norange", sum, 300_001, ""},
		{"no ranges, beyond the end", c, "p/1/norange", sum, 1 << 40, reason.Unreachable},
		{"another range", c, "p/1/otherrange", sum, 300_001, reason.Malformed},
		{"cut", c, "p/1/cut", sum, 0, reason.Unreachable},
		{"other hash", c, "p/1/f", [32]byte{1}, 0, reason.NotFound},
		{"not a path", c, "../1/f", sum, 0, reason.Malformed},
		{"without a certificate", stranger, "p/1/f", sum, 0, reason.Permission},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			var got []byte
			r, err := tc.c.Download(t.Context(), tc.path, tc.sum, tc.offset)
			if err == nil {
				got, err = io.ReadAll(r)
				_ = r.Close()
			}
			if reason.Of(err) != tc.want {
				t.Fatalf("%v [%s], want [%s]", err, reason.Of(err), tc.want)
			}
			if tc.want == "" && !bytes.Equal(got, w.image[tc.offset:]) {
				t.Errorf("%d bytes, want %d", len(got), int64(len(w.image))-tc.offset)
			}
		})
	}
}

func TestTimeoutsAndCancellation(t *testing.T) {
	w := start(t)
	quick := w.client(t, func(c *Config) { c.Timeout = 50 * time.Millisecond })
	if _, err := quick.Fetch(t.Context(), "slow", 1, 100); !reason.Is(err, reason.Unreachable) {
		t.Errorf("slow: %v [%s], want [unreachable]", err, reason.Of(err))
	}
	c := w.client(t, nil)
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	r, err := c.Download(ctx, "p/1/hang", sha256.Sum256(w.image), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := io.ReadFull(r, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(10*time.Millisecond, func() { cancel(why) })
	if _, err := r.Read(make([]byte, 1)); !errors.Is(err, why) {
		t.Errorf("cancelled read: %v", err)
	}
}

func TestEnroll(t *testing.T) {
	w := start(t)
	c := w.client(t, func(c *Config) { c.Certificate = nil })
	out, err := c.Enroll(t.Context(), &pb.EnrollRequest{TokenId: "t1"})
	if err != nil || len(out.GetCertificates()) != 2 {
		t.Errorf("%v, %v", out, err)
	}
	if _, err = c.Enroll(t.Context(), &pb.EnrollRequest{TokenId: "t2"}); !reason.Is(err, reason.TokenInvalid) {
		t.Errorf("%v [%s]", err, reason.Of(err))
	}
}

func TestUnreachableAndUnproven(t *testing.T) {
	w := start(t)
	other := transporttest.New(t)
	stranger := w.client(t, func(c *Config) { c.CA = other.PEM() })
	if _, err := stranger.Fetch(t.Context(), "timestamp", 0, 100); !reason.Is(err, reason.ServerUnproven) {
		t.Errorf("another CA: %v [%s], want [server-unproven]", err, reason.Of(err))
	}
	c := w.client(t, nil)
	w.http.Close()
	if _, err := c.Fetch(t.Context(), "timestamp", 0, 100); !reason.Is(err, reason.Unreachable) {
		t.Errorf("server gone: %v [%s], want [unreachable]", err, reason.Of(err))
	}
	for _, address := range []string{"", "http://updates.example", "https://", "https://u@updates.example", "https://updates.example/?q", "updates.example:8443"} {
		if _, err := New(Config{URL: address, CA: w.ca.PEM()}); !reason.Is(err, reason.Config) {
			t.Errorf("address %q: %v [%s], want [config]", address, err, reason.Of(err))
		}
	}
}
