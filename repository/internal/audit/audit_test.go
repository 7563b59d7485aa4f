package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/repository/internal/store"
	"github.com/countersign-ota/countersign/repository/internal/store/bolt"
)

func newRecorder(t *testing.T, now func() time.Time) (*Recorder, store.Store) {
	t.Helper()
	db, err := bolt.Create(filepath.Join(t.TempDir(), "db"), bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return NewRecorder(db, now, slog.New(slog.NewTextHandler(io.Discard, nil))), db
}

func entries(t *testing.T, db store.Store) []*pb.AuditRecord {
	t.Helper()
	var all []*pb.AuditRecord
	err := db.View(context.Background(), func(v store.View) error {
		log, err := v.AuditLog(1, 10_000)
		for _, e := range log {
			all = append(all, e.Record)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestWhatIsARefusal(t *testing.T) {
	r, db := newRecorder(t, time.Now)
	for _, tt := range []struct {
		err     error
		written bool
	}{
		{reason.Errorf(reason.SignatureBad, "x"), true},
		{reason.Errorf(reason.Permission, "x"), true},
		{reason.Errorf(reason.QuorumOpen, "x"), true},
		{reason.Errorf(reason.UsageError, "x"), true},
		{fmt.Errorf("wrapped: %w", reason.Errorf(reason.RoleOpen, "x")), true},
		{reason.Errorf(reason.NotFound, "x"), false},
		{reason.Errorf(reason.Unreachable, "x"), false},
		{reason.Errorf(reason.UploadBusy, "x"), false},
		{reason.Errorf(reason.DiskFull, "x"), false},
		{errors.New("a fault of ours"), false},
		{context.Canceled, false},
	} {
		before := len(entries(t, db))
		r.Refused(context.Background(), "operator/rivera", "event.open", "gw-100", tt.err)
		after := entries(t, db)
		if wrote := len(after) > before; wrote != tt.written {
			t.Errorf("%v: written %v, want %v", tt.err, wrote, tt.written)
		}
		if tt.written && after[len(after)-1].GetReason() != string(reason.Of(tt.err)) {
			t.Errorf("%v: entry %v", tt.err, after[len(after)-1])
		}
	}
}

// Hanging up right after a refused call does not keep it out of the log.
func TestRefusalOutlivesItsCall(t *testing.T) {
	r, db := newRecorder(t, time.Now)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	r.Refused(ctx, "operator/rivera", "event.open", "gw-100", reason.Errorf(reason.Permission, "x"))
	if n := len(entries(t, db)); n != 1 {
		t.Errorf("%d entries, want 1", n)
	}
}

// Strangers cannot fill the disk: so many refusals at once, then one a second, and the number of those
// that were left out.
func TestStrangersAreCounted(t *testing.T) {
	now := time.Unix(1795599060, 0)
	r, db := newRecorder(t, func() time.Time { return now })
	refuse := func() {
		r.Refused(context.Background(), Anonymous, "device.enroll", "gw-1", reason.Errorf(reason.TokenInvalid, "no"))
	}
	for range strangerBurst + 40 {
		refuse()
	}
	if n := len(entries(t, db)); n != strangerBurst {
		t.Fatalf("%d entries of a burst, want %d", n, strangerBurst)
	}
	now = now.Add(2 * time.Second)
	for range 5 {
		refuse()
	}
	all := entries(t, db)
	if len(all) != strangerBurst+2 || !strings.Contains(all[strangerBurst].GetDetail(), "and 40 refusals") {
		t.Errorf("%d entries; %q", len(all), all[len(all)-2].GetDetail())
	}
	now = now.Add(-time.Hour) // a clock that goes back gives nothing
	refuse()
	if n := len(entries(t, db)); n != strangerBurst+2 {
		t.Errorf("%d entries after the clock went back", n)
	}
	r.Refused(context.Background(), "operator/rivera", "event.open", "x", reason.Errorf(reason.Permission, "no"))
	if n := len(entries(t, db)); n != strangerBurst+3 {
		t.Error("who is known is held back as well")
	}
}

func TestEntryBoundsWhatComesFromOutside(t *testing.T) {
	e := Entry(time.Unix(5, 0), "a", "b", strings.Repeat("ä", 600), strings.Repeat("\xff", 9000))
	if len(e.GetSubject()) > maxSubject || len(e.GetDetail()) > maxDetail || !strings.HasPrefix(e.GetDetail(), "\uFFFD") {
		t.Errorf("subject %d, detail %d bytes", len(e.GetSubject()), len(e.GetDetail()))
	}
	if strings.ToValidUTF8(e.GetSubject(), "") != e.GetSubject() {
		t.Error("cut inside a rune")
	}
}
