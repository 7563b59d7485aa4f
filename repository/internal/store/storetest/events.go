package storetest

import (
	"fmt"
	"strings"
	"testing"

	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/repository/internal/store"
)

const image = metadata.Image

func putEvent(t *testing.T, s store.Store, name string, open ...string) {
	t.Helper()
	mustUpdate(t, s, func(tx store.Tx) error {
		rec := &pb.EventRecord{Event: []byte(name), State: pb.EventState_EVENT_STATE_OPEN}
		if err := tx.PutEvent(eventID(name), rec); err != nil {
			return err
		}
		for _, r := range open {
			if err := tx.SetOpen(image, r, eventID(name)); err != nil {
				return err
			}
		}
		return nil
	})
}

// listEvents returns the names of the events of a query, newest first, at most limit.
func listEvents(t *testing.T, s store.Store, q store.EventQuery, limit int) (list string, last uint64) {
	t.Helper()
	mustView(t, s, func(v store.View) error {
		var all []string
		for e, err := range v.Events(q) {
			if err != nil {
				return err
			}
			all = append(all, string(e.Record.Event))
			if last = e.Record.Order; len(all) == limit {
				break
			}
		}
		list = strings.Join(all, " ")
		return nil
	})
	return list, last
}

func testEvents(t *testing.T, open Maker) {
	s := open(t)
	for i := range 12 { // more than 9, so that orders do not sort as text
		putEvent(t, s, fmt.Sprint("e", i), fmt.Sprint("role", i))
	}
	mustUpdate(t, s, func(tx store.Tx) error {
		for _, r := range []string{"role2", "role3", "role11", "never-open"} {
			if err := tx.ClearOpen(image, r); err != nil {
				return err
			}
		}
		return tx.SetOpen(image, "role2", eventID("e4")) // e4 is open on two roles
	})
	lists := []struct {
		name  string
		q     store.EventQuery
		limit int
		want  string
	}{
		{"all", store.EventQuery{All: true}, 100, "e11 e10 e9 e8 e7 e6 e5 e4 e3 e2 e1 e0"},
		{"open", store.EventQuery{}, 100, "e10 e9 e8 e7 e6 e5 e4 e1 e0"},
		{"first page", store.EventQuery{All: true}, 3, "e11 e10 e9"},
		{"open page", store.EventQuery{}, 2, "e10 e9"},
		{"before the first", store.EventQuery{All: true, Before: 1}, 9, ""},
		{"before the second", store.EventQuery{All: true, Before: 2}, 9, "e0"},
		{"before one far ahead", store.EventQuery{All: true, Before: 1000}, 1, "e11"},
		{"open before", store.EventQuery{Before: 5}, 9, "e1 e0"},
	}
	for _, tt := range lists {
		t.Run("list "+tt.name, func(t *testing.T) {
			if got, _ := listEvents(t, s, tt.q, tt.limit); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
	t.Run("pages", func(t *testing.T) {
		var pages []string
		q := store.EventQuery{All: true}
		for {
			page, last := listEvents(t, s, q, 5)
			if page == "" {
				break
			}
			pages, q.Before = append(pages, page), last
		}
		if got, want := strings.Join(pages, " | "), "e11 e10 e9 e8 e7 | e6 e5 e4 e3 e2 | e1 e0"; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	})
	t.Run("an event keeps its order", func(t *testing.T) {
		for _, order := range []uint64{0, 3, 12} { // what the caller says does not count
			mustUpdate(t, s, func(tx store.Tx) error {
				rec := &pb.EventRecord{Event: []byte("e3"), State: pb.EventState_EVENT_STATE_STALE, Order: order}
				err := tx.PutEvent(eventID("e3"), rec)
				if rec.Order != 4 {
					t.Errorf("order %d, want 4", rec.Order)
				}
				return err
			})
		}
		mustView(t, s, func(v store.View) error {
			rec, err := v.Event(eventID("e3"))
			wantRecord(t, "e3", rec, &pb.EventRecord{Event: []byte("e3"), State: pb.EventState_EVENT_STATE_STALE, Order: 4}, err)
			_, err = v.Event(eventID("none"))
			wantNotFound(t, "event", err)
			return nil
		})
		if got, _ := listEvents(t, s, store.EventQuery{All: true, Before: 6}, 2); got != "e4 e3" {
			t.Errorf("%q", got)
		}
	})
	t.Run("an order is not used up by a failed transaction", func(t *testing.T) {
		_ = update(t, s, func(tx store.Tx) error {
			_ = tx.PutEvent(eventID("lost"), &pb.EventRecord{})
			return fmt.Errorf("no")
		})
		putEvent(t, s, "e12")
		if _, last := listEvents(t, s, store.EventQuery{All: true}, 1); last != 13 {
			t.Errorf("order %d, want 13", last)
		}
	})
	t.Run("open", func(t *testing.T) { testOpen(t, s) })
	t.Run("prefix", func(t *testing.T) { testPrefix(t, open(t)) })
}

func testOpen(t *testing.T, s store.Store) {
	setOpen := func(name string) error {
		return update(t, s, func(tx store.Tx) error { return tx.SetOpen(image, "role5", eventID(name)) })
	}
	wantReason(t, setOpen("e6"), reason.RoleOpen)
	if err := setOpen("e5"); err != nil {
		t.Errorf("the same event again: %v", err)
	}
	wantReason(t, update(t, s, func(tx store.Tx) error { return tx.SetOpen("x", "role5", eventID("e5")) }), reason.Malformed)
	wantReason(t, update(t, s, func(tx store.Tx) error { return tx.ClearOpen(image, "") }), reason.Malformed)
	mustView(t, s, func(v store.View) error {
		if id, ok, err := v.OpenEvent(image, "role5"); err != nil || !ok || id != eventID("e5") {
			t.Errorf("open on role5: %s, %t, %v", id, ok, err)
		}
		if id, ok, err := v.OpenEvent(metadata.Director, "role5"); err != nil || ok {
			t.Errorf("open in the other repository: %s, %t, %v", id, ok, err)
		}
		return nil
	})
	mustUpdate(t, s, func(tx store.Tx) error { return tx.ClearOpen(image, "role5") })
	if err := setOpen("e6"); err != nil {
		t.Errorf("after the role was cleared: %v", err)
	}
}

func testPrefix(t *testing.T, s store.Store) {
	id := func(first, second byte) store.EventID { return store.EventID{first, second, 31: 1} }
	ids := []store.EventID{id(0xab, 0x10), id(0xab, 0x1f), id(0xab, 0x20), id(0xac, 0), id(0xff, 0xff)}
	mustUpdate(t, s, func(tx store.Tx) error {
		for _, id := range ids {
			if err := tx.PutEvent(id, &pb.EventRecord{}); err != nil {
				return err
			}
		}
		return nil
	})
	tests := []struct {
		prefix string
		limit  int
		want   []store.EventID
	}{
		{"", 10, ids},
		{"", 2, ids[:2]},
		{"", 0, nil},
		{"", -1, nil},
		{"a", 10, ids[:4]},
		{"ab", 10, ids[:3]},
		{"ab", 2, ids[:2]},
		{"ab1", 10, ids[:2]},
		{"ab1", 1, ids[:1]},
		{"ab10", 10, ids[:1]},
		{"f", 10, ids[4:]},
		{"ffff", 10, ids[4:]},
		{ids[3].String(), 10, ids[3:4]},
		{ids[3].String() + "0", 10, nil},
		{ids[3].String() + "00", 10, nil},
		{"AB", 10, nil},
		{"abx", 10, nil},
		{"xy", 10, nil},
		{"0", 10, nil},
	}
	for _, tt := range tests {
		mustView(t, s, func(v store.View) error {
			got, err := v.EventsByPrefix(tt.prefix, tt.limit)
			if err != nil || fmt.Sprint(got) != fmt.Sprint(tt.want) {
				t.Errorf("prefix %q, at most %d: %s, %v; want %s", tt.prefix, tt.limit, got, err, tt.want)
			}
			return nil
		})
	}
}
