// Package audit records decisions (DESIGN 4.4): each change of state writes its entry in its own
// transaction, with Entry, and each refusal one of its own, with Recorder.Refused.
//
// Refusals of callers who proved nothing about themselves are counted rather than written one by one
// once they come in numbers, so that a stranger can neither fill the disk nor slow the server down.
package audit

import (
	"context"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/repository/internal/store"
)

// Actors that are neither operator nor device.
const (
	// Server acts by itself: the schedule, the start.
	Server = "server"
	// Anonymous showed no certificate, or one that proves nothing.
	Anonymous = "anonymous"
)

// Bounds of what comes from outside, in bytes.
const (
	maxSubject = 512
	maxDetail  = 2048
)

// Refusals of strangers: so many at once, then one a second.
const strangerBurst = 60

// writeTimeout bounds how long a refusal waits for its entry.
const writeTimeout = 10 * time.Second

// Entry returns the record of a change that was made.
func Entry(at time.Time, actor, action, subject, detail string) *pb.AuditRecord {
	return &pb.AuditRecord{
		At: at.Unix(), Actor: bounded(actor, maxSubject), Action: action,
		Subject: bounded(subject, maxSubject), Detail: bounded(detail, maxDetail),
	}
}

// Write writes an entry in the transaction of its change.
func Write(tx store.Tx, e *pb.AuditRecord) error {
	_, err := tx.Audit(e)
	return err
}

// bounded cuts between runes, since a record holds valid UTF-8 only.
func bounded(s string, limit int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= limit {
		return s
	}
	for !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}

// Recorder writes the entries of refusals. It is safe for concurrent use.
type Recorder struct {
	store store.Store
	now   func() time.Time
	log   *slog.Logger

	mu      sync.Mutex
	left    float64   // refusals of strangers that may be written now; guarded by mu, as are the next two
	filled  time.Time // when left was counted
	dropped int       // strangers' refusals since the last entry of one
}

// NewRecorder returns a recorder that writes to s.
func NewRecorder(s store.Store, now func() time.Time, log *slog.Logger) *Recorder {
	return &Recorder{store: s, now: now, log: log, left: strangerBurst, filled: now()}
}

// Refused records that actor was refused action on subject with err. Only refusals count: an error
// without a reason, or of a class that says nothing about the caller's request (a network, this
// machine), is not one. The entry is durable on return; where it cannot be written, the log says so.
// It is written even if ctx has ended, so that hanging up hides nothing.
func (r *Recorder) Refused(ctx context.Context, actor, action, subject string, err error) {
	switch why := reason.Of(err); why.Class() {
	case reason.NotAuthentic, reason.NotAllowed, reason.NotProven, reason.NotYet, reason.Usage:
		if why == reason.NotFound {
			return
		}
	default:
		return
	}
	detail := err.Error()
	if actor == Anonymous {
		more, ok := r.stranger()
		if !ok {
			return
		}
		if more > 0 {
			detail += "; and " + strconv.Itoa(more) + " refusals of strangers before, not written"
		}
	}
	e := Entry(r.now(), actor, action, subject, detail)
	e.Reason = string(reason.Of(err))
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	if err := r.store.Update(ctx, func(tx store.Tx) error { return Write(tx, e) }); err != nil {
		r.log.Error("audit entry of a refusal not written", "actor", actor, "action", action, "error", err)
	}
}

// stranger reports whether a stranger's refusal is written, and how many before it were not.
func (r *Recorder) stranger() (dropped int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	if d := now.Sub(r.filled); d > 0 {
		r.left = min(strangerBurst, r.left+d.Seconds())
	}
	r.filled = now
	if r.left < 1 {
		r.dropped++
		return 0, false
	}
	r.left--
	dropped, r.dropped = r.dropped, 0
	return dropped, true
}
