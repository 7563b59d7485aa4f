package rpc

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	grpcstatus "google.golang.org/grpc/status"

	"github.com/countersign-ota/countersign/agent/transport/transporttest"
	"github.com/countersign-ota/countersign/agent/trust"
	"github.com/countersign-ota/countersign/proto/chunk"
	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/proto/reason/status"
)

// server answers from memory over TLS.
type server struct {
	pb.UnimplementedRepositoryServer
	pb.UnimplementedDeviceServer
	image []byte
	hang  chan struct{} // closed: calls no longer hang
}

func (s *server) GetMetadata(ctx context.Context, in *pb.GetMetadataRequest) (*pb.GetMetadataResponse, error) {
	switch in.GetRole() {
	case "timestamp":
		if in.GetVersion() != 0 {
			return nil, status.ToStatus(reason.Errorf(reason.NotFound, "no version")).Err()
		}
		return &pb.GetMetadataResponse{Data: []byte(`{"timestamp":1}`)}, nil
	case "empty":
		return &pb.GetMetadataResponse{}, nil
	case "huge":
		return &pb.GetMetadataResponse{Data: make([]byte, in.GetVersion())}, nil
	case "slow":
		select {
		case <-s.hang:
		case <-ctx.Done():
		}
		return nil, ctx.Err()
	case "broken":
		return nil, status.ToStatus(errors.New("a secret of the server")).Err()
	case "full":
		return nil, status.ToStatus(reason.Errorf(reason.DiskFull, "a larger than max trap")).Err()
	}
	return nil, status.ToStatus(reason.Errorf(reason.NotFound, "no role %q", in.GetRole())).Err()
}

func (s *server) Download(in *pb.DownloadRequest, out grpc.ServerStreamingServer[pb.DownloadResponse]) error {
	p, _ := peer.FromContext(out.Context())
	if len(p.AuthInfo.(credentials.TLSInfo).State.PeerCertificates) == 0 {
		return status.ToStatus(reason.Errorf(reason.Permission, "images need a certificate")).Err()
	}
	if sum := sha256.Sum256(s.image); !bytes.Equal(sum[:], in.GetSha256()) {
		return status.ToStatus(reason.Errorf(reason.NotFound, "no such image")).Err()
	}
	if _, err := chunk.Send(out, bytes.NewReader(s.image[in.GetOffset():])); err != nil {
		return err
	}
	if in.GetPath() == "p/1/hang" {
		select {
		case <-s.hang:
		case <-out.Context().Done():
		}
		return out.Context().Err()
	}
	return nil
}

func (s *server) Enroll(_ context.Context, in *pb.EnrollRequest) (*pb.EnrollResponse, error) {
	if in.GetTokenId() != "t1" {
		return nil, status.ToStatus(reason.Errorf(reason.TokenInvalid, "unknown token").WithHint("ask for a new one")).Err()
	}
	return &pb.EnrollResponse{Certificates: [][]byte{{1}, {2}}}, nil
}

type world struct {
	*server
	ca      *transporttest.CA
	address string
	grpc    *grpc.Server
}

func start(t *testing.T) *world {
	t.Helper()
	w := &world{server: &server{image: bytes.Repeat([]byte("firmware"), 100_000), hang: make(chan struct{})}, ca: transporttest.New(t)}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.address = l.Addr().String()
	w.grpc = grpc.NewServer(append(chunk.ServerOptions(), grpc.Creds(credentials.NewTLS(&tls.Config{
		MinVersion: tls.VersionTLS13, ClientAuth: tls.RequestClientCert,
		Certificates: []tls.Certificate{w.ca.Server("127.0.0.1")},
	})))...)
	pb.RegisterRepositoryServer(w.grpc, w)
	pb.RegisterDeviceServer(w.grpc, w)
	go func() { _ = w.grpc.Serve(l) }()
	t.Cleanup(w.grpc.Stop)
	t.Cleanup(func() { close(w.hang) })
	return w
}

func (w *world) client(t *testing.T, change func(*Config)) *Client {
	t.Helper()
	device := w.ca.Device("gw-0001")
	cfg := Config{
		Address: w.address, CA: w.ca.PEM(),
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
		length   int
		want     reason.Reason
		notFound bool
	}{
		{"timestamp", 0, 16 << 10, 15, "", false},
		{"timestamp", 0, 15, 15, "", false},
		{"timestamp", 0, 14, 0, reason.TooLarge, false},
		{"huge", 512 << 10, 512 << 10, 512 << 10, "", false},
		{"huge", 512<<10 + 1, 512 << 10, 0, reason.TooLarge, false},
		{"huge", 3 << 20, 512 << 10, 0, reason.TooLarge, false},
		{"root", 9, 512 << 10, 0, "", true},
		{"empty", 1, 512 << 10, 0, "", true},
		{"full", 1, 512 << 10, 0, reason.DiskFull, false},
	}
	for _, tc := range cases {
		got, err := c.Fetch(t.Context(), tc.role, tc.version, tc.limit)
		if len(got) != tc.length || reason.Of(err) != tc.want || errors.Is(err, trust.ErrNotFound) != tc.notFound {
			t.Errorf("%s version %d limit %d: %d bytes, %v [%s], want %d [%s]", tc.role, tc.version, tc.limit, len(got), err, reason.Of(err), tc.length, tc.want)
		}
		if tc.want == "" && !tc.notFound && err != nil {
			t.Errorf("%s: %v", tc.role, err)
		}
	}
	if _, err := c.Fetch(t.Context(), "broken", 1, 100); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("broken server: %v", err)
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
	if _, err := io.ReadFull(r, make([]byte, len(w.image))); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(10*time.Millisecond, func() { cancel(why) })
	if _, err := r.Read(make([]byte, 1)); !errors.Is(err, why) {
		t.Errorf("cancelled read: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

func TestDownload(t *testing.T) {
	w := start(t)
	c, stranger := w.client(t, nil), w.client(t, func(c *Config) { c.Certificate = nil })
	sum := sha256.Sum256(w.image)
	cases := []struct {
		name   string
		c      *Client
		sum    [32]byte
		offset int64
		want   reason.Reason
	}{
		{"whole", c, sum, 0, ""},
		{"from the middle", c, sum, 300_001, ""},
		{"from the end", c, sum, int64(len(w.image)), ""},
		{"other hash", c, [32]byte{1}, 0, reason.NotFound},
		{"without a certificate", stranger, sum, 0, reason.Permission},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			r, err := tc.c.Download(t.Context(), "p/1/f", tc.sum, tc.offset)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			got, err := io.ReadAll(r)
			if reason.Of(err) != tc.want {
				t.Fatalf("%v [%s], want [%s]", err, reason.Of(err), tc.want)
			}
			if tc.want == "" && !bytes.Equal(got, w.image[tc.offset:]) {
				t.Errorf("%d bytes, want %d", len(got), int64(len(w.image))-tc.offset)
			}
		})
	}
}

func TestEnroll(t *testing.T) {
	w := start(t)
	c := w.client(t, func(c *Config) { c.Certificate = nil })
	out, err := c.Enroll(t.Context(), &pb.EnrollRequest{TokenId: "t1"})
	if err != nil || len(out.GetCertificates()) != 2 {
		t.Errorf("%v, %v", out, err)
	}
	_, err = c.Enroll(t.Context(), &pb.EnrollRequest{TokenId: "t2"})
	if !reason.Is(err, reason.TokenInvalid) || reason.HintOf(err) != "ask for a new one" {
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
	if _, err := c.Fetch(t.Context(), "timestamp", 0, 100); err != nil {
		t.Fatal(err)
	}
	w.grpc.Stop()
	if _, err := c.Fetch(t.Context(), "timestamp", 0, 100); !reason.Is(err, reason.Unreachable) {
		t.Errorf("server gone: %v [%s], want [unreachable]", err, reason.Of(err))
	}
	for _, address := range []string{"", "updates.example", ":8443"} {
		if _, err := New(Config{Address: address, CA: w.ca.PEM()}); !reason.Is(err, reason.Config) {
			t.Errorf("address %q: %v [%s], want [config]", address, err, reason.Of(err))
		}
	}
}

func TestLarger(t *testing.T) {
	if larger(grpcstatus.Error(codes.ResourceExhausted, "quota")) || larger(io.EOF) || larger(nil) {
		t.Error("taken for gRPC's limit")
	}
}
