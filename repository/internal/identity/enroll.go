package identity

import (
	"context"
	"crypto"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"time"

	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/enroll"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/repository/internal/audit"
	"github.com/countersign-ota/countersign/repository/internal/store"
)

// Request asks for a certificate with a token. Its fields come from a stranger.
type Request struct {
	Kind enroll.Kind
	// ID of the operator or device.
	ID string
	// PublicKey is DER SubjectPublicKeyInfo.
	PublicKey []byte
	TokenID   string
	MAC       []byte
}

// Enroll exchanges a token for a certificate and puts the key in force, durably. The same token with
// the same key is answered again until the token expires, as long as that key is in force, so an
// answer lost on the way costs nothing. It returns the certificate, the intermediate above it (each
// DER) and the roles of an operator. Reasons: malformed, key-malformed, key-twice, permission,
// token-invalid.
func (r *Registry) Enroll(ctx context.Context, q Request) (certs [][]byte, roles []string, err error) {
	certs, roles, err = r.enroll(ctx, q)
	if err != nil {
		r.audit.Refused(ctx, audit.Anonymous, string(q.Kind)+".enroll", q.ID, err)
		return nil, nil, err
	}
	return certs, roles, nil
}

func (r *Registry) enroll(ctx context.Context, q Request) ([][]byte, []string, error) {
	pub, err := q.check()
	if err != nil {
		return nil, nil, err
	}
	// First without writing: a stranger with a wrong token costs no transaction of changes.
	var again bool
	var roles []string
	if err := r.store.View(ctx, func(v store.View) error {
		if _, err := r.token(v, q); err != nil {
			return err
		}
		if err := store.Recovered(v); err != nil { // recovery voids the token
			return err
		}
		var err error
		again, roles, err = inForce(v, q)
		return err
	}); err != nil {
		return nil, nil, err
	}
	if !again {
		if err := r.store.Update(ctx, func(tx store.Tx) error {
			rec, err := r.token(tx, q)
			if err != nil {
				return err
			}
			if err := store.Recovered(tx); err != nil {
				return err
			}
			if again, roles, err = inForce(tx, q); err != nil || again {
				return keepTransaction(tx, r.now(), q, err)
			}
			rec.UsedBy = q.PublicKey
			if err := tx.PutToken(q.TokenID, rec); err != nil {
				return err
			}
			roles, err = r.putKey(tx, q)
			return err
		}); err != nil {
			return nil, nil, err
		}
	}
	certs, err := r.ca.Issue(q.Kind, q.ID, pub)
	return certs, roles, err
}

// keepTransaction gives a transaction in which another call was faster its entry.
func keepTransaction(tx store.Tx, now time.Time, q Request, err error) error {
	if err != nil {
		return err
	}
	return audit.Write(tx, audit.Entry(now, string(q.Kind)+"/"+q.ID, string(q.Kind)+".enroll", q.ID, "again"))
}

func (q Request) check() (crypto.PublicKey, error) {
	if err := q.Kind.Check(); err != nil {
		return nil, err
	}
	if err := metadata.CheckID(string(q.Kind), q.ID); err != nil {
		return nil, err
	}
	if b, err := hex.DecodeString(q.TokenID); err != nil || len(b) != 8 {
		return nil, reason.Errorf(reason.Malformed, "token id %q is not 16 hex digits", q.TokenID)
	}
	if len(q.MAC) != sha256.Size {
		return nil, reason.Errorf(reason.Malformed, "mac has %d bytes, want %d", len(q.MAC), sha256.Size)
	}
	return ParseSPKI(q.PublicKey)
}

// token returns the record of the token that the request proves to know, if it is still good for it.
// Who cannot make the MAC learns nothing else.
func (r *Registry) token(v store.View, q Request) (*pb.TokenRecord, error) {
	rec, err := v.Token(q.TokenID)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	if !enroll.VerifyMAC(rec.GetSecret(), q.Kind, q.ID, q.PublicKey, q.MAC) || len(rec.GetSecret()) != enroll.SecretSize {
		return nil, reason.Errorf(reason.TokenInvalid, "token %s is not known here, or not for this key of %s %s", q.TokenID, q.Kind, q.ID).
			WithHint("ask for a new one: countersign %s invite %s", q.Kind, q.ID)
	}
	switch {
	case rec.GetKind() != string(q.Kind) || rec.GetSubject() != q.ID:
		return nil, reason.Errorf(reason.TokenInvalid, "token %s is for %s %s, not for %s %s", q.TokenID, rec.GetKind(), rec.GetSubject(), q.Kind, q.ID)
	case r.now().Unix() >= rec.GetExpires():
		return nil, reason.Errorf(reason.TokenInvalid, "token %s expired at %s", q.TokenID, time.Unix(rec.GetExpires(), 0).UTC().Format(time.RFC3339)).
			WithHint("ask for a new one: countersign %s invite %s", q.Kind, q.ID)
	case len(rec.GetUsedBy()) > 0 && string(rec.GetUsedBy()) != string(q.PublicKey):
		return nil, reason.Errorf(reason.TokenInvalid, "token %s was used by another key; if that was not you, somebody else has it", q.TokenID).
			WithHint("ask for a new one: countersign %s invite %s", q.Kind, q.ID)
	}
	return rec, nil
}

// inForce says whether the token was used by this key before and the key is still in force. A used
// token whose key was replaced since is refused: it must not bring the old key back.
func inForce(v store.View, q Request) (again bool, roles []string, err error) {
	t, err := v.Token(q.TokenID)
	if err != nil {
		return false, nil, err
	}
	var key []byte
	if q.Kind == enroll.Operator {
		rec, err := v.Operator(q.ID)
		if err != nil {
			return false, nil, err
		}
		if rec.GetRevoked() {
			return false, nil, reason.Errorf(reason.Permission, "operator %s is revoked: %s", q.ID, rec.GetRevokeReason())
		}
		key, roles = rec.GetPublicKey(), rec.GetRoles()
	} else {
		rec, err := v.Device(q.ID)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return false, nil, err
		}
		if rec.GetRevoked() {
			return false, nil, reason.Errorf(reason.Permission, "device %s is revoked: %s", q.ID, rec.GetRevokeReason())
		}
		key = rec.GetPublicKey()
	}
	if len(t.GetUsedBy()) == 0 {
		return false, nil, nil
	}
	if string(key) != string(q.PublicKey) {
		return false, nil, reason.Errorf(reason.TokenInvalid, "token %s was used, and its key replaced since", q.TokenID)
	}
	return true, roles, nil
}

// putKey puts the key in force and writes the entry.
func (r *Registry) putKey(tx store.Tx, q Request) (roles []string, err error) {
	if err := unusedKey(tx, q); err != nil {
		return nil, err
	}
	now, detail := r.now(), "first key"
	if q.Kind == enroll.Operator {
		rec, err := tx.Operator(q.ID)
		if err != nil {
			return nil, err
		}
		if len(rec.GetPublicKey()) > 0 {
			detail = "replaces its key"
		}
		rec.PublicKey, rec.NextPublicKey = q.PublicKey, nil
		rec.EnrolledAt, rec.LastSeen = now.Unix(), now.Unix()
		if err := tx.PutOperator(q.ID, rec); err != nil {
			return nil, err
		}
		roles = rec.GetRoles()
	} else {
		rec, err := tx.Device(q.ID)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, err
		}
		if len(rec.GetPublicKey()) > 0 {
			detail = "replaces its key"
		}
		if err := tx.PutDevice(q.ID, &pb.DeviceRecord{PublicKey: q.PublicKey, EnrolledAt: now.Unix()}); err != nil {
			return nil, err
		}
	}
	actor := string(q.Kind) + "/" + q.ID
	return roles, audit.Write(tx, audit.Entry(now, actor, string(q.Kind)+".enroll", q.ID, detail+", token "+q.TokenID))
}

// unusedKey refuses a key that names somebody else: one key is one operator or one device.
func unusedKey(v store.View, q Request) error {
	id, _, err := v.DeviceByKey(q.PublicKey)
	if err == nil && (q.Kind != enroll.Device || id != q.ID) {
		return reason.Errorf(reason.KeyTwice, "the public key is another device's")
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	id, _, err = v.OperatorByKey(q.PublicKey)
	if err == nil && (q.Kind != enroll.Operator || id != q.ID) {
		return reason.Errorf(reason.KeyTwice, "the public key is another operator's")
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	return nil
}
