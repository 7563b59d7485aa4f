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

func testRoles(t *testing.T, open Maker) {
	const image, director = metadata.Image, metadata.Director
	put := func(r metadata.Repository, name string, version int64, rec *pb.RoleRecord) func(store.Tx) error {
		return func(tx store.Tx) error { return tx.PutRole(r, name, version, rec) }
	}
	t.Run("versions", func(t *testing.T) {
		s := open(t)
		for v := int64(1); v <= 3; v++ {
			mustUpdate(t, s, put(image, "root", v, role(fmt.Sprint(v), "s")))
		}
		mustUpdate(t, s, put(director, "root", 9, role("other", "s")))
		mustUpdate(t, s, put(image, "root.x", 1<<40, role("x", "s"))) // beyond 32 bits; sorts behind root
		mustUpdate(t, s, put(image, "gw-100", 1, role("gw", "s")))
		mustView(t, s, func(v store.View) error {
			version, rec, err := v.Current(image, "root")
			wantRecord(t, "current root", rec, role("3", "s"), err)
			if version != 3 {
				t.Errorf("current root has version %d, want 3", version)
			}
			for n := int64(1); n <= 3; n++ {
				rec, err := v.Role(image, "root", n)
				wantRecord(t, "a root", rec, role(fmt.Sprint(n), "s"), err)
			}
			version, _, err = v.Current(director, "root")
			if err != nil || version != 9 {
				t.Errorf("director's root: %d, %v; want 9", version, err)
			}
			roles, err := v.Roles(image)
			got := names(roles, func(r store.RoleVersion) string { return fmt.Sprint(r.Role, "=", r.Version) })
			if want := "gw-100=1 root=3 root.x=1099511627776"; err != nil || got != want {
				t.Errorf("roles %q, %v; want %q", got, err, want)
			}
			_, err = v.Role(image, "root", 4)
			wantNotFound(t, "version 4", err)
			_, _, err = v.Current(director, "gw-100")
			wantNotFound(t, "role of the other repository", err)
			return nil
		})
	})
	refusals := []struct {
		name string
		put  func(store.Tx) error
		want reason.Reason
	}{
		{"other content under a version", put(image, "root", 2, role("forged", "s")), reason.VersionUsed},
		{"other signatures under a version", put(image, "root", 2, role("2", "more")), reason.EventPublished},
		{"other content under an old version", put(image, "root", 1, role("forged", "s")), reason.VersionUsed},
		{"a version below the current one", put(image, "late", 4, role("4", "s")), reason.Rollback},
		{"version 0", put(image, "new", 0, role("0", "s")), reason.IntegerRange},
		{"a negative version", put(image, "new", -1, role("0", "s")), reason.IntegerRange},
		{"a version beyond 2^53", put(image, "new", 1<<53+1, role("0", "s")), reason.IntegerRange},
		{"no digest", put(image, "new", 1, &pb.RoleRecord{Data: []byte("x")}), reason.Malformed},
		{"no data", put(image, "new", 1, &pb.RoleRecord{Digest: make([]byte, 32)}), reason.Malformed},
		{"no name", put(image, "", 1, role("1", "s")), reason.Malformed},
		{"a name that would reach into another's keys", put(image, "root\x00", 1, role("1", "s")), reason.Malformed},
		{"a long name", put(image, strings.Repeat("n", 256), 1, role("1", "s")), reason.Malformed},
		{"no repository", put("", "root", 1, role("1", "s")), reason.Malformed},
		{"another repository", put("images", "root", 1, role("1", "s")), reason.Malformed},
	}
	s := open(t)
	mustUpdate(t, s, put(image, "root", 1, role("1", "s")))
	mustUpdate(t, s, put(image, "root", 2, role("2", "s")))
	mustUpdate(t, s, put(image, "late", 5, role("5", "s")))
	for _, tt := range refusals {
		t.Run(tt.name, func(t *testing.T) {
			wantReason(t, update(t, s, tt.put), tt.want)
			mustView(t, s, func(v store.View) error {
				_, rec, err := v.Current(image, "root")
				wantRecord(t, "current root", rec, role("2", "s"), err)
				_, _, err = v.Current(image, "new")
				wantNotFound(t, "the refused role", err)
				return nil
			})
		})
	}
	t.Run("the same record again", func(t *testing.T) {
		mustUpdate(t, s, put(image, "root", 1, role("1", "s")))
		mustView(t, s, func(v store.View) error {
			if version, _, err := v.Current(image, "root"); err != nil || version != 2 {
				t.Errorf("an old version again made %d current, %v; want 2", version, err)
			}
			return nil
		})
	})
	t.Run("what was handed in is copied", func(t *testing.T) {
		rec := role("copy", "s")
		mustUpdate(t, s, put(image, "copied", 1, rec))
		copy(rec.Data, "XXXXXX")
		mustView(t, s, func(v store.View) error {
			for range 2 {
				_, got, err := v.Current(image, "copied")
				wantRecord(t, "copied", got, role("copy", "s"), err)
				copy(got.GetData(), "YYYYYY")
			}
			return nil
		})
	})
}

func testUsed(t *testing.T, open Maker) {
	s := open(t)
	mustView(t, s, func(v store.View) error {
		_, err := v.Used(metadata.Image, "gw-100")
		wantNotFound(t, "used", err)
		return nil
	})
	steps := []struct{ version, counter, wantVersion, wantCounter int64 }{
		{5, 17, 5, 17},
		{4, 18, 5, 18}, // neither ever falls
		{6, 0, 6, 18},
		{0, 0, 6, 18},
	}
	for _, step := range steps {
		mustUpdate(t, s, func(tx store.Tx) error {
			return tx.PutUsed(metadata.Image, "gw-100", &pb.UsedRecord{Version: step.version, Counter: step.counter})
		})
		mustView(t, s, func(v store.View) error {
			got, err := v.Used(metadata.Image, "gw-100")
			wantRecord(t, "used", got, &pb.UsedRecord{Version: step.wantVersion, Counter: step.wantCounter}, err)
			_, err = v.Used(metadata.Director, "gw-100")
			wantNotFound(t, "used in the other repository", err)
			return nil
		})
	}
	wantReason(t, update(t, s, func(tx store.Tx) error { return tx.PutUsed("", "gw-100", &pb.UsedRecord{}) }), reason.Malformed)
}
