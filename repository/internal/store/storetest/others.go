package storetest

import (
	"fmt"
	"testing"

	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/repository/internal/store"
)

// testOthers covers meta, blobs, tokens and the audit log.
func testOthers(t *testing.T, open Maker) {
	t.Run("meta", func(t *testing.T) {
		s := open(t)
		mustUpdate(t, s, func(tx store.Tx) error { return tx.SetMeta(store.MetaDeployment, "acme") })
		mustUpdate(t, s, func(tx store.Tx) error { return tx.SetMeta("empty", "") })
		wantReason(t, update(t, s, func(tx store.Tx) error { return tx.SetMeta(store.MetaFormat, "9") }), reason.Malformed)
		wantReason(t, update(t, s, func(tx store.Tx) error { return tx.SetMeta("", "9") }), reason.Malformed)
		mustView(t, s, func(v store.View) error {
			for key, want := range map[string]string{store.MetaDeployment: "acme", "empty": "", store.MetaFormat: "1"} {
				if got, err := v.Meta(key); err != nil || got != want {
					t.Errorf("%s: %q, %v; want %q", key, got, err, want)
				}
			}
			_, err := v.Meta("none")
			wantNotFound(t, "meta", err)
			return nil
		})
	})
	t.Run("blobs", func(t *testing.T) {
		s := open(t)
		a, b := [32]byte{1}, [32]byte{2}
		for _, complete := range []bool{false, true} {
			want := &pb.BlobRecord{Length: 5, Complete: complete}
			mustUpdate(t, s, func(tx store.Tx) error { return tx.PutBlob(a, want) })
			mustView(t, s, func(v store.View) error {
				rec, err := v.Blob(a)
				wantRecord(t, "blob", rec, want, err)
				_, err = v.Blob(b)
				wantNotFound(t, "blob", err)
				return nil
			})
		}
	})
	t.Run("tokens", func(t *testing.T) {
		s := open(t)
		put := func(id, subject string) func(store.Tx) error {
			return func(tx store.Tx) error { return tx.PutToken(id, &pb.TokenRecord{Subject: subject}) }
		}
		for _, id := range []string{"b", "a", "c"} {
			mustUpdate(t, s, put(id, "first"))
		}
		mustUpdate(t, s, put("a", "second"))
		for range 2 {
			mustUpdate(t, s, func(tx store.Tx) error { return tx.DeleteToken("c") })
		}
		wantReason(t, update(t, s, put("", "x")), reason.Malformed)
		mustView(t, s, func(v store.View) error {
			all, err := v.Tokens()
			got := names(all, func(k store.Token) string { return k.ID + "=" + k.Record.Subject })
			if want := "a=second b=first"; err != nil || got != want {
				t.Errorf("tokens %q, %v; want %q", got, err, want)
			}
			rec, err := v.Token("b")
			wantRecord(t, "token", rec, &pb.TokenRecord{Subject: "first"}, err)
			_, err = v.Token("c")
			wantNotFound(t, "token", err)
			return nil
		})
	})
	t.Run("audit log", func(t *testing.T) { testAuditLog(t, open(t)) })
}

func testAuditLog(t *testing.T, s store.Store) {
	for i := range 6 {
		err := s.Update(ctx, func(tx store.Tx) error {
			for j := range 2 {
				seq, err := tx.Audit(&pb.AuditRecord{Detail: fmt.Sprint(2*i + j + 1)})
				if err != nil {
					return err
				}
				if want := uint64(2*i + j + 1); seq != want {
					t.Errorf("number %d, want %d", seq, want)
				}
			}
			if i == 3 {
				return fmt.Errorf("no")
			}
			return nil
		})
		if (i == 3) != (err != nil) {
			t.Fatal(err)
		}
		if i == 3 { // the numbers are free again
			if err := s.Update(ctx, func(tx store.Tx) error {
				_, _ = tx.Audit(&pb.AuditRecord{Detail: "7"})
				_, err := tx.Audit(&pb.AuditRecord{Detail: "8"})
				return err
			}); err != nil {
				t.Fatal(err)
			}
		}
	}
	tests := []struct {
		from  uint64
		limit int
		want  string
	}{
		{0, 100, "1 2 3 4 5 6 7 8 9 10 11 12"},
		{1, 3, "1 2 3"},
		{10, 100, "10 11 12"},
		{13, 100, ""},
		{1 << 63, 100, ""},
		{1, 0, ""},
	}
	for _, tt := range tests {
		mustView(t, s, func(v store.View) error {
			log, err := v.AuditLog(tt.from, tt.limit)
			if err != nil {
				return err
			}
			got := names(log, func(e store.AuditEntry) string {
				if fmt.Sprint(e.Seq) != e.Record.Detail {
					t.Errorf("number %d says %q", e.Seq, e.Record.Detail)
				}
				return e.Record.Detail
			})
			if got != tt.want {
				t.Errorf("from %d, at most %d: %q, want %q", tt.from, tt.limit, got, tt.want)
			}
			return nil
		})
	}
}
