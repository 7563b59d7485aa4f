package bolt

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/repository/internal/store"
	"github.com/countersign-ota/countersign/repository/internal/store/storetest"
)

var ctx = context.Background()

func create(t testing.TB, o Options) *Store {
	t.Helper()
	s, err := Create(filepath.Join(t.TempDir(), "store.db"), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func put(s store.Store, id, subject string) error {
	return s.Update(ctx, func(tx store.Tx) error {
		if _, err := tx.Audit(&pb.AuditRecord{Action: "token.put", Subject: id}); err != nil {
			return err
		}
		return tx.PutToken(id, &pb.TokenRecord{Subject: subject})
	})
}

func wantReason(t *testing.T, err error, want reason.Reason) {
	t.Helper()
	if got := reason.Of(err); got != want || err == nil {
		t.Errorf("reason %q of %v, want %q", got, err, want)
	}
}

func TestConformance(t *testing.T) {
	for name, o := range map[string]Options{"shared commits": {}, "single commits": {MaxBatch: 1}} {
		t.Run(name, func(t *testing.T) {
			storetest.Run(t, func(t *testing.T) store.Store { return create(t, o) })
		})
	}
}

// The comparison is of meaning, not of durability, so it uses memory where there is some.
func TestAgainstTheModel(t *testing.T) {
	dir := "/dev/shm"
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		dir = ""
	}
	dir, err := os.MkdirTemp(dir, "store-test-*")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	n := 0
	storetest.Compare(t, func() (store.Store, error) {
		n++
		return Create(filepath.Join(dir, fmt.Sprint(n)), Options{MaxBatch: 1})
	})
}

func TestOpenAgain(t *testing.T) {
	s := create(t, Options{})
	if err := put(s, "a", "x"); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := Check(s.path); err != nil {
		t.Error(err)
	}
	again, err := Open(s.path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	err = again.View(ctx, func(v store.View) error {
		rec, err := v.Token("a")
		if rec.GetSubject() != "x" {
			t.Errorf("token %v", rec)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	// The numbers go on where they were.
	err = again.Update(ctx, func(tx store.Tx) error {
		seq, err := tx.Audit(&pb.AuditRecord{})
		if seq != 2 {
			t.Errorf("audit number %d, want 2", seq)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	info, err := os.Stat(s.path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; want 600", info.Mode(), err)
	}
}

func TestCreateRefusesWhatIsThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Create(path, Options{})
	wantReason(t, err, reason.Exists)
	if b, err := os.ReadFile(path); err != nil || string(b) != "precious" {
		t.Errorf("%q, %v", b, err)
	}
	entries, _ := os.ReadDir(filepath.Dir(path))
	if len(entries) != 1 {
		t.Errorf("%d files are left, want 1", len(entries))
	}
}

func TestOpenMakesNoStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	_, err := Open(path, Options{})
	wantReason(t, err, reason.StateDamaged)
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v, want %v", err, fs.ErrNotExist)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a file was made")
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = Open(path, Options{})
	wantReason(t, err, reason.StateDamaged)
	if info, err := os.Stat(path); err != nil || info.Size() != 0 {
		t.Errorf("the empty file was written to: %v, %v", info, err)
	}
}

func TestSecondProcessIsLockedOut(t *testing.T) {
	s := create(t, Options{})
	start := time.Now()
	_, err := Open(s.path, Options{LockTimeout: 20 * time.Millisecond})
	wantReason(t, err, reason.Locked)
	if reason.HintOf(err) == "" || time.Since(start) > time.Minute {
		t.Errorf("hint %q after %v", reason.HintOf(err), time.Since(start))
	}
	wantReason(t, Check(s.path), reason.Locked)
	if err := put(s, "a", "x"); err != nil {
		t.Errorf("the first one cannot go on: %v", err)
	}
}

func TestForeignAndFutureFiles(t *testing.T) {
	edit := func(path string, fn func(tx *bolt.Tx) error) {
		db, err := bolt.Open(path, 0o600, nil)
		if err == nil {
			err = errors.Join(db.Update(fn), db.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	setFormat := func(value string) func(tx *bolt.Tx) error {
		return func(tx *bolt.Tx) error { return tx.Bucket(bucketMeta).Put([]byte("format"), []byte(value)) }
	}
	tests := []struct {
		name string
		fn   func(tx *bolt.Tx) error
		want reason.Reason
	}{
		{"newer format", setFormat("2"), reason.Config},
		{"format that is no number", setFormat("x"), reason.StateDamaged},
		{"format 0", setFormat("0"), reason.StateDamaged},
		{"no format", func(tx *bolt.Tx) error { return tx.Bucket(bucketMeta).Delete([]byte("format")) }, reason.StateDamaged},
		{"a bucket is missing", func(tx *bolt.Tx) error { return tx.DeleteBucket(bucketAudit) }, reason.StateDamaged},
		{"another program's file", func(tx *bolt.Tx) error {
			for _, b := range buckets {
				if err := tx.DeleteBucket(b); err != nil {
					return err
				}
			}
			return nil
		}, reason.StateDamaged},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := create(t, Options{})
			s.Close()
			edit(s.path, tt.fn)
			_, err := Open(s.path, Options{})
			wantReason(t, err, tt.want)
		})
	}
	// A file with a stored freelist, as other programs write it, opens all the same.
	s := create(t, Options{})
	s.Close()
	edit(s.path, setFormat("1"))
	again, err := Open(s.path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}

// An event may have 64 MiB; it goes in and out whole, and a list that stops early reads no more.
func TestLargeEvent(t *testing.T) {
	s := create(t, Options{})
	large := strings.Repeat("event", 64<<20/5)
	err := s.Update(ctx, func(tx store.Tx) error {
		if _, err := tx.Audit(&pb.AuditRecord{}); err != nil {
			return err
		}
		return errors.Join(tx.PutEvent(store.EventID{1}, &pb.EventRecord{Event: []byte(large)}),
			tx.SetOpen(metadata.Image, "root", store.EventID{1}))
	})
	if err != nil {
		t.Fatal(err)
	}
	err = s.View(ctx, func(v store.View) error {
		rec, err := v.Event(store.EventID{1})
		if string(rec.GetEvent()) != large {
			t.Error("other bytes")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	if err := Check(s.path); err != nil {
		t.Error(err)
	}
}
