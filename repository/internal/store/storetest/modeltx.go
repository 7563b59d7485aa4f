package storetest

import (
	"errors"

	"google.golang.org/protobuf/proto"

	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/repository/internal/store"
)

// tx implements store.Tx on a state of its own.
type tx struct {
	view
	audited bool
}

var _ store.Tx = (*tx)(nil)

func (t *tx) Audit(rec *pb.AuditRecord) (uint64, error) {
	t.s.audit = append(t.s.audit, proto.Clone(rec).(*pb.AuditRecord))
	t.audited = true
	return uint64(len(t.s.audit)), nil
}

func (t *tx) SetMeta(key, value string) error {
	if err := store.CheckMeta(key); err != nil {
		return err
	}
	t.s.meta[key] = value
	return nil
}

func (t *tx) PutRole(r metadata.Repository, role string, version int64, rec *pb.RoleRecord) error {
	if err := store.CheckRole(r, role); err != nil {
		return err
	}
	k := roleKey{r, role}
	write, err := store.PutRole(role, version, t.s.current[k], t.s.role[versionKey{k, version}], rec)
	if err != nil || !write {
		return err
	}
	t.s.role[versionKey{k, version}] = proto.Clone(rec).(*pb.RoleRecord)
	t.s.current[k] = version
	return nil
}

func (t *tx) PutUsed(r metadata.Repository, role string, rec *pb.UsedRecord) error {
	if err := store.CheckRole(r, role); err != nil {
		return err
	}
	k := roleKey{r, role}
	t.s.used[k] = store.MergeUsed(t.s.used[k], rec)
	return nil
}

func (t *tx) PutEvent(id store.EventID, rec *pb.EventRecord) error {
	if old, ok := t.s.event[id]; ok {
		rec.Order = old.GetOrder()
	} else {
		t.s.orders++
		rec.Order = t.s.orders
	}
	t.s.event[id] = proto.Clone(rec).(*pb.EventRecord)
	return nil
}

func (t *tx) SetOpen(r metadata.Repository, role string, id store.EventID) error {
	open, ok, err := t.OpenEvent(r, role)
	if err != nil {
		return err
	}
	if err := store.SetOpen(role, open, ok, id); err != nil {
		return err
	}
	t.s.open[roleKey{r, role}] = id
	return nil
}

func (t *tx) ClearOpen(r metadata.Repository, role string) error {
	if err := store.CheckRole(r, role); err != nil {
		return err
	}
	delete(t.s.open, roleKey{r, role})
	return nil
}

func (t *tx) PutBlob(sha256 [32]byte, rec *pb.BlobRecord) error {
	t.s.blob[sha256] = proto.Clone(rec).(*pb.BlobRecord)
	return nil
}

func (t *tx) PutNewer(r metadata.Repository, role string, version int64, rec *pb.NewerRecord) error {
	if err := errors.Join(store.CheckRole(r, role), store.CheckVersion(role, version)); err != nil {
		return err
	}
	t.s.newer[versionKey{roleKey{r, role}, version}] = proto.Clone(rec).(*pb.NewerRecord)
	return nil
}

func (t *tx) DeleteNewer(r metadata.Repository, role string, version int64) error {
	if err := errors.Join(store.CheckRole(r, role), store.CheckVersion(role, version)); err != nil {
		return err
	}
	delete(t.s.newer, versionKey{roleKey{r, role}, version})
	return nil
}

func (t *tx) PutOperator(id string, rec *pb.OperatorRecord) error {
	if err := store.CheckName("operator", id); err != nil {
		return err
	}
	for _, key := range [][]byte{rec.GetPublicKey(), rec.GetNextPublicKey()} {
		if err := store.CheckSPKI(key); err != nil {
			return err
		}
		if owner, _, err := t.OperatorByKey(key); err == nil && owner != id {
			return store.KeyTwice("operator", id, owner)
		}
	}
	t.s.operator[id] = proto.Clone(rec).(*pb.OperatorRecord)
	return nil
}

func (t *tx) PutDevice(id string, rec *pb.DeviceRecord) error {
	if err := store.CheckName("device", id); err != nil {
		return err
	}
	if err := store.CheckSPKI(rec.GetPublicKey()); err != nil {
		return err
	}
	if owner, _, err := t.DeviceByKey(rec.GetPublicKey()); err == nil && owner != id {
		return store.KeyTwice("device", id, owner)
	}
	t.s.device[id] = proto.Clone(rec).(*pb.DeviceRecord)
	return nil
}

func (t *tx) PutToken(id string, rec *pb.TokenRecord) error {
	if err := store.CheckName("token", id); err != nil {
		return err
	}
	t.s.token[id] = proto.Clone(rec).(*pb.TokenRecord)
	return nil
}

func (t *tx) DeleteToken(id string) error {
	delete(t.s.token, id)
	return nil
}
