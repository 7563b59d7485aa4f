package identity

import (
	"context"
	"crypto/x509"
	"errors"
	"time"

	"github.com/countersign-ota/countersign/proto/enroll"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/repository/internal/audit"
	"github.com/countersign-ota/countersign/repository/internal/store"
)

// Caller is who makes a call. The zero Caller showed no certificate.
type Caller struct {
	// Kind is empty for a caller that proved nothing.
	Kind enroll.Kind
	ID   string
	// Roles of an operator.
	Roles []string
	// Expires is when the certificate does.
	Expires time.Time
	// Err says why a certificate that was shown is not taken. Methods for anybody do not mind.
	Err error
}

// String returns how the audit log names the caller: "operator/rivera", "anonymous".
func (c Caller) String() string {
	if c.Kind == "" {
		return audit.Anonymous
	}
	return string(c.Kind) + "/" + c.ID
}

// Caller judges the certificates that a peer showed and proved to hold the key of, leaf first. The
// record is read at every call, so a revocation acts on the next one. The error is of the store alone;
// what is wrong with the certificate is in Caller.Err.
func (r *Registry) Caller(ctx context.Context, certs []*x509.Certificate) (Caller, error) {
	if len(certs) == 0 {
		return Caller{}, nil
	}
	leaf := certs[0]
	c := Caller{Expires: leaf.NotAfter}
	var promote bool
	err := r.store.View(ctx, func(v store.View) error {
		known, err := r.deviceCaller(v, leaf, &c)
		if known || err != nil {
			return err
		}
		promote, err = r.operatorCaller(v, leaf, &c)
		return err
	})
	if err != nil {
		return Caller{}, err
	}
	if promote {
		if err := r.promote(ctx, c.ID, leaf.RawSubjectPublicKeyInfo); err != nil {
			return Caller{}, err
		}
	}
	return c, nil
}

// deviceCaller fills in c if the public key is a device's.
func (r *Registry) deviceCaller(v store.View, leaf *x509.Certificate, c *Caller) (bool, error) {
	id, rec, err := v.DeviceByKey(leaf.RawSubjectPublicKeyInfo)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if rec.GetRevoked() {
		c.Err = reason.Errorf(reason.Permission, "device %s is revoked: %s", id, rec.GetRevokeReason())
		return true, nil
	}
	c.Kind, c.ID = enroll.Device, id
	return true, nil
}

// operatorCaller fills in c from an operator's certificate. promote is true when the key is the one
// that Renew certified and this is its first call.
func (r *Registry) operatorCaller(v store.View, leaf *x509.Certificate, c *Caller) (promote bool, err error) {
	kind, id, ok := subjectOf(r.ca.deployment, leaf)
	switch {
	case !ok:
		c.Err = reason.Errorf(reason.Permission, "the certificate is for nobody of deployment %s", r.ca.deployment)
		return false, nil
	case kind == enroll.Device:
		c.Err = reason.Errorf(reason.Permission, "the key of device %s is not known here", id).
			WithHint("countersign device invite %s", id)
		return false, nil
	}
	if err := r.ca.verifyOperator(leaf); err != nil {
		c.Err = err
		return false, nil //nolint:nilerr // the caller's fault, not the store's
	}
	rec, err := v.Operator(id)
	if errors.Is(err, store.ErrNotFound) {
		c.Err = reason.Errorf(reason.Permission, "operator %s is not known here", id)
		return false, nil
	}
	if err != nil {
		return false, err
	}
	key := string(leaf.RawSubjectPublicKeyInfo)
	switch {
	case rec.GetRevoked():
		c.Err = reason.Errorf(reason.Permission, "operator %s is revoked: %s", id, rec.GetRevokeReason())
		return false, nil
	case key == string(rec.GetNextPublicKey()):
		promote = true
	case key != string(rec.GetPublicKey()):
		c.Err = reason.Errorf(reason.Permission, "the certificate of operator %s was replaced by a later one", id).
			WithHint("countersign login")
		return false, nil
	}
	c.Kind, c.ID, c.Roles = enroll.Operator, id, rec.GetRoles()
	r.saw(id)
	return promote, nil
}
