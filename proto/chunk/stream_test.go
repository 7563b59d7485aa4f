package chunk

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	countersignv1 "github.com/countersign-ota/countersign/proto/countersign/v1"
)

// files serves one file and takes one upload, with our codec or with the generated messages.
type files struct {
	countersignv1.UnimplementedRepositoryServer
	countersignv1.UnimplementedReleaseServer
	stock bool
	data  []byte
	got   []byte
}

func (f *files) Download(in *countersignv1.DownloadRequest, s grpc.ServerStreamingServer[countersignv1.DownloadResponse]) error {
	rest := f.data[in.GetOffset():]
	if !f.stock {
		_, err := Send(s, bytes.NewReader(rest))
		return err
	}
	for len(rest) > 0 {
		n := min(Size, len(rest))
		if err := s.Send(&countersignv1.DownloadResponse{Data: rest[:n]}); err != nil {
			return err
		}
		rest = rest[n:]
	}
	return nil
}

func (f *files) Upload(s grpc.ClientStreamingServer[countersignv1.UploadRequest, countersignv1.UploadResponse]) error {
	var got []byte
	for {
		var data []byte
		var err error
		if f.stock {
			var in *countersignv1.UploadRequest
			in, err = s.Recv()
			data = in.GetData()
		} else {
			var p Part
			err = s.RecvMsg(&p)
			data = p.Data.Materialize()
			p.Free()
		}
		if errors.Is(err, io.EOF) {
			f.got = got
			return s.SendAndClose(&countersignv1.UploadResponse{Offset: int64(len(got))})
		}
		if err != nil {
			return err
		}
		got = append(got, data...)
	}
}

// dial starts f on a socket and returns a connection to it.
func dial(t *testing.T, f *files, stockClient bool) *grpc.ClientConn {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var server *grpc.Server
	if f.stock {
		server = grpc.NewServer()
	} else {
		server = grpc.NewServer(ServerOptions()...)
	}
	countersignv1.RegisterRepositoryServer(server, f)
	countersignv1.RegisterReleaseServer(server, f)
	go func() { _ = server.Serve(l) }()
	t.Cleanup(server.Stop)
	options := []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}
	if !stockClient {
		options = append(options, DialOptions()...)
	}
	conn, err := grpc.NewClient(l.Addr().String(), options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// Every pairing of our codec and generated messages moves the same bytes, on a real socket.
func TestStockPeers(t *testing.T) {
	cases := []struct {
		name                     string
		stockServer, stockClient bool
	}{
		{"both ours", false, false},
		{"stock client", false, true},
		{"stock server", true, false},
	}
	data := content(5*Size + 1234)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			f := &files{stock: c.stockServer, data: data}
			conn := dial(t, f, c.stockClient)
			const offset = 777

			down, err := countersignv1.NewRepositoryClient(conn).Download(ctx, &countersignv1.DownloadRequest{Offset: offset})
			if err != nil {
				t.Fatal(err)
			}
			var got []byte
			if c.stockClient {
				for err == nil {
					var m *countersignv1.DownloadResponse
					m, err = down.Recv()
					got = append(got, m.GetData()...)
				}
				if !errors.Is(err, io.EOF) {
					t.Fatal(err)
				}
			} else if got, err = io.ReadAll(NewReader(down)); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, data[offset:]) {
				t.Errorf("downloaded %d bytes, want %d", len(got), len(data)-offset)
			}

			up, err := countersignv1.NewReleaseClient(conn).Upload(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if c.stockClient {
				for rest := data; len(rest) > 0 && err == nil; {
					n := min(Size, len(rest))
					err = up.Send(&countersignv1.UploadRequest{Part: &countersignv1.UploadRequest_Data{Data: rest[:n]}})
					rest = rest[n:]
				}
			} else {
				_, err = SendParts(up, bytes.NewReader(data))
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, err := up.CloseAndRecv(); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(f.got, data) {
				t.Errorf("uploaded %d bytes, want %d", len(f.got), len(data))
			}
		})
	}
}

func TestReader(t *testing.T) {
	data := content(2*Size + 99)
	for _, how := range []string{"Read", "WriteTo"} {
		t.Run(how, func(t *testing.T) {
			conn := dial(t, &files{data: data}, false)
			s, err := countersignv1.NewRepositoryClient(conn).Download(t.Context(), &countersignv1.DownloadRequest{})
			if err != nil {
				t.Fatal(err)
			}
			r := NewReader(s)
			// A few odd bytes first, then the rest by one way or the other.
			var out bytes.Buffer
			if _, err := io.CopyN(&out, struct{ io.Reader }{r}, 12345); err != nil {
				t.Fatal(err)
			}
			if how == "WriteTo" {
				_, err = r.WriteTo(&out)
			} else {
				_, err = io.CopyBuffer(struct{ io.Writer }{&out}, struct{ io.Reader }{r}, make([]byte, 10007))
			}
			if err != nil || !bytes.Equal(out.Bytes(), data) {
				t.Errorf("%d bytes, %v, want %d", out.Len(), err, len(data))
			}
			if n, err := r.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
				t.Errorf("after the end: %d, %v", n, err)
			}
		})
	}
}

func TestReleaseInTheMiddle(t *testing.T) {
	conn := dial(t, &files{data: content(4 * Size)}, false)
	ctx, cancel := context.WithCancel(t.Context())
	s, err := countersignv1.NewRepositoryClient(conn).Download(ctx, &countersignv1.DownloadRequest{})
	if err != nil {
		t.Fatal(err)
	}
	r := NewReader(s)
	if _, err := io.ReadFull(r, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	cancel()
	r.Release()
	if n, err := r.Read(make([]byte, 10)); n != 0 || !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("after Release: %d, %v", n, err)
	}
}

// broken gives some bytes and then fails.
type broken struct{ left int }

var errBroken = errors.New("disk gone")

func (b *broken) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, errBroken
	}
	n := min(len(p), b.left)
	b.left -= n
	return n, nil
}

type discard struct{ n int }

func (d *discard) SendMsg(m any) error { d.n += m.(*Frame).Data.Len(); return nil }

func TestSendReturnsTheReadersError(t *testing.T) {
	d := &discard{}
	n, err := Send(d, &broken{left: Size + 10})
	if !errors.Is(err, errBroken) || n != Size+10 || d.n != Size+10 {
		t.Errorf("sent %d of %d, %v", d.n, n, err)
	}
}
