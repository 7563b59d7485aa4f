package publish

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc/mem"

	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/repository/internal/audit"
	"github.com/countersign-ota/countersign/repository/internal/blob"
	"github.com/countersign-ota/countersign/repository/internal/store"
)

// UploadStatus says how many bytes of a file are durable and whether it is complete, which means: its
// hash was checked and the store knows it.
func (p *Publisher) UploadStatus(ctx context.Context, by string, sha256 [32]byte) (offset int64, complete bool, err error) {
	offset, complete, err = p.Blobs.Status(sha256)
	if err != nil || !complete {
		return offset, false, err
	}
	return offset, true, p.know(ctx, by, sha256, offset)
}

// Upload takes the bytes of a file from offset on, which must be what UploadStatus says. next returns
// the following bytes, which Upload frees, and io.EOF-like done at their end. When the sender stops
// early, what arrived is durable on return and offset says how much; the whole file is, besides,
// hashed and known to the store. Reasons: upload-busy, too-large, length-mismatch, hash-mismatch,
// disk-full.
func (p *Publisher) Upload(ctx context.Context, by string, sha256 [32]byte, length, offset int64, next func() (data mem.BufferSlice, done bool, err error)) (int64, error) {
	at, err := p.upload(ctx, by, sha256, length, offset, next)
	if err != nil {
		p.Audit.Refused(ctx, actor(by), "blob.upload", fmt.Sprintf("%x", sha256), err)
	}
	return at, err
}

func (p *Publisher) upload(ctx context.Context, by string, sha256 [32]byte, length, offset int64, next func() (mem.BufferSlice, bool, error)) (int64, error) {
	if length < 1 || length > blob.MaxLength {
		return 0, reason.Errorf(reason.TooLarge, "a file of %d bytes: want 1 to %d", length, int64(blob.MaxLength))
	}
	w, err := p.Blobs.Writer(ctx, sha256, length, offset)
	if errors.Is(err, blob.ErrComplete) {
		return length, p.know(ctx, by, sha256, length)
	}
	if err != nil {
		return 0, err
	}
	for {
		data, done, err := next()
		if err != nil || done && w.Offset() < length {
			// What arrived stays for the next sitting, however the sender ended.
			return w.Offset(), errors.Join(err, w.Close())
		}
		if done {
			break
		}
		for _, b := range data {
			if _, err = w.Write(b.ReadOnlyData()); err != nil {
				break
			}
		}
		data.Free()
		if err != nil {
			return 0, errors.Join(err, w.Close())
		}
	}
	if err := w.Commit(); err != nil {
		return 0, err
	}
	return length, p.know(ctx, by, sha256, length)
}

// know makes sure that the store knows a complete file. The file comes first: a crash in between
// leaves a file without a record, which the next call about it completes.
func (p *Publisher) know(ctx context.Context, by string, sha256 [32]byte, length int64) error {
	known := false
	err := p.Store.View(ctx, func(v store.View) error {
		rec, err := v.Blob(sha256)
		known = rec.GetComplete()
		return missing(err)
	})
	if err != nil || known {
		return err
	}
	return p.Store.Update(ctx, func(tx store.Tx) error {
		if err := tx.PutBlob(sha256, &pb.BlobRecord{Length: length, Complete: true}); err != nil {
			return err
		}
		return audit.Write(tx, audit.Entry(p.Now(), actor(by), "blob.upload", fmt.Sprintf("%x", sha256), fmt.Sprintf("%d bytes", length)))
	})
}
