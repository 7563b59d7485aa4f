package storetest

import (
	"context"
	"maps"
	"sync"

	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/repository/internal/store"
)

// Model is a store in memory, for tests: what others are compared with, and a quick stand-in. It runs
// each function given to Update twice, the first time on a copy that it throws away, so that a
// function with effects outside is found.
type Model struct {
	writer sync.Mutex // held during an Update

	mu     sync.Mutex
	state  *state // guarded by mu; a state that was published is never changed
	closed bool   // guarded by mu
}

var _ store.Store = (*Model)(nil)

// NewModel returns an empty store.
func NewModel() *Model {
	return &Model{state: &state{
		meta: map[string]string{store.MetaFormat: "1"},
		role: map[versionKey]*pb.RoleRecord{}, current: map[roleKey]int64{}, used: map[roleKey]*pb.UsedRecord{},
		event: map[store.EventID]*pb.EventRecord{}, open: map[roleKey]store.EventID{},
		blob: map[[32]byte]*pb.BlobRecord{}, operator: map[string]*pb.OperatorRecord{},
		device: map[string]*pb.DeviceRecord{}, token: map[string]*pb.TokenRecord{},
		newer: map[versionKey]*pb.NewerRecord{},
	}}
}

type roleKey struct {
	r    metadata.Repository
	role string
}

type versionKey struct {
	roleKey
	version int64
}

// state is all records. Those in the maps are never changed, only replaced.
type state struct {
	meta     map[string]string
	role     map[versionKey]*pb.RoleRecord
	current  map[roleKey]int64
	used     map[roleKey]*pb.UsedRecord
	event    map[store.EventID]*pb.EventRecord
	open     map[roleKey]store.EventID
	blob     map[[32]byte]*pb.BlobRecord
	operator map[string]*pb.OperatorRecord
	device   map[string]*pb.DeviceRecord
	token    map[string]*pb.TokenRecord
	newer    map[versionKey]*pb.NewerRecord
	audit    []*pb.AuditRecord
	orders   uint64
}

func (s *state) clone() *state {
	return &state{
		meta: maps.Clone(s.meta), role: maps.Clone(s.role), current: maps.Clone(s.current), used: maps.Clone(s.used),
		event: maps.Clone(s.event), open: maps.Clone(s.open), blob: maps.Clone(s.blob), operator: maps.Clone(s.operator),
		device: maps.Clone(s.device), token: maps.Clone(s.token), newer: maps.Clone(s.newer),
		audit:  s.audit[:len(s.audit):len(s.audit)],
		orders: s.orders,
	}
}

func (m *Model) now() (*state, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, reason.Errorf(reason.Busy, "the store is closed")
	}
	return m.state, nil
}

// View implements store.Store.
func (m *Model) View(ctx context.Context, fn func(store.View) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s, err := m.now()
	if err != nil {
		return err
	}
	return fn(&view{s})
}

// Update implements store.Store.
func (m *Model) Update(ctx context.Context, fn func(store.Tx) error) error {
	m.writer.Lock()
	defer m.writer.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	old, err := m.now()
	if err != nil {
		return err
	}
	var t *tx
	for range 2 {
		t = &tx{view: view{old.clone()}}
		if err := fn(t); err != nil {
			return err
		}
		if !t.audited {
			return store.ErrNoAudit
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state = t.s
	return nil
}

// Close implements store.Store.
func (m *Model) Close() error {
	m.writer.Lock()
	defer m.writer.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	return nil
}
