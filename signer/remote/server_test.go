package remote

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	"github.com/countersign-ota/countersign/proto/chunk"
	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/enroll"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/proto/reason/status"
)

// ca is an identity CA: a root and an intermediate, as a server has them.
type ca struct {
	root, inter *x509.Certificate
	key         crypto.Signer
}

func newCA(t testing.TB) *ca {
	t.Helper()
	rootPub, rootKey, _ := ed25519.GenerateKey(rand.Reader)
	pub, key, _ := ed25519.GenerateKey(rand.Reader)
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "acme identity root"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(1000 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	inter := *root
	inter.SerialNumber, inter.Subject = big.NewInt(2), pkix.Name{CommonName: "acme identity"}
	c := &ca{root: sign(t, root, root, rootPub, rootKey), key: key}
	c.inter = sign(t, &inter, c.root, pub, rootKey)
	return c
}

func sign(t testing.TB, tmpl, parent *x509.Certificate, pub crypto.PublicKey, key crypto.Signer) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, pub, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// issue returns a leaf with the intermediate above it.
func (c *ca) issue(t testing.TB, pub crypto.PublicKey, uri, dns string, life time.Duration) [][]byte {
	t.Helper()
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(life),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	if uri != "" {
		u, err := url.Parse(uri)
		if err != nil {
			t.Fatal(err)
		}
		tmpl.URIs = []*url.URL{u}
	}
	if dns != "" {
		tmpl.DNSNames = []string{dns}
	}
	return [][]byte{sign(t, tmpl, c.inter, pub, c.key).Raw, c.inter.Raw}
}

// server is a small server of all that the tool calls, over real TLS on a real socket.
type server struct {
	pb.UnimplementedReleaseServer
	pb.UnimplementedIdentityServer
	pb.UnimplementedRepositoryServer
	t    testing.TB
	ca   *ca
	addr string
	stop func()

	secret []byte
	uri    func(string) string // of the certificates it gives
	say    answers

	mu     sync.Mutex
	held   map[[32]byte][]byte
	stall  int   // bytes after which an upload is not read any more; 0: never
	refuse error // what uploads are refused with
}

func newServer(t testing.TB) *server {
	t.Helper()
	l, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	s := &server{
		t: t, ca: newCA(t), addr: "localhost:" + port, secret: make([]byte, enroll.SecretSize),
		held: map[[32]byte][]byte{},
		uri:  func(id string) string { return "spiffe://acme/operator/" + id },
	}
	pub, key, _ := ed25519.GenerateKey(rand.Reader)
	cert := tls.Certificate{Certificate: s.ca.issue(t, pub, "", "localhost", time.Hour), PrivateKey: key}
	config := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13, ClientAuth: tls.RequestClientCert}
	options := append(chunk.ServerOptions(), grpc.Creds(credentials.NewTLS(config)),
		grpc.ChainUnaryInterceptor(func(ctx context.Context, in any, _ *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
			out, err := h(ctx, in)
			return out, status.ToStatus(err).Err()
		}),
		grpc.ChainStreamInterceptor(func(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, h grpc.StreamHandler) error {
			return status.ToStatus(h(srv, ss)).Err()
		}))
	g := grpc.NewServer(options...)
	pb.RegisterReleaseServer(g, s)
	pb.RegisterIdentityServer(g, s)
	pb.RegisterRepositoryServer(g, s)
	go func() { _ = g.Serve(l) }()
	s.stop = g.Stop
	t.Cleanup(g.Stop)
	return s
}

func (s *server) token() *enroll.TokenFile {
	return &enroll.TokenFile{
		Deployment: "acme", Kind: enroll.Operator, Subject: "rivera", ID: "0123456789abcdef", Secret: s.secret,
		Expires: time.Now().Add(time.Hour).Truncate(time.Second), Server: s.addr, HTTPS: "https://localhost", CA: s.ca.root,
	}
}

// login returns a client that shows rivera's certificate.
func (s *server) login(timeout time.Duration) *Client {
	s.t.Helper()
	k, err := NewKey()
	if err != nil {
		s.t.Fatal(err)
	}
	id, _, err := Login(s.t.Context(), Config{Address: s.addr}, s.token(), k)
	if err != nil {
		s.t.Fatal(err)
	}
	c, err := Dial(Config{Address: s.addr, CA: s.ca.root, Identity: id, Timeout: timeout})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = c.Close() })
	return c
}

func caller(ctx context.Context) string {
	p, _ := peer.FromContext(ctx)
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.PeerCertificates) == 0 || len(info.State.PeerCertificates[0].URIs) == 0 {
		return ""
	}
	return info.State.PeerCertificates[0].URIs[0].String()
}

func (s *server) Login(_ context.Context, in *pb.LoginRequest) (*pb.LoginResponse, error) {
	if !enroll.VerifyMAC(s.secret, enroll.Operator, in.GetOperator(), in.GetPublicKey(), in.GetMac()) {
		return nil, reason.Errorf(reason.TokenInvalid, "the token proves nothing")
	}
	pub, err := x509.ParsePKIXPublicKey(in.GetPublicKey())
	if err != nil {
		return nil, err
	}
	return &pb.LoginResponse{Certificates: s.ca.issue(s.t, pub, s.uri(in.GetOperator()), "", time.Hour), Roles: []string{"release"}}, nil
}

func (s *server) Renew(ctx context.Context, in *pb.RenewRequest) (*pb.RenewResponse, error) {
	pub, err := x509.ParsePKIXPublicKey(in.GetPublicKey())
	if err != nil {
		return nil, err
	}
	return &pb.RenewResponse{Certificates: s.ca.issue(s.t, pub, caller(ctx), "", time.Hour)}, nil
}

func (s *server) WhoAmI(ctx context.Context, _ *pb.WhoAmIRequest) (*pb.WhoAmIResponse, error) {
	who := caller(ctx)
	if who == "" {
		return nil, reason.Errorf(reason.Permission, "who are you?").WithHint("countersign login")
	}
	return &pb.WhoAmIResponse{Operator: who}, nil
}

func (s *server) UploadStatus(_ context.Context, in *pb.UploadStatusRequest) (*pb.UploadStatusResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := [32]byte(in.GetSha256())
	data := s.held[id]
	return &pb.UploadStatusResponse{Offset: int64(len(data)), Complete: sha256.Sum256(data) == id}, nil
}

func (s *server) Upload(stream grpc.ClientStreamingServer[pb.UploadRequest, pb.UploadResponse]) error {
	var first chunk.Part
	if err := stream.RecvMsg(&first); err != nil || first.Header == nil {
		return reason.Errorf(reason.Malformed, "no header: %v", err)
	}
	s.mu.Lock()
	stall, refuse := s.stall, s.refuse
	s.mu.Unlock()
	if refuse != nil {
		return refuse
	}
	id := [32]byte(first.Header.GetSha256())
	for {
		var p chunk.Part
		err := stream.RecvMsg(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		s.mu.Lock()
		s.held[id] = append(s.held[id], p.Data.Materialize()...)
		n := len(s.held[id])
		s.mu.Unlock()
		p.Free()
		if stall > 0 && n >= stall {
			<-stream.Context().Done()
			return stream.Context().Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if sha256.Sum256(s.held[id]) != id {
		delete(s.held, id)
		return reason.Errorf(reason.HashMismatch, "the bytes have another hash")
	}
	return stream.SendAndClose(&pb.UploadResponse{Offset: int64(len(s.held[id]))})
}
