package repository_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/health/grpc_health_v1"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"

	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/enroll"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/proto/reason/status"
	"github.com/countersign-ota/countersign/signer/remote"
)

// forged returns a certificate that says uri, signed by itself.
func forged(t *testing.T, uri string) *tls.Certificate {
	t.Helper()
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(uri)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), URIs: []*url.URL{u},
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, pub, priv)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: priv}
}

// Who shows which certificate may call what, over both addresses.
func TestCallersThatAreRefused(t *testing.T) {
	b := newBed(t)
	other := newBed(t)
	b.found(basicPlan)
	b.released("2.4.1")
	for _, tt := range []struct {
		name string
		cert func(t *testing.T) *tls.Certificate
		want reason.Reason
	}{
		{"no certificate", func(*testing.T) *tls.Certificate { return nil }, reason.Permission},
		{"operator of another server's CA", func(*testing.T) *tls.Certificate { return other.certificate("rivera") }, reason.Permission},
		{"device of another server", func(*testing.T) *tls.Certificate { return other.device("gw-0001") }, reason.Permission},
		{"self-made operator", func(t *testing.T) *tls.Certificate { return forged(t, "spiffe://acme/operator/rivera") }, reason.Permission},
		{"self-made device", func(t *testing.T) *tls.Certificate { return forged(t, "spiffe://acme/device/gw-0001") }, reason.Permission},
		{"somebody of another deployment", func(t *testing.T) *tls.Certificate { return forged(t, "spiffe://umbrella/operator/rivera") }, reason.Permission},
		{"nobody's name", func(t *testing.T) *tls.Certificate { return forged(t, "https://acme/operator/rivera") }, reason.Permission},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cert := tt.cert(t)
			conn := b.stock(cert)
			_, err := pb.NewReleaseClient(conn).ListEvents(ctx, &pb.ListEventsRequest{})
			wantReason(t, status.FromError(err), tt.want)
			_, err = pb.NewIdentityClient(conn).InviteDevices(ctx, &pb.InviteDevicesRequest{Devices: []string{"gw-0666"}})
			wantReason(t, status.FromError(err), tt.want)
			if a := b.ask(b.browser(cert), http.MethodGet, imagePath("2.4.1"), nil); a.code != 403 || a.reason(t) != tt.want {
				t.Errorf("image: %d %s", a.code, a.reason(t))
			}
			// What is public stays so: the way back to a good certificate.
			if _, err := pb.NewRepositoryClient(conn).GetMetadata(ctx, &pb.GetMetadataRequest{Role: "root", Version: 1}); err != nil {
				t.Errorf("root 1: %v", err)
			}
		})
	}
	if !strings.Contains(b.log.String(), "self-signed") && !strings.Contains(b.log.String(), "unknown authority") {
		t.Error("the log does not say why certificates were refused")
	}
}

// A device may download, and nothing else.
func TestDeviceMayOnlyDownload(t *testing.T) {
	b := newBed(t)
	b.found(basicPlan)
	conn := b.stock(b.device("gw-0001"))
	_, err := pb.NewReleaseClient(conn).ListEvents(ctx, &pb.ListEventsRequest{})
	wantReason(t, status.FromError(err), reason.Permission)
	_, err = pb.NewIdentityClient(conn).WhoAmI(ctx, &pb.WhoAmIRequest{})
	wantReason(t, status.FromError(err), reason.Permission)
	s, err := pb.NewRepositoryClient(conn).Download(ctx, &pb.DownloadRequest{Path: "gw-100/1/x", Sha256: make([]byte, 32)})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Recv()
	wantReason(t, status.FromError(err), reason.NotFound)
}

// An operator's certificate is good for a day; then it takes a new token. Renewed in time it goes on.
func TestOperatorCertificateExpires(t *testing.T) {
	b := newBed(t)
	old := b.operators["rivera"]
	who, err := old.WhoAmI(ctx)
	if err != nil || who.GetOperator() != "rivera" || who.GetDeployment() != "acme" || who.GetExpires()-who.GetNow() > 24*3600 {
		t.Fatalf("who am I: %v, %v", who, err)
	}
	fresh, err := old.Renew(ctx, b.ca, "acme", "rivera")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := old.WhoAmI(ctx); err != nil {
		t.Errorf("the old key before the new one called: %v", err)
	}
	renewed := b.dial(fresh)
	defer renewed.Close()
	if _, err := renewed.WhoAmI(ctx); err != nil {
		t.Fatal(err)
	}
	_, err = old.WhoAmI(ctx)
	wantReason(t, err, reason.Permission)
	b.clock.forward(25 * time.Hour) // the same connection
	_, err = renewed.WhoAmI(ctx)
	wantReason(t, err, reason.Expired)
	if !strings.Contains(reason.HintOf(err), "login") {
		t.Errorf("hint %q", reason.HintOf(err))
	}
}

// A revocation acts on the next call of a connection that stands.
func TestRevokedOperatorActsOnTheNextCall(t *testing.T) {
	b := newBed(t)
	chen := b.operator("chen")
	if _, err := chen.WhoAmI(ctx); err != nil {
		t.Fatal(err)
	}
	if err := b.operators["rivera"].RevokeOperator(ctx, "chen", "left the company"); err != nil {
		t.Fatal(err)
	}
	_, err := chen.WhoAmI(ctx)
	wantReason(t, err, reason.Permission)
	if !strings.Contains(err.Error(), "left the company") {
		t.Errorf("it does not say why: %v", err)
	}
	wantReason(t, b.operators["rivera"].RevokeOperator(ctx, "rivera", "me too"), reason.Permission)
	all, err := b.operators["rivera"].Operators(ctx)
	if err != nil || len(all) != 2 || !all[0].GetRevoked() || all[1].GetLastSeen() == 0 {
		t.Errorf("operators %v, %v", all, err)
	}
}

// Tokens: a lost answer is answered again, a stolen token not; the root's fingerprint is in those made
// after the ceremony.
func TestTokens(t *testing.T) {
	b := newBed(t)
	first := b.token(b.dir + "/rivera.token")
	if first.Root != "" {
		t.Errorf("the very first token names root %q", first.Root)
	}
	b.found(basicPlan)
	rivera := b.operators["rivera"]
	tok, err := rivera.InviteOperator(ctx, "chen", []string{"admin"}, "")
	if err != nil {
		t.Fatal(err)
	}
	pin, err := b.state().Pin("image")
	if err != nil || tok.Root != hexOf(pin.Digest) || tok.Server != b.cfg.Server() || tok.HTTPS != b.cfg.URL || !tok.CA.Equal(b.ca) {
		t.Errorf("token %+v, %v", tok, err)
	}
	k, err := remote.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, roles, err := remote.Login(ctx, remote.Config{Address: tok.Server}, tok, k); err != nil || len(roles) != 1 {
			t.Fatalf("login: %v, %v", roles, err)
		}
	}
	thief, err := remote.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = remote.Login(ctx, remote.Config{Address: tok.Server}, tok, thief)
	wantReason(t, err, reason.TokenInvalid)
	toks, err := rivera.InviteDevices(ctx, []string{"gw-1", "gw-2"})
	if err != nil || len(toks) != 2 || toks[1].Subject != "gw-2" || toks[1].Kind != enroll.Device || toks[1].Root != tok.Root {
		t.Errorf("device tokens %v, %v", toks, err)
	}
	toks[0].Kind = enroll.Operator // a device's token makes no operator
	_, _, err = remote.Login(ctx, remote.Config{Address: tok.Server}, toks[0], thief)
	wantReason(t, err, reason.TokenInvalid)
	b.checked()
}

func TestHealthAndReflection(t *testing.T) {
	b := newBed(t)
	conn := b.stock(nil)
	h, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
	if err != nil || h.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
		t.Errorf("health %v, %v", h, err)
	}
	s, err := reflectionpb.NewServerReflectionClient(conn).ServerReflectionInfo(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Send(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}}); err != nil {
		t.Fatal(err)
	}
	answer, err := s.Recv()
	if err != nil || len(answer.GetListServicesResponse().GetService()) < 5 {
		t.Errorf("services %v, %v", answer, err)
	}
	if err := s.CloseSend(); err != nil {
		t.Fatal(err)
	}
}

// A server that stops lets a running call finish and takes no new one.
func TestShutdownDrains(t *testing.T) {
	b := newBed(t)
	c := pb.NewReleaseClient(b.stock(b.certificate("rivera")))
	data := []byte("twelve bytes")
	sum := [32]byte{}
	copy(sum[:], sha(data))
	s, err := c.Upload(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Send(&pb.UploadRequest{Part: &pb.UploadRequest_Header{Header: &pb.UploadHeader{Sha256: sum[:], Length: 12}}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Send(&pb.UploadRequest{Part: &pb.UploadRequest_Data{Data: data[:6]}}); err != nil {
		t.Fatal(err)
	}
	waitOffset(t, c, sum, 6)
	end := b.end
	b.end = nil
	stopped := make(chan struct{})
	go func() { end(); close(stopped) }()
	for strings.Count(b.log.String(), "draining") == 0 {
		time.Sleep(10 * time.Millisecond)
	}
	if err := s.Send(&pb.UploadRequest{Part: &pb.UploadRequest_Data{Data: data[6:]}}); err != nil {
		t.Fatal(err)
	}
	answer, err := s.CloseAndRecv()
	if err != nil || answer.GetOffset() != 12 {
		t.Errorf("the running call: %v, %v", answer, err)
	}
	<-stopped
	b.checked()
}

// A stock gRPC client enrols a device and downloads, whole and from an offset.
func TestStockClientDownloads(t *testing.T) {
	b := newBed(t)
	b.found(basicPlan)
	b.released("2.4.1")
	toks, err := b.operators["rivera"].InviteDevices(ctx, []string{"gw-0001"})
	if err != nil {
		t.Fatal(err)
	}
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	mac := enroll.MAC(toks[0].Secret, enroll.Device, "gw-0001", spki)
	answer, err := pb.NewDeviceClient(b.stock(nil)).Enroll(ctx, &pb.EnrollRequest{Device: "gw-0001", PublicKey: spki, TokenId: toks[0].ID, Mac: mac[:]})
	if err != nil {
		t.Fatal(err)
	}
	c := pb.NewRepositoryClient(b.stock(&tls.Certificate{Certificate: answer.GetCertificates(), PrivateKey: priv}))
	image := firmware("2.4.1")
	download := func(q *pb.DownloadRequest) ([]byte, error) {
		s, err := c.Download(ctx, q)
		if err != nil {
			t.Fatal(err)
		}
		var data []byte
		for {
			m, err := s.Recv()
			if errors.Is(err, io.EOF) {
				return data, nil
			}
			if err != nil {
				return nil, status.FromError(err)
			}
			data = append(data, m.GetData()...)
		}
	}
	for _, offset := range []int64{0, 1, 262_144, int64(len(image)) - 1, int64(len(image))} {
		got, err := download(&pb.DownloadRequest{Path: "gw-100/2.4.1/gw.img", Sha256: sha(image), Offset: offset})
		if err != nil || !bytes.Equal(got, image[offset:]) {
			t.Errorf("from %d: %d bytes, %v", offset, len(got), err)
		}
	}
	for _, tt := range []struct {
		name string
		q    *pb.DownloadRequest
		want reason.Reason
	}{
		{"offset behind the end", &pb.DownloadRequest{Path: "gw-100/2.4.1/gw.img", Sha256: sha(image), Offset: int64(len(image)) + 1}, reason.LengthMismatch},
		{"negative offset", &pb.DownloadRequest{Path: "gw-100/2.4.1/gw.img", Sha256: sha(image), Offset: -1}, reason.LengthMismatch},
		{"other path", &pb.DownloadRequest{Path: "gw-100/2.4.1/other.img", Sha256: sha(image)}, reason.NotFound},
		{"no path", &pb.DownloadRequest{Sha256: sha(image)}, reason.Malformed},
		{"climbing path", &pb.DownloadRequest{Path: "../../server.yaml", Sha256: sha(image)}, reason.Malformed},
		{"short hash", &pb.DownloadRequest{Path: "gw-100/2.4.1/gw.img", Sha256: sha(image)[1:]}, reason.Malformed},
	} {
		_, err := download(tt.q)
		if reason.Of(err) != tt.want {
			t.Errorf("%s: %v, want %s", tt.name, err, tt.want)
		}
	}
	for _, tt := range []struct {
		q    *pb.GetMetadataRequest
		want reason.Reason
	}{
		{&pb.GetMetadataRequest{Role: "root", Version: 2}, reason.NotFound},
		{&pb.GetMetadataRequest{Role: "root", Version: -1}, reason.NotFound},
		{&pb.GetMetadataRequest{Role: "pump-9"}, reason.NotFound},
		{&pb.GetMetadataRequest{Role: "../root"}, reason.Malformed},
		{&pb.GetMetadataRequest{}, reason.Malformed},
		{&pb.GetMetadataRequest{Role: "timestamp", Repository: "director"}, reason.NotFound},
		{&pb.GetMetadataRequest{Role: "root", Repository: "elsewhere"}, reason.NotFound},
	} {
		_, err := c.GetMetadata(ctx, tt.q)
		if err := status.FromError(err); reason.Of(err) != tt.want {
			t.Errorf("%v: %v, want %s", tt.q, err, tt.want)
		}
	}
	for _, q := range []*pb.GetMetadataRequest{{Role: "timestamp"}, {Role: "root", Version: 1}, {Role: "root", Version: 1, Repository: "director"}, {Role: "gw-100.stop"}} {
		if m, err := c.GetMetadata(ctx, q); err != nil || len(m.GetData()) == 0 || m.GetUsedVersion() != 0 {
			t.Errorf("%v: %v, %v", q, m, err)
		}
	}
}
