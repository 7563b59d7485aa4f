package publish

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	controlpb "github.com/countersign-ota/countersign/proto/countersign/control/v1"
	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/repository/internal/audit"
	"github.com/countersign-ota/countersign/repository/internal/store"
)

func sortedSet(s []string) []string { return slices.Compact(slices.Sorted(slices.Values(s))) }

// sortTaken puts files into the order in which they can be published one by one.
func sortTaken(taken []fate) {
	slices.SortStableFunc(taken, func(a, b fate) int {
		_, x, _ := metadata.SplitRole(a.Role) // read before
		_, y, _ := metadata.SplitRole(b.Role)
		root := func(f fate) int {
			if f.Role == metadata.Root {
				return 0
			}
			return 1
		}
		return cmp.Or(cmp.Compare(root(a), root(b)), cmp.Compare(x, y), cmp.Compare(a.Repository, b.Repository),
			cmp.Compare(a.Role, b.Role), cmp.Compare(a.version, b.version))
	})
}

// importRoles publishes what was taken.
func (r *recovery) importRoles(tx store.Tx) error {
	events := r.publishedEvents(tx)
	for _, f := range r.taken {
		rec := &pb.RoleRecord{Data: f.Data, Digest: f.digest[:], PublishedAt: r.now.Unix(), Expires: f.expires}
		if id, ok := events[content{f.place(), f.digest}]; ok {
			rec.Event = id[:]
		}
		if err := tx.PutRole(f.Repository, f.Role, f.version, rec); err != nil {
			return err
		}
		if err := audit.Write(tx, audit.Entry(r.now, r.by, "role.import", fmt.Sprintf("%s %d", roleName(f.Repository, f.Role), f.version),
			fmt.Sprintf("from %s, content %x", f.From, f.digest))); err != nil {
			return err
		}
	}
	return nil
}

// useUp skips versions and counters of all roles under people's keys but root, those of bins that no
// file is in yet included: a device may have seen what nobody has shown.
func (r *recovery) useUp(tx store.Tx) error {
	roles, err := tx.Roles(metadata.Image)
	if err != nil {
		return err
	}
	for _, role := range roles {
		product, kind, err := metadata.SplitRole(role.Role)
		if err != nil {
			return err
		}
		if kind == metadata.RoleTop && role.Role != metadata.Targets {
			continue
		}
		var counter int64
		if kind == metadata.RoleProduct {
			if counter, err = r.skipBins(tx, product, role.Version); err != nil {
				return err
			}
		}
		if err := skipRole(tx, role.Role, role.Version, counter); err != nil {
			return err
		}
	}
	return nil
}

// skipBins skips versions of the bins of a product that have no file, and returns its highest counter.
func (r *recovery) skipBins(tx store.Tx, product string, version int64) (counter int64, err error) {
	rec, err := tx.Role(metadata.Image, product, version)
	if err != nil {
		return 0, err
	}
	f, err := r.p.cache.Targets(rec.GetData())
	if err != nil {
		return 0, err
	}
	high, err := metadata.ParseHigh(f.Signed.UnrecognizedFields[metadata.HighField])
	if err != nil {
		return 0, err
	}
	if f.Signed.Delegations == nil || f.Signed.Delegations.SuccinctRoles == nil {
		return high.Counter, nil
	}
	for _, bin := range metadata.Bins(f.Signed.Delegations.SuccinctRoles) {
		_, _, err := tx.Current(metadata.Image, bin)
		if errors.Is(err, store.ErrNotFound) {
			err = skipRole(tx, bin, 0, 0)
		}
		if err != nil {
			return 0, err
		}
	}
	return high.Counter, nil
}

// skipRole uses up the versions of one role, and the counters of a product.
func skipRole(tx store.Tx, role string, version, counter int64) error {
	used, err := tx.Used(metadata.Image, role)
	if missing(err) != nil {
		return err
	}
	rec := &pb.UsedRecord{Version: min(max(version, used.GetVersion())+skip, metadata.MaxVersion)}
	if _, kind, err := metadata.SplitRole(role); err == nil && kind == metadata.RoleProduct {
		rec.Counter = min(max(counter, used.GetCounter())+skip, metadata.MaxVersion)
	}
	return tx.PutUsed(metadata.Image, role, rec)
}

// signOnline publishes the new snapshot and timestamp, or notes why it cannot.
func (r *recovery) signOnline(tx store.Tx) error {
	if r.unsigned != "" {
		return tx.SetMeta(store.MetaUnsigned, r.unsigned)
	}
	return r.p.putOnlineFiles(tx, r.online, r.now)
}

// markMissing marks what roles in force name and what is not here. A download of it says so, and an
// upload heals it.
func (r *recovery) markMissing(tx store.Tx) error {
	for _, f := range r.named {
		rec, err := tx.Blob(f.SHA256)
		if missing(err) != nil {
			return err
		}
		length, complete, err := r.p.Blobs.Status(f.SHA256)
		if err != nil {
			return err
		}
		if complete = complete && (f.Length == 0 || f.Length == length); complete {
			if !rec.GetComplete() {
				err = tx.PutBlob(f.SHA256, &pb.BlobRecord{Length: length, Complete: true})
			}
		} else {
			r.plan.Missing = append(r.plan.Missing, f.Path+" "+hex.EncodeToString(f.SHA256[:]))
			err = tx.PutBlob(f.SHA256, &pb.BlobRecord{Length: max(f.Length, rec.GetLength()), Missing: true})
			if err == nil && !rec.GetMissing() {
				err = audit.Write(tx, audit.Entry(r.now, r.by, "blob.missing", f.Path, hex.EncodeToString(f.SHA256[:])))
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// voidTokens removes all enrolment tokens: who has used or lost one since the copy is not known.
func (r *recovery) voidTokens(tx store.Tx) error {
	tokens, err := tx.Tokens()
	if err != nil {
		return err
	}
	r.plan.Tokens = int32(len(tokens)) //nolint:gosec // there are not so many
	for _, t := range tokens {
		if err := tx.DeleteToken(t.ID); err != nil {
			return err
		}
	}
	if len(tokens) == 0 {
		return nil
	}
	return audit.Write(tx, audit.Entry(r.now, r.by, "token.void", "", fmt.Sprintf("%d tokens", len(tokens))))
}

func (r *recovery) changePeople(tx store.Tx) error {
	if r.people == nil {
		return nil
	}
	return r.people(tx)
}

// list fills in what the plan shows of roles and people as they are.
func (r *recovery) list() error {
	return r.p.Store.View(r.ctx, func(v store.View) error {
		r.plan.Roles, r.plan.Subjects = nil, nil
		if err := r.listRoles(v); err != nil {
			return err
		}
		operators, err := v.Operators()
		if err != nil {
			return err
		}
		for _, o := range operators {
			r.plan.Subjects = append(r.plan.Subjects, &controlpb.RecoverySubject{
				Name: "operator/" + o.ID, Revoked: o.Record.GetRevoked(), EnrolledAt: o.Record.GetEnrolledAt(),
			})
		}
		for d, err := range v.Devices() {
			if err != nil {
				return err
			}
			r.plan.Subjects = append(r.plan.Subjects, &controlpb.RecoverySubject{
				Name: "device/" + d.ID, Revoked: d.Record.GetRevoked(), EnrolledAt: d.Record.GetEnrolledAt(),
			})
		}
		return nil
	})
}

func (r *recovery) listRoles(v store.View) error {
	lines := map[rolePlace]*controlpb.RecoveryRole{}
	for _, repository := range []metadata.Repository{metadata.Image, metadata.Director} {
		roles, err := v.Roles(repository)
		if err != nil {
			return err
		}
		for _, role := range roles {
			if role.Role != metadata.Snapshot && role.Role != metadata.Timestamp {
				lines[rolePlace{repository, role.Role}] = &controlpb.RecoveryRole{
					Repository: string(repository), Role: role.Role, Here: role.Version, Newest: role.Version,
				}
			}
		}
	}
	for _, f := range r.taken {
		line := lines[f.place()]
		if line == nil {
			line = &controlpb.RecoveryRole{Repository: string(f.Repository), Role: f.Role}
			lines[f.place()] = line
		}
		if f.version > line.GetNewest() {
			line.Newest, line.From = f.version, f.From
		}
	}
	for _, line := range lines {
		r.plan.Roles = append(r.plan.Roles, line)
	}
	slices.SortFunc(r.plan.Roles, func(a, b *controlpb.RecoveryRole) int {
		return cmp.Or(-cmp.Compare(a.GetRepository(), b.GetRepository()), cmp.Compare(a.GetRole(), b.GetRole()))
	})
	return nil
}
