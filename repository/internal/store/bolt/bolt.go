// Package bolt keeps the store in one bbolt file.
//
// Create makes the file, Open opens it; both give a store.Store. What an Update acknowledged is
// synced; writes of many callers share a commit (group.go). Before bbolt maps the file into memory
// its pages are checked (check.go), because bbolt trusts them and a damaged one ends the process.
//
// The file, format 1; versions and numbers are 8 bytes, big endian, so that keys sort by them;
// r is the repository: 'i' image, 'd' director. In brackets who writes.
//
//	bucket        key                     value                   order       [writer]
//	meta          "format", "deployment"  text                    -           [this package; init]
//	role          r ‖ role ‖ 0 ‖ version  RoleRecord              by version  [publish]
//	current       r ‖ role                version                 by role     [publish]
//	used          r ‖ role                UsedRecord              by role     [publish]
//	event         event id, 32 bytes      EventRecord             by id       [publish]
//	event_order   order                   event id                by opening  [publish]
//	open          r ‖ role                event id                by role     [publish]
//	blob          SHA-256, 32 bytes       BlobRecord              -           [blob]
//	operator      id                      OperatorRecord          by id       [identity]
//	operator_key  SPKI, DER               operator id             -           [identity]
//	device        id                      DeviceRecord            by id       [identity]
//	device_key    SPKI, DER               device id               -           [identity]
//	token         id                      TokenRecord             by id       [identity]
//	newer         r ‖ role ‖ 0 ‖ version  NewerRecord             by version  [publish]
//	audit         sequence number, from 1 AuditRecord             by number   [all]
//
// A role's name holds no NUL, so no role's versions stand between another's. operator_key and
// device_key hold the keys of the records in operator and device and no others. The next audit
// number and the next order are bbolt's bucket sequences, which are part of the transaction.
//
// The format rises when an older program would misread the file; new fields in a record and new
// buckets that an older program may ignore do not raise it.
package bolt

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"sync"
	"syscall"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/countersign-ota/countersign/internal/durable"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/repository/internal/store"
)

// format is the version of the stored form.
const format = 1

// Buckets.
var (
	bucketMeta        = []byte("meta")
	bucketRole        = []byte("role")
	bucketCurrent     = []byte("current")
	bucketUsed        = []byte("used")
	bucketEvent       = []byte("event")
	bucketEventOrder  = []byte("event_order")
	bucketOpen        = []byte("open")
	bucketBlob        = []byte("blob")
	bucketOperator    = []byte("operator")
	bucketOperatorKey = []byte("operator_key")
	bucketDevice      = []byte("device")
	bucketDeviceKey   = []byte("device_key")
	bucketToken       = []byte("token")
	bucketNewer       = []byte("newer")
	bucketAudit       = []byte("audit")

	buckets = [][]byte{
		bucketMeta, bucketRole, bucketCurrent, bucketUsed, bucketEvent, bucketEventOrder, bucketOpen, bucketBlob,
		bucketOperator, bucketOperatorKey, bucketDevice, bucketDeviceKey, bucketToken, bucketNewer, bucketAudit,
	}
	// added are buckets that files of format 1 did not have from the beginning; Open makes them.
	added = [][]byte{bucketNewer}
)

// Store is a store in one file. It is safe for concurrent use.
type Store struct {
	db    *bolt.DB
	path  string
	group *group

	mu     sync.Mutex
	broken error // guarded by mu: why no transaction is begun any more
}

var _ store.Store = (*Store)(nil)

// View implements store.Store.
func (s *Store) View(ctx context.Context, fn func(store.View) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.view(func(t *tx) error { return fn(t) })
}

func (s *Store) view(fn func(*tx) error) error {
	var b *bolt.Tx
	err := s.guard(func() (err error) {
		b, err = s.db.Begin(false)
		return err
	})
	if err != nil {
		return fileError(err, s.path)
	}
	defer func() { _ = s.guard(b.Rollback) }()
	return fn(&tx{s: s, b: b})
}

// Update implements store.Store.
func (s *Store) Update(ctx context.Context, fn func(store.Tx) error) error {
	return s.group.update(ctx, fn)
}

// Close implements store.Store. After a commit that panicked the file stays open and locked until the
// process ends, since bbolt may hold its own locks for ever.
func (s *Store) Close() error {
	if !s.group.close() || s.isBroken() {
		return nil
	}
	return fileError(s.guard(s.db.Close), s.path)
}

// fileError gives an error of bbolt or the file system its reason; nil stays nil.
func fileError(err error, path string) error {
	switch {
	case err == nil:
		return nil
	case reason.Of(err) != "":
		return err
	case errors.Is(err, bolterrors.ErrTimeout):
		return reason.Errorf(reason.Locked, "store %q: another process uses it", path).
			WithHint("stop the other countersignd, or use its socket")
	case errors.Is(err, bolterrors.ErrDatabaseNotOpen):
		return reason.Errorf(reason.Busy, "the store is closed")
	// bbolt wraps some errors as text only.
	case durable.IsFull(err), strings.Contains(err.Error(), syscall.ENOSPC.Error()), strings.Contains(err.Error(), syscall.EDQUOT.Error()):
		return reason.Errorf(reason.DiskFull, "store %q: %w", path, err)
	case errors.Is(err, fs.ErrPermission):
		return reason.Wrap(err, "store %q", path)
	}
	return reason.Errorf(reason.StateDamaged, "store %q: %w", path, err)
}
