package identity

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"sync"
	"time"

	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/repository/internal/audit"
	"github.com/countersign-ota/countersign/repository/internal/store"
)

// maxReason bounds the reason of a revocation, in bytes.
const maxReason = 1024

// Registry keeps operators, devices and their tokens. It is safe for concurrent use.
type Registry struct {
	store store.Store
	ca    *Authority
	audit *audit.Recorder
	now   func() time.Time
	// server and https are the addresses that token files name.
	server, https string

	mu   sync.Mutex
	seen map[string]time.Time // operators since the start, by id; guarded by mu
}

// NewRegistry returns the registry over s. server (host:port) and https (URL) go into token files.
func NewRegistry(s store.Store, ca *Authority, rec *audit.Recorder, now func() time.Time, server, https string) *Registry {
	return &Registry{store: s, ca: ca, audit: rec, now: now, server: server, https: https, seen: map[string]time.Time{}}
}

func (r *Registry) saw(operator string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen[operator] = r.now()
}

// Operators returns all operators, by id.
func (r *Registry) Operators(ctx context.Context) ([]*pb.Operator, error) {
	var all []*pb.Operator
	err := r.store.View(ctx, func(v store.View) error {
		all = nil
		ops, err := v.Operators()
		if err != nil {
			return err
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, o := range ops {
			last := o.Record.GetLastSeen()
			if t, ok := r.seen[o.ID]; ok {
				last = max(last, t.Unix())
			}
			all = append(all, &pb.Operator{
				Id: o.ID, Roles: o.Record.GetRoles(), Site: o.Record.GetSite(),
				Revoked: o.Record.GetRevoked(), Reason: o.Record.GetRevokeReason(), LastSeen: last,
			})
		}
		return nil
	})
	return all, err
}

// Revoke refuses an operator from the next call on, and voids the tokens that were made for them. The
// last operator who can still call is not revoked, since nobody could invite another. The change is
// durable on return. Reasons: not-found, permission, usage, recover-first.
func (r *Registry) Revoke(ctx context.Context, actor, id, why string) error {
	err := r.revoke(ctx, actor, id, why)
	if err != nil {
		r.audit.Refused(ctx, actor, "operator.revoke", id, err)
	}
	return err
}

func (r *Registry) revoke(ctx context.Context, actor, id, why string) error {
	if err := metadata.CheckID("operator", id); err != nil {
		return err
	}
	if why == "" || len(why) > maxReason {
		return reason.Errorf(reason.UsageError, "a revocation wants a reason of 1 to %d bytes, this has %d", maxReason, len(why))
	}
	return r.store.Update(ctx, func(tx store.Tx) error {
		// Whoever was revoked since the copy was made may not revoke the others; recovery asks for names.
		if err := store.Recovered(tx); err != nil {
			return err
		}
		ops, err := tx.Operators()
		if err != nil {
			return err
		}
		var target *pb.OperatorRecord
		others := 0
		for _, o := range ops {
			if o.ID == id {
				target = o.Record
			} else if !o.Record.GetRevoked() && len(o.Record.GetPublicKey()) > 0 {
				others++
			}
		}
		switch {
		case target == nil:
			return reason.Errorf(reason.NotFound, "operator %s is not known here", id)
		case target.GetRevoked():
			return audit.Write(tx, audit.Entry(r.now(), actor, "operator.revoke", id, "was revoked already: "+why))
		case others == 0:
			return reason.Errorf(reason.Permission, "%s is the last operator who can call; have another log in first", id).
				WithHint("countersign operator invite")
		}
		target.Revoked, target.RevokeReason = true, why
		target.PublicKey, target.NextPublicKey = nil, nil
		if err := tx.PutOperator(id, target); err != nil {
			return err
		}
		if err := dropTokens(tx, string(operatorKind), id); err != nil {
			return err
		}
		return audit.Write(tx, audit.Entry(r.now(), actor, "operator.revoke", id, why))
	})
}

// promote puts the key that Renew certified in force.
func (r *Registry) promote(ctx context.Context, id string, spki []byte) error {
	return r.store.Update(ctx, func(tx store.Tx) error {
		rec, err := tx.Operator(id)
		if err != nil {
			return err
		}
		if string(rec.GetNextPublicKey()) != string(spki) {
			return audit.Write(tx, audit.Entry(r.now(), "operator/"+id, "operator.key", id, "in force already"))
		}
		rec.PublicKey, rec.NextPublicKey = spki, nil
		if err := tx.PutOperator(id, rec); err != nil {
			return err
		}
		return audit.Write(tx, audit.Entry(r.now(), "operator/"+id, "operator.key", id, "renewed"))
	})
}

// Fingerprint returns the fingerprint of image root 1, hex, or "" before there is one.
func fingerprint(v store.View) (string, error) {
	rec, err := v.Role(metadata.Image, metadata.Root, 1)
	if errors.Is(err, store.ErrNotFound) {
		return "", nil
	}
	return hex.EncodeToString(rec.GetDigest()), err
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails: crypto/rand ends the process instead
	return b
}
