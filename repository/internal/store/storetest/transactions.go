package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/repository/internal/store"
)

func testTransactions(t *testing.T, open Maker) {
	t.Run("a failed function changes nothing", func(t *testing.T) {
		s := open(t)
		failure := errors.New("no")
		err := update(t, s, func(tx store.Tx) error {
			if err := tx.PutToken("t", &pb.TokenRecord{Kind: "device"}); err != nil {
				return err
			}
			if _, err := tx.Token("t"); err != nil {
				t.Errorf("a transaction does not see its own write: %v", err)
			}
			return failure
		})
		if !errors.Is(err, failure) {
			t.Errorf("error %v, want %v", err, failure)
		}
		wantEmpty(t, s)
	})
	t.Run("no change without an audit entry", func(t *testing.T) {
		s := open(t)
		err := s.Update(ctx, func(tx store.Tx) error { return tx.PutToken("t", &pb.TokenRecord{}) })
		if !errors.Is(err, store.ErrNoAudit) {
			t.Errorf("error %v, want %v", err, store.ErrNoAudit)
		}
		wantEmpty(t, s)
	})
	t.Run("a refused write leaves nothing behind", func(t *testing.T) {
		s := open(t)
		mustUpdate(t, s, func(tx store.Tx) error { return tx.PutDevice("a", &pb.DeviceRecord{PublicKey: []byte("k")}) })
		mustUpdate(t, s, func(tx store.Tx) error {
			wantReason(t, tx.PutDevice("b", &pb.DeviceRecord{PublicKey: []byte("k")}), reason.KeyTwice)
			return nil
		})
		mustView(t, s, func(v store.View) error {
			_, err := v.Device("b")
			wantNotFound(t, "device that was refused", err)
			return nil
		})
	})
	t.Run("a context that has ended", func(t *testing.T) {
		s := open(t)
		ended, cancel := context.WithCancel(ctx)
		cancel()
		if err := s.View(ended, func(store.View) error { return nil }); !errors.Is(err, context.Canceled) {
			t.Errorf("view: %v", err)
		}
		err := s.Update(ended, func(tx store.Tx) error {
			_, err := tx.Audit(&pb.AuditRecord{})
			return err
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("update: %v", err)
		}
		wantEmpty(t, s)
	})
	t.Run("a closed store", func(t *testing.T) {
		s := open(t)
		for range 2 {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		wantReason(t, s.Update(ctx, func(store.Tx) error { return nil }), reason.Busy)
		wantReason(t, s.View(ctx, func(store.View) error { return nil }), reason.Busy)
	})
	t.Run("a view sees one state", func(t *testing.T) { testSnapshot(t, open(t)) })
	t.Run("a panic reaches its caller and changes nothing", func(t *testing.T) {
		s := open(t)
		func() {
			defer func() {
				if p := recover(); p != "boom" {
					t.Errorf("recovered %v", p)
				}
			}()
			_ = update(t, s, func(tx store.Tx) error { panic("boom") })
		}()
		wantEmpty(t, s)
		mustUpdate(t, s, func(tx store.Tx) error { return nil })
	})
	t.Run("many writers", func(t *testing.T) { testManyWriters(t, open(t)) })
}

func wantEmpty(t *testing.T, s store.Store) {
	t.Helper()
	mustView(t, s, func(v store.View) error {
		if log, err := v.AuditLog(0, 10); err != nil || len(log) > 0 {
			t.Errorf("audit log: %v, %v; want none", log, err)
		}
		if tokens, err := v.Tokens(); err != nil || len(tokens) > 0 {
			t.Errorf("tokens: %v, %v; want none", tokens, err)
		}
		return nil
	})
}

func testSnapshot(t *testing.T, s store.Store) {
	mustUpdate(t, s, func(tx store.Tx) error { return tx.SetMeta("k", "old") })
	inside, written := make(chan bool), make(chan bool)
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = s.View(ctx, func(v store.View) error {
			for i, want := range []string{"old", "old"} {
				if got, err := v.Meta("k"); err != nil || got != want {
					t.Errorf("read %d: %q, %v; want %q", i, got, err, want)
				}
				if i == 0 {
					inside <- true
					<-written
				}
			}
			return nil
		})
	})
	<-inside
	mustUpdate(t, s, func(tx store.Tx) error { return tx.SetMeta("k", "new") })
	close(written)
	wg.Wait()
	mustView(t, s, func(v store.View) error {
		if got, err := v.Meta("k"); err != nil || got != "new" {
			t.Errorf("after it: %q, %v", got, err)
		}
		return nil
	})
}

// Many callers at once, some of which fail after they wrote: each sees all before it, none is lost,
// and the audit log has no gap.
func testManyWriters(t *testing.T, s store.Store) {
	const writers, each = 16, 10
	failure := errors.New("no")
	var wg sync.WaitGroup
	var done atomic.Int64
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				fails := (w+i)%4 == 0
				err := s.Update(ctx, func(tx store.Tx) error {
					used, err := tx.Used("image", "counted")
					if err != nil && !errors.Is(err, store.ErrNotFound) {
						return err
					}
					next := used.GetVersion() + 1
					if err := tx.PutUsed("image", "counted", &pb.UsedRecord{Version: next}); err != nil {
						return err
					}
					seq, err := tx.Audit(&pb.AuditRecord{Detail: fmt.Sprint(next)})
					if err != nil {
						return err
					}
					if seq != uint64(next) {
						return fmt.Errorf("audit number %d with count %d", seq, next)
					}
					if fails {
						return failure
					}
					return nil
				})
				if fails != errors.Is(err, failure) {
					t.Errorf("writer %d, %d: %v", w, i, err)
				}
				if err == nil {
					done.Add(1)
				}
			}
		})
	}
	wg.Wait()
	mustView(t, s, func(v store.View) error {
		used, err := v.Used("image", "counted")
		if err != nil || used.Version != done.Load() {
			t.Errorf("count %v, %v; want %d", used, err, done.Load())
		}
		log, err := v.AuditLog(0, writers*each)
		if err != nil || int64(len(log)) != done.Load() {
			t.Errorf("audit log of %d, %v; want %d", len(log), err, done.Load())
		}
		for i, e := range log {
			if want := fmt.Sprint(i + 1); e.Seq != uint64(i+1) || e.Record.Detail != want {
				t.Errorf("entry %d has number %d and says %q", i, e.Seq, e.Record.Detail)
			}
		}
		return nil
	})
}
