package bolt

import (
	"bytes"
	"errors"

	"google.golang.org/protobuf/proto"

	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/repository/internal/store"
)

// Audit implements store.Tx, as do the methods below.
func (t *tx) Audit(rec *pb.AuditRecord) (uint64, error) {
	seq, err := t.next(bucketAudit)
	if err != nil {
		return 0, err
	}
	if err := t.putRecord(bucketAudit, number(seq), rec); err != nil {
		return 0, err
	}
	t.audited = true
	return seq, nil
}

func (t *tx) SetMeta(key, value string) error {
	if err := store.CheckMeta(key); err != nil {
		return err
	}
	return t.put(bucketMeta, []byte(key), []byte(value))
}

func (t *tx) PutRole(r metadata.Repository, role string, version int64, rec *pb.RoleRecord) error {
	if err := store.CheckRole(r, role); err != nil {
		return err
	}
	current, err := t.current(r, role)
	if err != nil {
		return err
	}
	old := new(pb.RoleRecord)
	key := versionKey(r, role, version)
	found, err := t.record(bucketRole, key, old)
	if err != nil {
		return err
	}
	if !found {
		old = nil
	}
	write, err := store.PutRole(role, version, current, old, rec)
	if err != nil || !write {
		return err
	}
	if err := t.putRecord(bucketRole, key, rec); err != nil {
		return err
	}
	return t.put(bucketCurrent, roleKey(r, role), number(uint64(version)))
}

func (t *tx) PutUsed(r metadata.Repository, role string, rec *pb.UsedRecord) error {
	if err := store.CheckRole(r, role); err != nil {
		return err
	}
	old := new(pb.UsedRecord)
	if _, err := t.record(bucketUsed, roleKey(r, role), old); err != nil {
		return err
	}
	return t.putRecord(bucketUsed, roleKey(r, role), store.MergeUsed(old, rec))
}

func (t *tx) PutEvent(id store.EventID, rec *pb.EventRecord) error {
	order, err := t.orderOf(id, rec.GetOrder())
	if err != nil {
		return err
	}
	if order == 0 {
		if order, err = t.next(bucketEventOrder); err != nil {
			return err
		}
		if err := t.put(bucketEventOrder, number(order), bytes.Clone(id[:])); err != nil {
			return err
		}
	}
	rec.Order = order
	return t.putRecord(bucketEvent, id[:], rec)
}

// orderOf returns the order of a stored event, 0 if it is new. hint is where it probably is, which
// saves reading an event of many megabytes.
func (t *tx) orderOf(id store.EventID, hint uint64) (uint64, error) {
	if hint > 0 {
		at, err := t.get(bucketEventOrder, number(hint))
		if err != nil || bytes.Equal(at, id[:]) {
			return hint, err
		}
	}
	old := new(pb.EventRecord)
	_, err := t.record(bucketEvent, id[:], old)
	return old.GetOrder(), err
}

func (t *tx) SetOpen(r metadata.Repository, role string, id store.EventID) error {
	open, ok, err := t.OpenEvent(r, role)
	if err != nil {
		return err
	}
	if err := store.SetOpen(role, open, ok, id); err != nil {
		return err
	}
	return t.put(bucketOpen, roleKey(r, role), bytes.Clone(id[:]))
}

func (t *tx) ClearOpen(r metadata.Repository, role string) error {
	if err := store.CheckRole(r, role); err != nil {
		return err
	}
	return t.delete(bucketOpen, roleKey(r, role))
}

func (t *tx) PutBlob(sha256 [32]byte, rec *pb.BlobRecord) error {
	return t.putRecord(bucketBlob, sha256[:], rec)
}

func (t *tx) PutNewer(r metadata.Repository, role string, version int64, rec *pb.NewerRecord) error {
	if err := errors.Join(store.CheckRole(r, role), store.CheckVersion(role, version)); err != nil {
		return err
	}
	return t.putRecord(bucketNewer, versionKey(r, role, version), rec)
}

func (t *tx) DeleteNewer(r metadata.Repository, role string, version int64) error {
	if err := errors.Join(store.CheckRole(r, role), store.CheckVersion(role, version)); err != nil {
		return err
	}
	return t.delete(bucketNewer, versionKey(r, role, version))
}

func (t *tx) PutOperator(id string, rec *pb.OperatorRecord) error {
	old := new(pb.OperatorRecord)
	return t.putOwner(owner{bucketOperator, bucketOperatorKey, "operator", id}, old, rec, func() (before, after [][]byte) {
		return [][]byte{old.GetPublicKey(), old.GetNextPublicKey()}, [][]byte{rec.GetPublicKey(), rec.GetNextPublicKey()}
	})
}

func (t *tx) PutDevice(id string, rec *pb.DeviceRecord) error {
	old := new(pb.DeviceRecord)
	return t.putOwner(owner{bucketDevice, bucketDeviceKey, "device", id}, old, rec, func() (before, after [][]byte) {
		return [][]byte{old.GetPublicKey()}, [][]byte{rec.GetPublicKey()}
	})
}

// owner is a person or device, who is found by id and by key.
type owner struct {
	bucket, keyBucket []byte
	kind, id          string
}

// putOwner stores rec in place of old, which it reads, and makes the owner findable by the keys that
// rec has and no longer by others. It checks all before it writes.
func (t *tx) putOwner(o owner, old, rec proto.Message, keys func() (before, after [][]byte)) error {
	if err := store.CheckName(o.kind, o.id); err != nil {
		return err
	}
	if _, err := t.record(o.bucket, []byte(o.id), old); err != nil {
		return err
	}
	before, after := keys()
	for _, key := range after {
		if err := store.CheckSPKI(key); err != nil {
			return err
		}
		other, err := t.get(o.keyBucket, key)
		if err != nil {
			return err
		}
		if other != nil && string(other) != o.id {
			return store.KeyTwice(o.kind, o.id, string(other))
		}
	}
	for _, key := range before {
		if err := t.delete(o.keyBucket, key); err != nil {
			return err
		}
	}
	for _, key := range after {
		if len(key) == 0 {
			continue
		}
		if err := t.put(o.keyBucket, bytes.Clone(key), []byte(o.id)); err != nil {
			return err
		}
	}
	return t.putRecord(o.bucket, []byte(o.id), rec)
}

func (t *tx) PutToken(id string, rec *pb.TokenRecord) error {
	if err := store.CheckName("token", id); err != nil {
		return err
	}
	return t.putRecord(bucketToken, []byte(id), rec)
}

func (t *tx) DeleteToken(id string) error {
	return t.delete(bucketToken, []byte(id))
}
