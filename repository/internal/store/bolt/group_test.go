package bolt

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"time"
	"unsafe"

	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/repository/internal/store"
)

// commits returns how many transactions were committed so far.
func commits(t *testing.T, s *Store) int {
	t.Helper()
	n := 0
	if err := s.view(func(v *tx) error { n = v.b.ID(); return nil }); err != nil {
		t.Fatal(err)
	}
	return n
}

// together queues updates while another one holds the committer, so that they share its next
// transaction in this order, and returns their errors.
func together(t *testing.T, s *Store, updates ...func() error) []error {
	t.Helper()
	holds, release := make(chan bool), make(chan bool)
	var wg sync.WaitGroup
	wg.Go(func() {
		err := s.Update(ctx, func(tx store.Tx) error {
			holds <- true
			<-release
			_, err := tx.Audit(&pb.AuditRecord{Action: "held"})
			return err
		})
		if err != nil {
			t.Error(err)
		}
	})
	<-holds
	errs := make([]error, len(updates))
	for i, u := range updates {
		wg.Go(func() { errs[i] = u() })
		for len(s.group.calls) < i+1 {
			time.Sleep(100 * time.Microsecond)
		}
	}
	close(release)
	wg.Wait()
	return errs
}

func TestWritersShareACommit(t *testing.T) {
	s := create(t, Options{Window: 1})
	before := commits(t, s)
	var updates []func() error
	for i := range 20 {
		updates = append(updates, func() error { return put(s, fmt.Sprint(i), "x") })
	}
	for i, err := range together(t, s, updates...) {
		if err != nil {
			t.Errorf("writer %d: %v", i, err)
		}
	}
	if got := commits(t, s) - before; got != 2 {
		t.Errorf("%d commits, want 1 for the one that held and 1 for the 20", got)
	}
}

func TestFailuresInAGroup(t *testing.T) {
	failure := errors.New("no")
	audited := func(s *Store, fn func(store.Tx) error) func() error {
		return func() error {
			return s.Update(ctx, func(tx store.Tx) error {
				if _, err := tx.Audit(&pb.AuditRecord{}); err != nil {
					return err
				}
				return fn(tx)
			})
		}
	}
	s := create(t, Options{})
	ended, cancel := context.WithCancel(ctx)
	ran := map[string]int{}
	var mu sync.Mutex
	count := func(name string) {
		mu.Lock()
		defer mu.Unlock()
		ran[name]++
	}
	errs := together(t, s,
		func() error { return put(s, "first", "x") },
		audited(s, func(tx store.Tx) error { // writes, then fails
			count("dirty")
			_ = tx.SetOpen(metadata.Image, "root", store.EventID{1})
			return failure
		}),
		audited(s, func(tx store.Tx) error { // is refused because of what does not last
			count("refused")
			return tx.SetOpen(metadata.Image, "root", store.EventID{2})
		}),
		func() error { // refused before it wrote
			return s.Update(ctx, func(tx store.Tx) error { count("clean"); return failure })
		},
		func() error { // forgets the audit entry
			return s.Update(ctx, func(tx store.Tx) error { return tx.PutToken("unaudited", &pb.TokenRecord{}) })
		},
		func() (err error) {
			defer func() { err = fmt.Errorf("%w: %v", errPanicked, recover()) }()
			return audited(s, func(tx store.Tx) error {
				count("panic")
				_ = tx.PutToken("panicked", &pb.TokenRecord{})
				panic("boom")
			})()
		},
		func() error { // its caller goes away while it waits
			defer cancel()
			return s.Update(ended, func(tx store.Tx) error { count("cancelled"); cancel(); return failure })
		},
		func() error { return put(s, "last", "x") },
	)
	for i, want := range []error{nil, failure, nil, failure, store.ErrNoAudit, errPanicked, failure, nil} {
		if !errors.Is(errs[i], want) {
			t.Errorf("update %d: %v, want %v", i, errs[i], want)
		}
	}
	if ran["panic"] != 1 {
		t.Errorf("the one that panicked ran %d times, want once", ran["panic"])
	}
	err := s.View(ctx, func(v store.View) error {
		all, err := v.Tokens()
		if err != nil || len(all) != 2 {
			t.Errorf("tokens %v, %v; want first and last", all, err)
		}
		if id, ok, err := v.OpenEvent(metadata.Image, "root"); id != (store.EventID{2}) || !ok || err != nil {
			t.Errorf("open on root: %s, %t, %v; want event 02…", id, ok, err)
		}
		// held, first, the one that came second to the failed one, last
		if log, err := v.AuditLog(0, 100); err != nil || len(log) != 4 || log[3].Seq != 4 {
			t.Errorf("audit log %v, %v; want 4 entries", log, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestCancelledWhileQueued(t *testing.T) {
	s := create(t, Options{})
	ended, cancel := context.WithCancel(ctx)
	errs := together(t, s,
		func() error {
			return s.Update(ended, func(tx store.Tx) error { t.Error("it ran"); return nil })
		},
		func() error { return put(s, "a", "x") },
		func() error { cancel(); return put(s, "b", "x") },
	)
	if !errors.Is(errs[0], context.Canceled) || errs[1] != nil || errs[2] != nil {
		t.Errorf("errors %v, want only the first, %v", errs, context.Canceled)
	}
}

func TestCloseFinishesWhatIsQueued(t *testing.T) {
	s := create(t, Options{Window: time.Hour})
	var wg sync.WaitGroup
	var mu sync.Mutex
	acknowledged := map[string]bool{}
	for i := range 30 {
		wg.Go(func() {
			id := fmt.Sprint(i)
			switch err := put(s, id, "x"); {
			case err == nil:
				mu.Lock()
				acknowledged[id] = true
				mu.Unlock()
			case reason.Of(err) != reason.Busy:
				t.Error(err)
			}
		})
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	wantTokens(t, s.path, acknowledged)
}

// wantTokens opens a store and looks for what was acknowledged.
func wantTokens(t *testing.T, path string, acknowledged map[string]bool) {
	t.Helper()
	if err := Check(path); err != nil {
		t.Error(err)
	}
	s, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	err = s.View(ctx, func(v store.View) error {
		for id := range acknowledged {
			if _, err := v.Token(id); err != nil {
				return err
			}
		}
		all, err := v.Tokens()
		if err != nil {
			return err
		}
		log, err := v.AuditLog(0, len(all)+1)
		if err == nil && len(log) != len(all) {
			t.Errorf("%d audit entries for %d changes", len(log), len(all))
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// When bbolt cannot say whether a commit lasts, nothing more is acknowledged on top of it.
func TestUnknownCommitStopsTheStore(t *testing.T) {
	s := create(t, Options{})
	if err := put(s, "a", "x"); err != nil {
		t.Fatal(err)
	}
	// bbolt has no hook here: its function that writes pages is replaced by one that writes and then
	// fails, for the meta page, as a failed sync would look.
	ops := reflect.ValueOf(s.db).Elem().FieldByName("ops").FieldByName("writeAt")
	writeAt := *(*func([]byte, int64) (int, error))(unsafe.Pointer(ops.UnsafeAddr()))
	failing := func(b []byte, off int64) (int, error) {
		n, err := writeAt(b, off)
		if off < 2*int64(s.db.Info().PageSize) {
			err = errors.New("input/output error")
		}
		return n, err
	}
	*(*func([]byte, int64) (int, error))(unsafe.Pointer(ops.UnsafeAddr())) = failing
	err := put(s, "b", "x")
	wantReason(t, err, reason.StateDamaged)
	if !errors.Is(err, errUnknown) {
		t.Errorf("error %v, want %v", err, errUnknown)
	}
	if err := put(s, "c", "x"); !errors.Is(err, errUnknown) {
		t.Errorf("the next one: %v, want %v", err, errUnknown)
	}
}
