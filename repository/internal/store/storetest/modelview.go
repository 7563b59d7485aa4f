package storetest

import (
	"bytes"
	"cmp"
	"iter"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/repository/internal/store"
)

// view implements store.View on a state.
type view struct{ s *state }

// find returns a copy of a record.
func find[K comparable, M proto.Message](records map[K]M, key K, what string, args ...any) (M, error) {
	rec, ok := records[key]
	if !ok {
		var none M
		return none, store.NotFound(what, args...)
	}
	return proto.Clone(rec).(M), nil
}

func (v *view) Meta(key string) (string, error) {
	value, ok := v.s.meta[key]
	if !ok {
		return "", store.NotFound("meta %q", key)
	}
	return value, nil
}

func (v *view) Current(r metadata.Repository, role string) (int64, *pb.RoleRecord, error) {
	if err := store.CheckRole(r, role); err != nil {
		return 0, nil, err
	}
	version, ok := v.s.current[roleKey{r, role}]
	if !ok {
		return 0, nil, store.NotFound("%s role %q", r, role)
	}
	rec, err := v.Role(r, role, version)
	return version, rec, err
}

func (v *view) Role(r metadata.Repository, role string, version int64) (*pb.RoleRecord, error) {
	if err := store.CheckRole(r, role); err != nil {
		return nil, err
	}
	return find(v.s.role, versionKey{roleKey{r, role}, version}, "%s role %q version %d", r, role, version)
}

func (v *view) Roles(r metadata.Repository) ([]store.RoleVersion, error) {
	if err := store.CheckRole(r, metadata.Root); err != nil {
		return nil, err
	}
	var roles []store.RoleVersion
	for k, version := range v.s.current {
		if k.r == r {
			roles = append(roles, store.RoleVersion{Role: k.role, Version: version})
		}
	}
	slices.SortFunc(roles, func(a, b store.RoleVersion) int { return strings.Compare(a.Role, b.Role) })
	return roles, nil
}

func (v *view) Used(r metadata.Repository, role string) (*pb.UsedRecord, error) {
	if err := store.CheckRole(r, role); err != nil {
		return nil, err
	}
	return find(v.s.used, roleKey{r, role}, "used versions of %s role %q", r, role)
}

func (v *view) Event(id store.EventID) (*pb.EventRecord, error) {
	return find(v.s.event, id, "event %s", id)
}

func (v *view) EventsByPrefix(prefix string, limit int) ([]store.EventID, error) {
	var ids []store.EventID
	for id := range v.s.event {
		if strings.HasPrefix(id.String(), prefix) {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b store.EventID) int { return bytes.Compare(a[:], b[:]) })
	return ids[:max(0, min(limit, len(ids)))], nil
}

func (v *view) Events(q store.EventQuery) iter.Seq2[store.Event, error] {
	return func(yield func(store.Event, error) bool) {
		open := make(map[store.EventID]bool)
		for _, id := range v.s.open {
			open[id] = true
		}
		var events []store.Event
		for id, rec := range v.s.event {
			if (q.All || open[id]) && (q.Before == 0 || rec.GetOrder() < q.Before) {
				events = append(events, store.Event{ID: id, Record: proto.Clone(rec).(*pb.EventRecord)})
			}
		}
		slices.SortFunc(events, func(a, b store.Event) int { return int(b.Record.GetOrder()) - int(a.Record.GetOrder()) })
		for _, e := range events {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func (v *view) OpenEvent(r metadata.Repository, role string) (store.EventID, bool, error) {
	if err := store.CheckRole(r, role); err != nil {
		return store.EventID{}, false, err
	}
	id, ok := v.s.open[roleKey{r, role}]
	return id, ok, nil
}

func (v *view) Blob(sha256 [32]byte) (*pb.BlobRecord, error) {
	return find(v.s.blob, sha256, "blob %x", sha256)
}

func (v *view) Blobs() iter.Seq2[store.Blob, error] {
	return func(yield func(store.Blob, error) bool) {
		sums := slices.SortedFunc(maps.Keys(v.s.blob), func(a, b [32]byte) int { return bytes.Compare(a[:], b[:]) })
		for _, sum := range sums {
			if !yield(store.Blob{SHA256: sum, Record: proto.Clone(v.s.blob[sum]).(*pb.BlobRecord)}, nil) {
				return
			}
		}
	}
}

func (v *view) Newer() ([]store.Newer, error) {
	var all []store.Newer
	for k, rec := range v.s.newer {
		all = append(all, store.Newer{Repository: k.r, Role: k.role, Version: k.version, Record: proto.Clone(rec).(*pb.NewerRecord)})
	}
	slices.SortFunc(all, func(a, b store.Newer) int {
		return cmp.Or(-strings.Compare(string(a.Repository), string(b.Repository)), strings.Compare(a.Role, b.Role), cmp.Compare(a.Version, b.Version))
	})
	return all, nil
}

func (v *view) Operator(id string) (*pb.OperatorRecord, error) {
	return find(v.s.operator, id, "operator %q", id)
}

func (v *view) OperatorByKey(spki []byte) (string, *pb.OperatorRecord, error) {
	for id, rec := range v.s.operator {
		if len(spki) > 0 && (bytes.Equal(rec.GetPublicKey(), spki) || bytes.Equal(rec.GetNextPublicKey(), spki)) {
			return id, proto.Clone(rec).(*pb.OperatorRecord), nil
		}
	}
	return "", nil, store.NotFound("operator with this key")
}

func (v *view) Operators() ([]store.Operator, error) {
	var all []store.Operator
	for _, id := range slices.Sorted(maps.Keys(v.s.operator)) {
		all = append(all, store.Operator{ID: id, Record: proto.Clone(v.s.operator[id]).(*pb.OperatorRecord)})
	}
	return all, nil
}

func (v *view) Device(id string) (*pb.DeviceRecord, error) {
	return find(v.s.device, id, "device %q", id)
}

func (v *view) DeviceByKey(spki []byte) (string, *pb.DeviceRecord, error) {
	for id, rec := range v.s.device {
		if len(spki) > 0 && bytes.Equal(rec.GetPublicKey(), spki) {
			return id, proto.Clone(rec).(*pb.DeviceRecord), nil
		}
	}
	return "", nil, store.NotFound("device with this key")
}

func (v *view) Devices() iter.Seq2[store.Device, error] {
	return func(yield func(store.Device, error) bool) {
		for _, id := range slices.Sorted(maps.Keys(v.s.device)) {
			if !yield(store.Device{ID: id, Record: proto.Clone(v.s.device[id]).(*pb.DeviceRecord)}, nil) {
				return
			}
		}
	}
}

func (v *view) Token(id string) (*pb.TokenRecord, error) {
	return find(v.s.token, id, "token %q", id)
}

func (v *view) Tokens() ([]store.Token, error) {
	var all []store.Token
	for _, id := range slices.Sorted(maps.Keys(v.s.token)) {
		all = append(all, store.Token{ID: id, Record: proto.Clone(v.s.token[id]).(*pb.TokenRecord)})
	}
	return all, nil
}

func (v *view) AuditLog(from uint64, limit int) ([]store.AuditEntry, error) {
	var entries []store.AuditEntry
	for i, rec := range v.s.audit {
		if seq := uint64(i + 1); seq >= from && len(entries) < limit {
			entries = append(entries, store.AuditEntry{Seq: seq, Record: proto.Clone(rec).(*pb.AuditRecord)})
		}
	}
	return entries, nil
}
