package bolt

import (
	"context"
	"io"

	"github.com/countersign-ota/countersign/repository/internal/store"
)

var _ store.Snapshotter = (*Store)(nil)

// Snapshot implements store.Snapshotter: it copies the pages of one read transaction, which Open takes
// as a file. A ctx that ends stops it between two writes.
func (s *Store) Snapshot(ctx context.Context, w io.Writer) error {
	return s.view(func(t *tx) error {
		// Errors of w keep their own kind; only those of bbolt are about the store.
		out := &copyTo{ctx: ctx, w: w}
		err := s.guard(func() error {
			_, err := t.b.WriteTo(out)
			return err
		})
		if out.err != nil {
			return out.err
		}
		return fileError(err, s.path)
	})
}

// copyTo writes until its context ends.
type copyTo struct {
	ctx context.Context //nolint:containedctx // of the one call of Snapshot
	w   io.Writer
	err error
}

func (c *copyTo) Write(p []byte) (int, error) {
	if c.err = c.ctx.Err(); c.err != nil {
		return 0, c.err
	}
	n, err := c.w.Write(p)
	c.err = err
	return n, err
}
