package web

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// Download returns the bytes of a target from offset on. Read returns when ctx ends. The caller
// closes it. From a server that knows no ranges, the bytes before offset are read and thrown away.
func (c *Client) Download(ctx context.Context, path string, sha256 [32]byte, offset int64) (io.ReadCloser, error) {
	t, err := metadata.ParseTargetPath(path)
	if err != nil {
		return nil, err
	}
	h := http.Header{}
	if offset > 0 {
		h.Set("Range", fmt.Sprintf("bytes=%d-", offset))
	}
	r, err := c.do(ctx, http.MethodGet, []string{"targets", t.Product, t.Version, fmt.Sprintf("%x.%s", sha256, t.File)}, h, nil)
	if err != nil {
		return nil, c.peer.Failed(ctx, err)
	}
	if err := c.position(r, offset); err != nil {
		_ = r.Body.Close()
		return nil, reason.Wrap(c.peer.Failed(ctx, err), "%q", path)
	}
	return &body{c: c, ctx: ctx, r: r.Body}, nil
}

// position checks that an answer begins at offset, or brings it there.
func (c *Client) position(r *http.Response, offset int64) error {
	if offset == 0 || r.StatusCode != http.StatusPartialContent {
		if err := answered(r, http.StatusOK); err != nil {
			return err
		}
		if _, err := io.CopyN(io.Discard, r.Body, offset); err != nil {
			return broken(err)
		}
		return nil
	}
	if err := answered(r, http.StatusPartialContent); err != nil {
		return err
	}
	if got := r.Header.Get("Content-Range"); !strings.HasPrefix(got, fmt.Sprintf("bytes %d-", offset)) {
		return reason.Errorf(reason.Malformed, "asked for bytes from %d on, got range %q", offset, got)
	}
	return nil
}

// body gives the errors of an answer's body their meaning.
type body struct {
	c   *Client
	ctx context.Context // the request's, for the meaning of errors
	r   io.ReadCloser
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	// As in read: an end after that of ctx is none.
	if err != nil && (err != io.EOF || b.ctx.Err() != nil) { //nolint:errorlint // a body returns it bare
		err = b.c.peer.Failed(b.ctx, broken(err))
	}
	return n, err
}

// Close drops the connection if the body was not read to its end.
func (b *body) Close() error { return b.r.Close() }
