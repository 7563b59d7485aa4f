package identity

import (
	"context"
	"encoding/hex"
	"errors"
	"slices"
	"time"

	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/enroll"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/repository/internal/audit"
	"github.com/countersign-ota/countersign/repository/internal/store"
)

// Lifetimes of tokens. A device's is used on a production line or by a technician who travels.
const (
	operatorTokenLife = 7 * 24 * time.Hour
	deviceTokenLife   = 30 * 24 * time.Hour
)

// Bounds of a request.
const (
	// MaxInvitedDevices is how many devices one call invites.
	MaxInvitedDevices = 1000
	maxRoles          = 16
)

const (
	operatorKind = enroll.Operator
	deviceKind   = enroll.Device
)

// InviteOperator makes a token for a person and grants roles. A person who was revoked may come back
// this way. The token is durable on return. Reasons: malformed, usage.
func (r *Registry) InviteOperator(ctx context.Context, actor, id string, roles []string, site string) (*pb.Token, error) {
	t, err := r.inviteOperator(ctx, actor, id, roles, site)
	if err != nil {
		r.audit.Refused(ctx, actor, "operator.invite", id, err)
		return nil, err
	}
	return t, nil
}

func (r *Registry) inviteOperator(ctx context.Context, actor, id string, roles []string, site string) (*pb.Token, error) {
	if err := CheckOperator(id); err != nil {
		return nil, err
	}
	if len(roles) == 0 || len(roles) > maxRoles {
		return nil, reason.Errorf(reason.UsageError, "an operator has 1 to %d roles, not %d", maxRoles, len(roles))
	}
	for _, role := range roles {
		if err := metadata.CheckID("role", role); err != nil {
			return nil, err
		}
	}
	if site != "" {
		if err := metadata.CheckID("site", site); err != nil {
			return nil, err
		}
	}
	var t *pb.Token
	err := r.store.Update(ctx, func(tx store.Tx) error {
		if err := store.Recovered(tx); err != nil {
			return err
		}
		rec, err := tx.Operator(id)
		if errors.Is(err, store.ErrNotFound) {
			rec, err = &pb.OperatorRecord{}, nil
		}
		if err != nil {
			return err
		}
		rec.Roles, rec.Site = slices.Compact(slices.Sorted(slices.Values(roles))), site
		rec.Revoked, rec.RevokeReason = false, ""
		if err := tx.PutOperator(id, rec); err != nil {
			return err
		}
		if t, err = r.putToken(tx, operatorKind, id, operatorTokenLife); err != nil {
			return err
		}
		return audit.Write(tx, audit.Entry(r.now(), actor, "operator.invite", id, "token "+t.GetId()))
	})
	if err != nil {
		return nil, err
	}
	return t, nil
}

// InviteDevices makes one token a device, in the order of ids. The tokens are durable on return, all
// or none. Reasons: malformed, usage, permission (a device is revoked).
func (r *Registry) InviteDevices(ctx context.Context, actor string, ids []string) ([]*pb.Token, error) {
	tokens, err := r.inviteDevices(ctx, actor, ids)
	if err != nil {
		r.audit.Refused(ctx, actor, "device.invite", firstOf(ids), err)
		return nil, err
	}
	return tokens, nil
}

func firstOf(ids []string) string {
	if len(ids) == 0 {
		return ""
	}
	return ids[0]
}

func (r *Registry) inviteDevices(ctx context.Context, actor string, ids []string) ([]*pb.Token, error) {
	if len(ids) == 0 || len(ids) > MaxInvitedDevices {
		return nil, reason.Errorf(reason.UsageError, "one call invites 1 to %d devices, not %d", MaxInvitedDevices, len(ids))
	}
	known := map[string]bool{}
	for _, id := range ids {
		if err := metadata.CheckID("device", id); err != nil {
			return nil, err
		}
		if known[id] {
			return nil, reason.Errorf(reason.UsageError, "device %s is named twice", id)
		}
		known[id] = true
	}
	var tokens []*pb.Token
	err := r.store.Update(ctx, func(tx store.Tx) error {
		tokens = nil
		if err := store.Recovered(tx); err != nil {
			return err
		}
		for _, id := range ids {
			rec, err := tx.Device(id)
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				return err
			}
			if rec.GetRevoked() {
				return reason.Errorf(reason.Permission, "device %s is revoked: %s", id, rec.GetRevokeReason())
			}
			t, err := r.putToken(tx, deviceKind, id, deviceTokenLife)
			if err != nil {
				return err
			}
			tokens = append(tokens, t)
			if err := audit.Write(tx, audit.Entry(r.now(), actor, "device.invite", id, "token "+t.GetId())); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return tokens, nil
}

// putToken stores a new token and removes those that were made for the same subject before.
func (r *Registry) putToken(tx store.Tx, kind enroll.Kind, subject string, life time.Duration) (*pb.Token, error) {
	if err := dropTokens(tx, string(kind), subject); err != nil {
		return nil, err
	}
	root, err := fingerprint(tx)
	if err != nil {
		return nil, err
	}
	rec := &pb.TokenRecord{
		Secret: randomBytes(enroll.SecretSize), Kind: string(kind), Subject: subject,
		Expires: r.now().Add(life).Unix(),
	}
	id := hex.EncodeToString(randomBytes(8))
	if err := tx.PutToken(id, rec); err != nil {
		return nil, err
	}
	return &pb.Token{
		Id: id, Subject: subject, Secret: rec.GetSecret(), Expires: rec.GetExpires(), Ca: r.ca.root.Raw,
		Server: r.server, Https: r.https, Deployment: r.ca.deployment, Root: root,
	}, nil
}

// dropTokens removes the tokens of a subject.
func dropTokens(tx store.Tx, kind, subject string) error {
	tokens, err := tx.Tokens()
	if err != nil {
		return err
	}
	for _, t := range tokens {
		if t.Record.GetKind() == kind && t.Record.GetSubject() == subject {
			if err := tx.DeleteToken(t.ID); err != nil {
				return err
			}
		}
	}
	return nil
}

// DropExpired removes tokens that have expired. It writes nothing when there is none.
func (r *Registry) DropExpired(ctx context.Context) error {
	now := r.now().Unix()
	var expired []string
	err := r.store.View(ctx, func(v store.View) error {
		expired = nil
		tokens, err := v.Tokens()
		for _, t := range tokens {
			if t.Record.GetExpires() < now {
				expired = append(expired, t.ID)
			}
		}
		return err
	})
	if err != nil || len(expired) == 0 {
		return err
	}
	return r.store.Update(ctx, func(tx store.Tx) error {
		for _, id := range expired {
			rec, err := tx.Token(id)
			if errors.Is(err, store.ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			if err := tx.DeleteToken(id); err != nil {
				return err
			}
			if err := audit.Write(tx, audit.Entry(r.now(), audit.Server, "token.expire", rec.GetKind()+"/"+rec.GetSubject(), "token "+id)); err != nil {
				return err
			}
		}
		return audit.Write(tx, audit.Entry(r.now(), audit.Server, "token.sweep", "", ""))
	})
}
