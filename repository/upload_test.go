package repository_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	grpcstatus "google.golang.org/grpc/status"

	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/proto/reason/status"
	"github.com/countersign-ota/countersign/signer/remote"
)

// stock returns a connection of an ordinary gRPC client, with generated messages and its own limits.
func (b *bed) stock(cert *tls.Certificate) *grpc.ClientConn {
	b.t.Helper()
	conn, err := grpc.NewClient(b.cfg.Server(), grpc.WithTransportCredentials(credentials.NewTLS(b.tlsOf(cert))))
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { conn.Close() })
	return conn
}

// certificate returns an operator's certificate as the tool keeps it.
func (b *bed) certificate(operator string) *tls.Certificate {
	b.t.Helper()
	b.operator(operator)
	data, err := b.ids[operator].Bytes()
	if err != nil {
		b.t.Fatal(err)
	}
	cert, err := tls.X509KeyPair(data, data)
	if err != nil {
		b.t.Fatal(err)
	}
	return &cert
}

// send uploads with a stock client: the header, then pieces, then what finish does.
func send(t *testing.T, c pb.ReleaseClient, h *pb.UploadHeader, pieces ...[]byte) (*pb.UploadResponse, error) {
	t.Helper()
	s, err := c.Upload(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	messages := []*pb.UploadRequest{}
	if h != nil {
		messages = append(messages, &pb.UploadRequest{Part: &pb.UploadRequest_Header{Header: h}})
	}
	for _, p := range pieces {
		messages = append(messages, &pb.UploadRequest{Part: &pb.UploadRequest_Data{Data: p}})
	}
	for _, m := range messages {
		if err := s.Send(m); err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
	}
	answer, err := s.CloseAndRecv()
	return answer, status.FromError(err)
}

func uploadStatus(t *testing.T, c pb.ReleaseClient, sum [32]byte) (int64, bool) {
	t.Helper()
	s, err := c.UploadStatus(context.Background(), &pb.UploadStatusRequest{Sha256: sum[:]})
	if err != nil {
		t.Fatal(err)
	}
	return s.GetOffset(), s.GetComplete()
}

func TestUploadsThatAreRefused(t *testing.T) {
	b := newBed(t)
	c := pb.NewReleaseClient(b.stock(b.certificate("rivera")))
	data := bytes.Repeat([]byte("firmware"), 50_000)
	sum := sha256.Sum256(data)
	header := func(change func(h *pb.UploadHeader)) *pb.UploadHeader {
		h := &pb.UploadHeader{Sha256: sum[:], Length: int64(len(data))}
		if change != nil {
			change(h)
		}
		return h
	}
	good := [][]byte{data[:200_000], data[200_000:]}
	for _, tt := range []struct {
		name   string
		header *pb.UploadHeader
		pieces [][]byte
		want   reason.Reason
	}{
		{"wrong digest", header(nil), [][]byte{data[:200_000], bytes.ToUpper(data[200_000:])}, reason.HashMismatch},
		{"too long", header(nil), append(good[:2:2], []byte("x")), reason.LengthMismatch},
		{"no header", nil, good, reason.Malformed},
		{"nothing at all", nil, nil, reason.Malformed},
		{"short digest", header(func(h *pb.UploadHeader) { h.Sha256 = sum[:31] }), good, reason.Malformed},
		{"no length", header(func(h *pb.UploadHeader) { h.Length = 0 }), good, reason.TooLarge},
		{"negative length", header(func(h *pb.UploadHeader) { h.Length = -1 }), good, reason.TooLarge},
		{"17 GiB", header(func(h *pb.UploadHeader) { h.Length = 17 << 30 }), nil, reason.TooLarge},
		{"offset ahead", header(func(h *pb.UploadHeader) { h.Offset = 7 }), nil, reason.UploadBusy},
		{"negative offset", header(func(h *pb.UploadHeader) { h.Offset = -7 }), nil, reason.UploadBusy},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := send(t, c, tt.header, tt.pieces...)
			wantReason(t, err, tt.want)
			if offset, complete := uploadStatus(t, c, sum); offset != 0 || complete {
				t.Errorf("offset %d, complete %v after a refusal", offset, complete)
			}
		})
	}
	// gRPC answers a chunk of more than 256 KiB itself, before the handler hears of it.
	if _, err := send(t, c, header(nil), data[:300_000]); grpcstatus.Code(err) != codes.Internal {
		t.Errorf("chunk of 300,000 bytes: %v", err)
	}
	waitOffset(t, c, sum, 0)
	// The next good one is taken, and taken again.
	for range 2 {
		answer, err := send(t, c, header(nil), good...)
		for range 100 {
			if !reason.Is(err, reason.UploadBusy) { // until the handler of the bad one has ended
				break
			}
			time.Sleep(20 * time.Millisecond)
			answer, err = send(t, c, header(nil), good...)
		}
		if err != nil || answer.GetOffset() != int64(len(data)) {
			t.Fatalf("good upload: %v, %v", answer, err)
		}
	}
	if offset, complete := uploadStatus(t, c, sum); offset != int64(len(data)) || !complete {
		t.Errorf("offset %d, complete %v", offset, complete)
	}
	if _, err := send(t, c, header(func(h *pb.UploadHeader) { h.Length-- })); reason.Of(err) != reason.LengthMismatch {
		t.Errorf("another length of a complete file: %v", err)
	}
	b.checked()
}

// An upload goes on where it stopped, also in another process of the server.
func TestUploadGoesOn(t *testing.T) {
	b := newBed(t)
	data := bytes.Repeat([]byte("firmware"), 100_000)
	sum := sha256.Sum256(data)
	cert := b.certificate("rivera")
	c := pb.NewReleaseClient(b.stock(cert))
	h := &pb.UploadHeader{Sha256: sum[:], Length: int64(len(data))}
	answer, err := send(t, c, h, data[:250_000])
	if err != nil || answer.GetOffset() != 250_000 {
		t.Fatalf("first sitting: %v, %v", answer, err)
	}
	b.stop()
	b.start()
	c = pb.NewReleaseClient(b.stock(cert))
	if offset, complete := uploadStatus(t, c, sum); offset != 250_000 || complete {
		t.Fatalf("offset %d, complete %v after a restart", offset, complete)
	}
	// A sender that hangs up keeps what arrived.
	hangUp, cancel := context.WithCancel(context.Background())
	s, err := c.Upload(hangUp)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []*pb.UploadRequest{
		{Part: &pb.UploadRequest_Header{Header: &pb.UploadHeader{Sha256: sum[:], Length: int64(len(data)), Offset: 250_000}}},
		{Part: &pb.UploadRequest_Data{Data: data[250_000:300_000]}},
	} {
		if err := s.Send(m); err != nil {
			t.Fatal(err)
		}
	}
	waitOffset(t, c, sum, 300_000)
	cancel()
	path := filepath.Join(t.TempDir(), "gw.img")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	var began int64
	for range 100 {
		err = b.operators["rivera"].Upload(ctx, path, sum, int64(len(data)), remote.Watch{Start: func(done, _ int64) { began = done }})
		if !reason.Is(err, reason.UploadBusy) { // until the server noticed that the sender is gone
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err != nil || began != 300_000 {
		t.Fatalf("last sitting from %d: %v", began, err)
	}
	b.checked()
}

func waitOffset(t *testing.T, c pb.ReleaseClient, sum [32]byte, want int64) {
	t.Helper()
	for range 250 {
		if offset, _ := uploadStatus(t, c, sum); offset == want {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("the upload does not come to %d", want)
}

// Two clients on one upload: the second is told that the first is at it.
func TestTwoClientsOnOneUpload(t *testing.T) {
	b := newBed(t)
	data := bytes.Repeat([]byte("firmware"), 100_000)
	sum := sha256.Sum256(data)
	first := pb.NewReleaseClient(b.stock(b.certificate("rivera")))
	second := pb.NewReleaseClient(b.stock(b.certificate("chen")))
	h := &pb.UploadHeader{Sha256: sum[:], Length: int64(len(data))}
	s, err := first.Upload(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []*pb.UploadRequest{
		{Part: &pb.UploadRequest_Header{Header: h}}, {Part: &pb.UploadRequest_Data{Data: data[:100_000]}},
	} {
		if err := s.Send(m); err != nil {
			t.Fatal(err)
		}
	}
	waitOffset(t, second, sum, 100_000)
	_, err = send(t, second, &pb.UploadHeader{Sha256: sum[:], Length: int64(len(data)), Offset: 100_000}, data[100_000:200_000])
	wantReason(t, err, reason.UploadBusy)
	for at := 100_000; at < len(data); at += 100_000 {
		if err := s.Send(&pb.UploadRequest{Part: &pb.UploadRequest_Data{Data: data[at : at+100_000]}}); err != nil {
			t.Fatal(err)
		}
	}
	answer, err := s.CloseAndRecv()
	if err != nil || answer.GetOffset() != int64(len(data)) {
		t.Fatalf("the first client: %v, %v", answer, err)
	}
	b.checked()
}

// A stranger cannot make the server hold a message of an event's size.
func TestStrangersSendSmallMessages(t *testing.T) {
	b := newBed(t)
	c := pb.NewIdentityClient(b.stock(nil))
	_, err := c.Login(context.Background(), &pb.LoginRequest{Operator: "rivera", PublicKey: make([]byte, 2<<20)})
	if grpcstatus.Code(err) != codes.ResourceExhausted {
		t.Errorf("2 MiB of a stranger: %v", err)
	}
	big := pb.NewReleaseClient(b.stock(b.certificate("rivera")))
	_, err = big.OpenEvent(context.Background(), &pb.OpenEventRequest{Event: make([]byte, 8<<20)}, grpc.MaxCallSendMsgSize(16<<20))
	if err := status.FromError(err); reason.Of(err) != reason.Malformed {
		t.Errorf("8 MiB of an operator: %v", err)
	}
}

func sha(data []byte) []byte {
	sum := sha256.Sum256(data)
	return sum[:]
}
