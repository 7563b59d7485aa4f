package identity

import (
	"errors"
	"strings"

	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/repository/internal/audit"
	"github.com/countersign-ota/countersign/repository/internal/store"
)

// revokedByRecovery is why somebody is revoked by Recover.
const revokedByRecovery = "revoked since the copy from which the server was restored"

// Recover changes people in the transaction of a recovery: it revokes those who were revoked since the
// copy, named "operator/ID" or "device/ID", and makes a token for each operator of invite, whose
// connection key may be newer than the copy. At least one operator must be able to call afterwards.
// Reasons: not-found, usage, permission.
func (r *Registry) Recover(tx store.Tx, actor string, revoke, invite []string) ([]*pb.Token, error) {
	for _, name := range revoke {
		if err := r.revokeLost(tx, actor, name); err != nil {
			return nil, err
		}
	}
	tokens := []*pb.Token{}
	for _, id := range invite {
		rec, err := tx.Operator(id)
		if errors.Is(err, store.ErrNotFound) {
			return nil, reason.Errorf(reason.NotFound, "operator %s is not known here", id)
		}
		if err != nil {
			return nil, err
		}
		if rec.GetRevoked() {
			return nil, reason.Errorf(reason.Permission, "operator %s is revoked: %s", id, rec.GetRevokeReason())
		}
		t, err := r.putToken(tx, operatorKind, id, operatorTokenLife)
		if err != nil {
			return nil, err
		}
		tokens = append(tokens, t)
		if err := audit.Write(tx, audit.Entry(r.now(), actor, "operator.invite", id, "token "+t.GetId())); err != nil {
			return nil, err
		}
	}
	return tokens, somebodyCalls(tx, invite)
}

func (r *Registry) revokeLost(tx store.Tx, actor, name string) error {
	kind, id, _ := strings.Cut(name, "/")
	if err := metadata.CheckID(kind, id); err != nil {
		return err
	}
	var err error
	switch kind {
	case string(operatorKind):
		var rec *pb.OperatorRecord
		if rec, err = tx.Operator(id); err == nil {
			rec.Revoked, rec.RevokeReason = true, revokedByRecovery
			rec.PublicKey, rec.NextPublicKey = nil, nil
			err = tx.PutOperator(id, rec)
		}
	case string(deviceKind):
		var rec *pb.DeviceRecord
		if rec, err = tx.Device(id); err == nil {
			rec.Revoked, rec.RevokeReason = true, revokedByRecovery
			err = tx.PutDevice(id, rec)
		}
	default:
		return reason.Errorf(reason.UsageError, "%q: want operator/ID or device/ID", name)
	}
	if errors.Is(err, store.ErrNotFound) {
		return reason.Errorf(reason.NotFound, "%s is not known here", name)
	}
	if err != nil {
		return err
	}
	return audit.Write(tx, audit.Entry(r.now(), actor, kind+".revoke", id, revokedByRecovery))
}

// somebodyCalls refuses a state in which nobody can let anybody in.
func somebodyCalls(v store.View, invited []string) error {
	if len(invited) > 0 {
		return nil
	}
	all, err := v.Operators()
	if err != nil {
		return err
	}
	for _, o := range all {
		if !o.Record.GetRevoked() && len(o.Record.GetPublicKey()) > 0 {
			return nil
		}
	}
	return reason.Errorf(reason.Permission, "no operator could call the server any more").
		WithHint("make a token for one: countersignd recover --invite ID")
}
