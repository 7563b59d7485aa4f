package bolt

import (
	"encoding/hex"
	"iter"
	"strings"

	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/repository/internal/store"
)

var _ store.Tx = (*tx)(nil)

// Meta implements store.View, as do the methods below.
func (t *tx) Meta(key string) (string, error) {
	v, err := t.get(bucketMeta, []byte(key))
	if err == nil && v == nil {
		err = store.NotFound("meta %q", key)
	}
	return string(v), err
}

func (t *tx) Current(r metadata.Repository, role string) (int64, *pb.RoleRecord, error) {
	if err := store.CheckRole(r, role); err != nil {
		return 0, nil, err
	}
	version, err := t.current(r, role)
	if err != nil {
		return 0, nil, err
	}
	if version == 0 {
		return 0, nil, store.NotFound("%s role %q", r, role)
	}
	rec, err := t.Role(r, role, version)
	if err != nil {
		return 0, nil, err
	}
	return version, rec, nil
}

// current returns the newest version, 0 if there is none.
func (t *tx) current(r metadata.Repository, role string) (int64, error) {
	key := roleKey(r, role)
	v, err := t.get(bucketCurrent, key)
	if err != nil || v == nil {
		return 0, err
	}
	n, ok := parseNumber(v)
	if !ok {
		return 0, t.damaged(bucketCurrent, key)
	}
	return int64(n), nil
}

func (t *tx) Role(r metadata.Repository, role string, version int64) (*pb.RoleRecord, error) {
	if err := store.CheckRole(r, role); err != nil {
		return nil, err
	}
	rec := new(pb.RoleRecord)
	found, err := t.record(bucketRole, versionKey(r, role, version), rec)
	if err == nil && !found {
		err = store.NotFound("%s role %q version %d", r, role, version)
	}
	if err != nil {
		return nil, err
	}
	return rec, nil
}

func (t *tx) Roles(r metadata.Repository) ([]store.RoleVersion, error) {
	if err := store.CheckRole(r, metadata.Root); err != nil {
		return nil, err
	}
	var roles []store.RoleVersion
	prefix := []byte{repositoryByte(r)}
	err := t.scan(bucketCurrent, prefix, prefix, func(k, v []byte) (bool, error) {
		n, ok := parseNumber(v)
		if !ok {
			return false, t.damaged(bucketCurrent, k)
		}
		roles = append(roles, store.RoleVersion{Role: string(k[1:]), Version: int64(n)})
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	return roles, nil
}

func (t *tx) Used(r metadata.Repository, role string) (*pb.UsedRecord, error) {
	if err := store.CheckRole(r, role); err != nil {
		return nil, err
	}
	rec := new(pb.UsedRecord)
	found, err := t.record(bucketUsed, roleKey(r, role), rec)
	if err == nil && !found {
		err = store.NotFound("used versions of %s role %q", r, role)
	}
	if err != nil {
		return nil, err
	}
	return rec, nil
}

func (t *tx) Event(id store.EventID) (*pb.EventRecord, error) {
	rec := new(pb.EventRecord)
	found, err := t.record(bucketEvent, id[:], rec)
	if err == nil && !found {
		err = store.NotFound("event %s", id)
	}
	if err != nil {
		return nil, err
	}
	return rec, nil
}

func (t *tx) EventsByPrefix(prefix string, limit int) ([]store.EventID, error) {
	if len(prefix) > hex.EncodedLen(len(store.EventID{})) || strings.Trim(prefix, "0123456789abcdef") != "" || limit < 1 {
		return nil, nil
	}
	whole, _ := hex.DecodeString(prefix[:len(prefix)&^1])
	var ids []store.EventID
	err := t.scan(bucketEvent, whole, whole, func(k, _ []byte) (bool, error) {
		if len(k) != len(store.EventID{}) {
			return false, t.damaged(bucketEvent, k)
		}
		// The last digit of an odd prefix is compared in hex.
		if id := store.EventID(k); strings.HasPrefix(id.String(), prefix) {
			ids = append(ids, id)
		}
		return len(ids) < limit, nil
	})
	if err != nil {
		return nil, err
	}
	return ids, nil
}

func (t *tx) Events(q store.EventQuery) iter.Seq2[store.Event, error] {
	return func(yield func(store.Event, error) bool) {
		var open map[store.EventID]bool
		if !q.All {
			var err error
			if open, err = t.openEvents(); err != nil {
				yield(store.Event{}, err)
				return
			}
		}
		var limit []byte
		if q.Before > 0 {
			limit = number(q.Before)
		}
		for q.All || len(open) > 0 {
			order, id, err := t.before(bucketEventOrder, limit)
			if err == nil && order != nil && len(id) != len(store.EventID{}) {
				err = t.damaged(bucketEventOrder, order)
			}
			if err != nil {
				yield(store.Event{}, err)
				return
			}
			if order == nil {
				return
			}
			limit = order
			event := store.Event{ID: store.EventID(id)}
			if !q.All && !open[event.ID] {
				continue
			}
			delete(open, event.ID)
			if event.Record, err = t.Event(event.ID); err != nil {
				yield(store.Event{}, err)
				return
			}
			if !yield(event, nil) {
				return
			}
		}
	}
}

// openEvents returns the events that are open on any role.
func (t *tx) openEvents() (map[store.EventID]bool, error) {
	open := make(map[store.EventID]bool)
	err := t.scan(bucketOpen, nil, nil, func(k, v []byte) (bool, error) {
		if len(v) != len(store.EventID{}) {
			return false, t.damaged(bucketOpen, k)
		}
		open[store.EventID(v)] = true
		return true, nil
	})
	return open, err
}

func (t *tx) OpenEvent(r metadata.Repository, role string) (store.EventID, bool, error) {
	if err := store.CheckRole(r, role); err != nil {
		return store.EventID{}, false, err
	}
	key := roleKey(r, role)
	v, err := t.get(bucketOpen, key)
	if err != nil || v == nil {
		return store.EventID{}, false, err
	}
	if len(v) != len(store.EventID{}) {
		return store.EventID{}, false, t.damaged(bucketOpen, key)
	}
	return store.EventID(v), true, nil
}
