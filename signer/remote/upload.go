package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"google.golang.org/grpc"

	"github.com/countersign-ota/countersign/proto/chunk"
	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/reason"
)

// hashRate is the least bytes a second at which a server is expected to hash what it holds, when an
// upload goes on or ends; it is silent meanwhile.
const hashRate = 50 << 20

// Watch follows an upload. Any member may be nil.
type Watch struct {
	// Start tells once how many bytes are on the server already.
	Start func(done, total int64)
	// Add tells of n more bytes.
	Add func(n int64)
}

// Upload sends the file at path, whose SHA-256 and length are known, from where the server's copy
// ends. It is nil once the server holds the whole file, durably and with this hash. An unreachable
// error says how far it came; the same call goes on there. Reasons besides: upload-busy,
// hash-mismatch, length-mismatch, disk-full, as the server says.
func (c *Client) Upload(ctx context.Context, path string, sha [32]byte, length int64, w Watch) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err != nil {
		return err
	} else if info.Size() != length {
		return reason.Errorf(reason.ArtifactDiffers, "%q has %d bytes, the event names %d", path, info.Size(), length)
	}
	offset, complete, err := c.uploadStatus(ctx, sha)
	if err != nil {
		return err
	}
	if offset < 0 || offset > length {
		return reason.Errorf(reason.Malformed, "the server holds %d of %d bytes", offset, length)
	}
	if complete {
		offset = length
	}
	if w.Start != nil {
		w.Start(offset, length)
	}
	if complete {
		return nil
	}
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return err
	}
	return c.send(ctx, f, &pb.UploadHeader{Sha256: sha[:], Length: length, Offset: offset}, w)
}

func (c *Client) uploadStatus(ctx context.Context, sha [32]byte) (int64, bool, error) {
	ctx, cancel := c.call(ctx)
	defer cancel()
	answer, err := c.release.UploadStatus(ctx, &pb.UploadStatusRequest{Sha256: sha[:]})
	return answer.GetOffset(), answer.GetComplete(), c.failed(ctx, err)
}

var errSilent = errors.New("silent")

// send streams r behind the header and waits for the server to say that it is durable. The call ends
// when nothing moves for as long as the server may be silent, plus what it needs to hash.
func (c *Client) send(ctx context.Context, r io.Reader, h *pb.UploadHeader, w Watch) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	patience := c.timeout + time.Duration(h.GetLength()/hashRate)*time.Second
	silence := time.AfterFunc(patience, func() { cancel(errSilent) })
	defer silence.Stop()
	sent := h.GetOffset()
	moved := func(n int) {
		silence.Reset(patience)
		sent += int64(n)
		if w.Add != nil {
			w.Add(int64(n))
		}
	}
	answer, err := c.stream(ctx, &counting{r, moved}, h)
	switch {
	case err == nil && answer.GetOffset() != h.GetLength():
		return reason.Errorf(reason.LengthMismatch, "the server holds %d of %d bytes after the upload", answer.GetOffset(), h.GetLength())
	case err == nil:
		return nil
	case errors.Is(context.Cause(ctx), errSilent):
		err = &reason.Error{Reason: reason.Unreachable, Text: fmt.Sprintf("%s silent for %s", c.host, patience), Err: errSilent}
	default:
		err = c.failed(ctx, err)
	}
	if !reason.Is(err, reason.Unreachable) {
		return err
	}
	const mega = 1000 * 1000
	done, total := sent/mega, (h.GetLength()+mega-1)/mega
	e := reason.Errorf(reason.Unreachable, "%v; %d of %d MB uploaded", err, done, total)
	return e.WithHint("the same command goes on at %d MB", done)
}

func (c *Client) stream(ctx context.Context, r io.Reader, h *pb.UploadHeader) (*pb.UploadResponse, error) {
	s, err := c.release.Upload(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.SendMsg(&chunk.Part{Header: h}); err != nil {
		return nil, ended(s, err)
	}
	if _, err := chunk.SendParts(s, r); err != nil {
		return nil, ended(s, err)
	}
	return s.CloseAndRecv()
}

// ended returns why the server ended a stream: sending then only says io.EOF.
func ended(s grpc.ClientStreamingClient[pb.UploadRequest, pb.UploadResponse], err error) error {
	if !errors.Is(err, io.EOF) {
		return err
	}
	_, err = s.CloseAndRecv()
	if err == nil {
		return reason.Errorf(reason.LengthMismatch, "the server ended the upload early")
	}
	return err
}

// counting tells how many bytes were read.
type counting struct {
	r    io.Reader
	tell func(n int)
}

// Read implements io.Reader.
func (c *counting) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.tell(n)
	return n, err
}
