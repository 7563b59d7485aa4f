package bolt

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	bolt "go.etcd.io/bbolt"

	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/repository/internal/store"
)

// A snapshot that is taken while writers run is one state: it opens, and its audit log has as many
// entries as the counter in it says.
func TestSnapshotWhileWritersRun(t *testing.T) {
	dir := t.TempDir()
	s, err := Create(filepath.Join(dir, "a.db"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	started := make(chan struct{})
	go func() {
		defer close(done)
		for n := 1; ctx.Err() == nil; n++ {
			err := s.Update(context.Background(), func(tx store.Tx) error {
				_, err := tx.Audit(&pb.AuditRecord{Detail: string(make([]byte, 3000))})
				return errors.Join(err, tx.SetMeta("n", string(rune(n))))
			})
			if err != nil {
				t.Error(err)
				return
			}
			if n == 5 {
				close(started)
			}
		}
	}()
	<-started
	for range 5 {
		path := filepath.Join(dir, "copy.db")
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Snapshot(ctx, f); err != nil {
			t.Fatal(err)
		}
		f.Close()
		c, err := Open(path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.View(ctx, func(v store.View) error {
			n, err := v.Meta("n")
			log, logErr := v.AuditLog(1, 1<<20)
			if err != nil || logErr != nil || len(log) != int([]rune(n)[0]) {
				t.Errorf("%d entries, the counter says %d, %v, %v", len(log), []rune(n)[0], err, logErr)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	cancel()
	<-done
	if err := s.Snapshot(ctx, failing{}); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled snapshot: %v", err)
	}
	if err := s.Snapshot(context.Background(), failing{}); !errors.Is(err, errFailing) {
		t.Errorf("a writer that fails: %v", err)
	}
}

var errFailing = errors.New("no room")

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errFailing }

// A file of an older program gets the buckets that came later; one that lacks another is damaged.
func TestOpenAddsLaterBuckets(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	s, err := Create(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	drop := func(name []byte) {
		t.Helper()
		db, err := bolt.Open(path, 0o600, boltOptions(0))
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Update(func(tx *bolt.Tx) error { return tx.DeleteBucket(name) }); err != nil {
			t.Fatal(err)
		}
		db.Close()
	}
	drop(bucketNewer)
	if s, err = Open(path, Options{}); err != nil {
		t.Fatal(err)
	}
	if err := s.View(context.Background(), func(v store.View) error { _, err := v.Newer(); return err }); err != nil {
		t.Error(err)
	}
	s.Close()
	drop(bucketToken)
	if s, err = Open(path, Options{}); err == nil {
		s.Close()
		t.Error("a file without tokens was opened")
	}
}
