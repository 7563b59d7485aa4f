package publish

import (
	"context"
	"errors"
	"sync"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/repository/internal/store"
	"github.com/countersign-ota/countersign/signer/event"
)

// Approvals returns the approvals of the event that published this version of a role of the image
// repository: DSSE envelopes as they are kept, one a line, each line ended by a newline (DESIGN 1.7).
// They never change. Reasons: malformed, not-found (no such version, or the server made it itself, or
// it came here without its event), state-damaged.
func (p *Publisher) Approvals(ctx context.Context, role string, version int64) ([]byte, error) {
	if _, _, err := metadata.SplitRole(role); err != nil {
		return nil, err
	}
	var id store.EventID
	var stored, lines []byte
	err := p.Store.View(ctx, func(v store.View) error {
		stored, lines = nil, nil
		file, err := v.Role(metadata.Image, role, version)
		if err != nil {
			return err
		}
		if len(file.GetEvent()) != len(id) {
			return store.ErrNotFound
		}
		id = store.EventID(file.GetEvent())
		if lines = p.approvals.of(id); lines != nil {
			return nil
		}
		rec, err := v.Event(id)
		stored = rec.GetEvent()
		return err
	})
	if err == nil && lines == nil {
		if lines, err = approvalLines(id, stored); err == nil {
			p.approvals.keep(id, lines)
		}
	}
	if errors.Is(err, store.ErrNotFound) || (err == nil && len(lines) == 0) {
		return nil, reason.Errorf(reason.NotFound, "approvals of image %s version %d are not here: %w", role, version, store.ErrNotFound)
	}
	return lines, err
}

// approvalLines returns the approvals of a stored event, one a line.
func approvalLines(id store.EventID, stored []byte) ([]byte, error) {
	e, err := event.Parse(stored)
	if err != nil {
		return nil, damaged(id, err)
	}
	var lines []byte
	for i := range e.Approvals {
		// The one form of an envelope, and so the bytes of the stored event.
		line, err := e.Approvals[i].Bytes()
		if err != nil {
			return nil, damaged(id, err)
		}
		lines = append(append(lines, line...), '\n')
	}
	return lines, nil
}

// maxApprovalCache bounds the cache in bytes.
const maxApprovalCache = 16 << 20

// approvalCache holds the approvals of published events, which never change: anybody may ask for those
// of each of a thousand bins, and an event is large. It is safe for concurrent use.
type approvalCache struct {
	mu sync.Mutex
	// by and size are guarded by mu.
	by   map[store.EventID][]byte
	size int
}

func (c *approvalCache) of(id store.EventID) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.by[id]
}

func (c *approvalCache) keep(id store.EventID, data []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.by[id] != nil || len(data) > maxApprovalCache {
		return
	}
	if c.by == nil || c.size+len(data) > maxApprovalCache {
		c.by, c.size = map[store.EventID][]byte{}, 0
	}
	c.by[id] = data
	c.size += len(data)
}
