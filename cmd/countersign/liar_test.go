package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/countersign-ota/countersign/cmd/countersign/internal/home"
	"github.com/countersign-ota/countersign/cmd/internal/cli"
	"github.com/countersign-ota/countersign/proto/chunk"
	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/proto/reason/status"
	"github.com/countersign-ota/countersign/signer/event"
	"github.com/countersign-ota/countersign/signer/remote"
)

// liar is a thief of a server's TLS identity who answers people's tools in its place: with what the true
// server says, or with a lie.
type liar struct {
	pb.UnimplementedReleaseServer
	pb.UnimplementedIdentityServer
	pb.UnimplementedRepositoryServer
	truth *remote.Client

	// event, if not nil, is given for every event that is asked for.
	event *event.Event
	// published, if not nil, changes what is said of a role.
	published func(role string, version int64, p *remote.Published)
	// taken counts what people gave away: signatures and events.
	taken atomic.Int32
}

// newLiar answers at an address of its own. operator is the home of somebody whom the true server knows.
func newLiar(t *testing.T, server, operator string) (l *liar, address string) {
	t.Helper()
	h := homeOf(t, operator)
	id, err := h.Place("acme").Identity()
	if err != nil {
		t.Fatal(err)
	}
	ca, err := h.Place("acme").CA()
	if err != nil {
		t.Fatal(err)
	}
	l = &liar{}
	if l.truth, err = remote.Dial(remote.Config{Address: h.Settings("acme").Server, CA: ca, Identity: id, Agent: "liar"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.truth.Close() })
	listener, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{stolen(t, server)}, MinVersion: tls.VersionTLS13, ClientAuth: tls.RequestClientCert}
	g := grpc.NewServer(append(chunk.ServerOptions(), grpc.Creds(credentials.NewTLS(config)),
		grpc.ChainUnaryInterceptor(func(ctx context.Context, in any, _ *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
			out, err := h(ctx, in)
			return out, status.ToStatus(err).Err()
		}))...)
	pb.RegisterReleaseServer(g, l)
	pb.RegisterIdentityServer(g, l)
	pb.RegisterRepositoryServer(g, l)
	go func() { _ = g.Serve(listener) }()
	t.Cleanup(g.Stop)
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	return l, "localhost:" + port
}

// stolen issues a certificate for localhost with the key that lies on the server.
func stolen(t *testing.T, server string) tls.Certificate {
	t.Helper()
	read := func(name string) []byte {
		data, err := os.ReadFile(filepath.Join(server, "identity", name))
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(data)
		if block == nil {
			t.Fatalf("%s is no PEM", name)
		}
		return block.Bytes
	}
	inter, err := x509.ParseCertificate(read("intermediate.pem"))
	if err != nil {
		t.Fatal(err)
	}
	signer, err := x509.ParsePKCS8PrivateKey(read("intermediate.key"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, DNSNames: []string{"localhost"},
	}, inter, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der, inter.Raw}, PrivateKey: key}
}

// homeOf reads what a person's machine keeps.
func homeOf(t *testing.T, dir string) *home.Home {
	t.Helper()
	paths, err := cli.PathsFrom(func(k string) string { return map[string]string{"COUNTERSIGN_HOME": dir}[k] })
	if err != nil {
		t.Fatal(err)
	}
	h, err := home.Open(paths)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// redirect has a person's machine ask the server at another address.
func redirect(t *testing.T, dir, address string) {
	t.Helper()
	path := filepath.Join(dir, "config.yaml")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(data), homeOf(t, dir).Settings("acme").Server, address)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (l *liar) WhoAmI(ctx context.Context, _ *pb.WhoAmIRequest) (*pb.WhoAmIResponse, error) {
	return l.truth.WhoAmI(ctx)
}

func (l *liar) GetExpiry(ctx context.Context, _ *pb.GetExpiryRequest) (*pb.GetExpiryResponse, error) {
	return l.truth.Expiry(ctx)
}

func (l *liar) ListEvents(ctx context.Context, in *pb.ListEventsRequest) (*pb.ListEventsResponse, error) {
	events, err := l.truth.Events(ctx, in.GetAll(), 0)
	return &pb.ListEventsResponse{Events: events}, err
}

func (l *liar) GetEvent(ctx context.Context, in *pb.GetEventRequest) (*pb.GetEventResponse, error) {
	e, summary := l.event, (*pb.EventSummary)(nil)
	if e == nil {
		var err error
		if e, summary, err = l.truth.Event(ctx, in.GetId()); err != nil {
			return nil, err
		}
	} else {
		summary = &pb.EventSummary{
			Id: e.ID(), Kind: e.Proposal.Kind, Subject: e.Proposal.Subject, State: pb.EventState_EVENT_STATE_OPEN, OpenedBy: "rivera", OpenedAt: time.Now().Unix(),
		}
	}
	data, err := e.Bytes()
	return &pb.GetEventResponse{Event: data, Summary: summary}, err
}

func (l *liar) GetMetadata(ctx context.Context, in *pb.GetMetadataRequest) (*pb.GetMetadataResponse, error) {
	p, err := l.truth.Published(ctx, metadata.Repository(in.GetRepository()), in.GetRole(), in.GetVersion())
	if err != nil {
		return nil, err
	}
	if l.published != nil {
		l.published(in.GetRole(), in.GetVersion(), &p)
	}
	if p.File == nil && p.Version == 0 {
		return nil, reason.Errorf(reason.NotFound, "%s is not here", in.GetRole())
	}
	return &pb.GetMetadataResponse{Data: p.File, UsedVersion: p.Version, UsedCounter: p.Counter}, nil
}

func (l *liar) take() error {
	l.taken.Add(1)
	return reason.Errorf(reason.Permission, "thank you")
}

func (l *liar) AddSignature(context.Context, *pb.AddSignatureRequest) (*pb.AddSignatureResponse, error) {
	return nil, l.take()
}

func (l *liar) OpenEvent(context.Context, *pb.OpenEventRequest) (*pb.OpenEventResponse, error) {
	return nil, l.take()
}

func (l *liar) OfferFiles(context.Context, *pb.OfferFilesRequest) (*pb.OfferFilesResponse, error) {
	return &pb.OfferFilesResponse{}, nil
}
