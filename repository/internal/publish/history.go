package publish

import (
	"context"
	"time"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/repository/internal/store"
	"github.com/countersign-ota/countersign/signer/event"
)

// history is the server's event.Past: every version that it ever published.
type history struct {
	ctx   context.Context //nolint:containedctx // of the one judgement that it is made for
	store store.Store
}

var _ event.Past = history{}

// Version implements event.Past.
func (h history) Version(role string, version int64) (file []byte, published time.Time, err error) {
	err = h.store.View(h.ctx, func(v store.View) error {
		rec, err := v.Role(metadata.Image, role, version)
		if err != nil {
			return missing(err)
		}
		file, published = rec.GetData(), time.Unix(rec.GetPublishedAt(), 0).UTC()
		return nil
	})
	return file, published, err
}
