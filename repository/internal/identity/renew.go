package identity

import (
	"context"

	"github.com/countersign-ota/countersign/proto/enroll"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/repository/internal/audit"
	"github.com/countersign-ota/countersign/repository/internal/store"
)

// Renew certifies a new connection key for the calling operator. The key in force stays so until the
// new one makes its first call. Reasons: key-malformed, key-twice, permission.
func (r *Registry) Renew(ctx context.Context, c Caller, spki []byte) ([][]byte, error) {
	certs, err := r.renew(ctx, c, spki)
	if err != nil {
		r.audit.Refused(ctx, c.String(), "operator.renew", c.ID, err)
		return nil, err
	}
	return certs, nil
}

func (r *Registry) renew(ctx context.Context, c Caller, spki []byte) ([][]byte, error) {
	if c.Kind != enroll.Operator {
		return nil, reason.Errorf(reason.Permission, "%s is no operator", c)
	}
	pub, err := ParseSPKI(spki)
	if err != nil {
		return nil, err
	}
	err = r.store.Update(ctx, func(tx store.Tx) error {
		rec, err := tx.Operator(c.ID)
		if err != nil {
			return err
		}
		if rec.GetRevoked() {
			return reason.Errorf(reason.Permission, "operator %s is revoked: %s", c.ID, rec.GetRevokeReason())
		}
		if err := unusedKey(tx, Request{Kind: enroll.Operator, ID: c.ID, PublicKey: spki}); err != nil {
			return err
		}
		if rec.NextPublicKey = spki; string(spki) == string(rec.GetPublicKey()) {
			rec.NextPublicKey = nil
		}
		rec.LastSeen = r.now().Unix()
		if err := tx.PutOperator(c.ID, rec); err != nil {
			return err
		}
		return audit.Write(tx, audit.Entry(r.now(), c.String(), "operator.renew", c.ID, ""))
	})
	if err != nil {
		return nil, err
	}
	return r.ca.Issue(enroll.Operator, c.ID, pub)
}
