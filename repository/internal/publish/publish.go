// Package publish turns signing events into published metadata (DESIGN 1.5, 3).
//
// An event is opened, gathers signatures, and is published or cancelled. Every step judges it with
// signer/event, the same judgement that people's tools make, against what is in force here; what the
// server adds is what only it knows: its online keys, what signatures used up, which events are open,
// which files it holds. Publishing writes the event's files, a new snapshot and a new timestamp in one
// transaction of the store, so readers see the old set or the new one. A schedule keeps snapshot and
// timestamp fresh with the online keys; they sign nothing else.
//
// Start with Open. All decisions run one at a time; readers never wait for them.
package publish

import (
	"context"
	"crypto"
	"encoding/hex"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/sigstore/sigstore/pkg/signature"

	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/repository/internal/audit"
	"github.com/countersign-ota/countersign/repository/internal/blob"
	"github.com/countersign-ota/countersign/repository/internal/store"
	"github.com/countersign-ota/countersign/signer/event"
)

// MaxEvent bounds an event file in bytes.
const MaxEvent = event.MaxSize

// Bounds of what one call adds to an event.
const (
	maxSignaturesAFile = 64
	maxApprovals       = 64
)

// maxReason bounds the reason of a cancellation, in bytes.
const maxReason = 1024

// Config is what a Publisher works with.
type Config struct {
	Deployment string
	Store      store.Store
	Blobs      *blob.Dir
	Audit      *audit.Recorder
	// ImageKey signs the image repository's snapshot and timestamp. It may lie in a token.
	ImageKey interface {
		signature.Signer
		Public
	}
	// DirectorKey signs the director's online roles.
	DirectorKey crypto.Signer
	// TLS are the SPKI hashes of the server's TLS anchors.
	TLS [][32]byte
	Now func() time.Time
	Log *slog.Logger
}

// Publisher takes events and publishes them. It is safe for concurrent use.
type Publisher struct {
	Config
	online onlineKeys

	// turn is held by the one decision that runs: from judging to the end of its transaction.
	turn chan struct{}
	// state is what is in force, as far as it was read; guarded by turn.
	state *event.State
	// cache keeps parsed role files from one state to the next.
	cache event.Cache
	// judged holds open events as they were judged last; guarded by turn.
	judged map[store.EventID]judged
	// parsed is guarded by turn.
	parsed parsed
	// wake has the schedule look before its time.
	wake chan struct{}
	// dated are the roles in force and when they expire, nil until they are read; warned is how many
	// thresholds of expiry the log was told of, by role; tried is when the server last wanted to open a
	// refresh, by group of roles; unwell is why it cannot do all of its work, as of looked. Guarded by turn.
	dated  map[event.RoleRef]dated
	warned map[string]int
	tried  map[string]time.Time
	unwell error
	looked time.Time

	index     index
	approvals approvalCache
}

// Open returns a Publisher over what is stored. Nothing is signed before Run.
func Open(ctx context.Context, c Config) (*Publisher, error) {
	p := &Publisher{Config: c, turn: make(chan struct{}, 1), wake: make(chan struct{}, 1), judged: map[store.EventID]judged{}, tried: map[string]time.Time{}}
	var err error
	p.index.cache = &p.cache
	if p.online, err = newOnlineKeys(c); err != nil {
		return nil, err
	}
	if err := p.reload(); err != nil {
		return nil, err
	}
	if err := p.index.load(ctx, c.Store); err != nil {
		return nil, err
	}
	return p, nil
}

// take waits for the turn; the returned function gives it back.
func (p *Publisher) take(ctx context.Context) (func(), error) {
	select {
	case p.turn <- struct{}{}:
		return sync.OnceFunc(func() { <-p.turn }), nil
	case <-ctx.Done():
		return nil, reason.Errorf(reason.Busy, "the server is busy with other events: %w", ctx.Err())
	}
}

// begin waits for the turn to decide on an event that is known here, and reads it; done gives the turn
// back. On an error there is nothing to give back.
func (p *Publisher) begin(ctx context.Context, idText string) (id store.EventID, rec *pb.EventRecord, done func(), err error) {
	if id, err = parseID(idText); err != nil {
		return id, nil, nil, err
	}
	if done, err = p.take(ctx); err != nil {
		return id, nil, nil, err
	}
	if rec, err = p.record(ctx, id); err != nil {
		done()
		return id, nil, nil, err
	}
	return id, rec, done, nil
}

// reload forgets what of the state in force was read, and every judgement by it; the caller has the
// turn.
func (p *Publisher) reload() error {
	clear(p.judged)
	p.dated = nil
	s, err := p.cache.StateOf(source{p.Store}, p.Deployment)
	p.state = s
	return err
}

// judge judges an event against what is in force; the caller has the turn. opening is true when the
// event is not open yet.
func (p *Publisher) judge(ctx context.Context, e *event.Event, opening bool) (*event.Judgement, error) {
	return event.Judge(e, p.state, p.options(ctx, opening))
}

// options are how this server judges.
func (p *Publisher) options(ctx context.Context, opening bool) event.Options {
	return event.Options{
		Now: p.Now(), Memory: used{ctx, p.Store}, Online: &p.online.own, Opening: opening, Past: history{ctx, p.Store},
	}
}

// judged is an open event and its judgement against the state in force.
type judged struct {
	j  *event.Judgement
	at time.Time
}

// Bounds of judgements that are kept: expiry is judged by the clock, so none lives long.
const (
	maxJudged   = 64
	judgedLives = time.Hour
)

// judgement returns the judgement of a stored open event: the one that was made before, if nothing was
// published since, else a new one. The caller has the turn, and forgets it if a change to it could not
// be stored.
func (p *Publisher) judgement(ctx context.Context, id store.EventID, rec *pb.EventRecord) (*event.Judgement, error) {
	if old, ok := p.judged[id]; ok {
		if age := p.Now().Sub(old.at); age >= 0 && age < judgedLives {
			return old.j, nil
		}
	}
	e, err := event.Parse(rec.GetEvent())
	if err != nil {
		return nil, damaged(id, err)
	}
	j, err := p.judge(ctx, e, false)
	if err != nil {
		return nil, err
	}
	p.keep(id, j)
	return j, nil
}

// keep keeps a judgement of an event that is stored as it says.
func (p *Publisher) keep(id store.EventID, j *event.Judgement) {
	if len(p.judged) >= maxJudged {
		clear(p.judged)
	}
	p.judged[id] = judged{j, p.Now()}
}

// source gives signer/event the files in force.
type source struct{ store store.Store }

var _ event.Source = source{}

// Current implements event.Source.
func (s source) Current(r metadata.Repository, role string) (data []byte, err error) {
	err = s.store.View(context.Background(), func(v store.View) error {
		_, rec, err := v.Current(r, role)
		data = rec.GetData()
		return missing(err)
	})
	return data, err
}

// Root implements event.Source.
func (s source) Root(r metadata.Repository, version int64) (data []byte, err error) {
	err = s.store.View(context.Background(), func(v store.View) error {
		rec, err := v.Role(r, metadata.Root, version)
		data = rec.GetData()
		return missing(err)
	})
	return data, err
}

// missing drops the error that says that there is no such record.
func missing(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}

// used is the server's event.Memory: what signatures used up. What a person's machine saw or signed
// is not its matter.
type used struct {
	ctx   context.Context //nolint:containedctx // of the one judgement that it is made for
	store store.Store
}

var _ event.Memory = used{}

// Seen implements event.Memory; the base in force says it all here.
func (used) Seen(metadata.Repository, string) (int64, [32]byte) { return 0, [32]byte{} }

// Signed implements event.Memory.
func (used) Signed(metadata.Repository, string, int64) ([32]byte, bool) { return [32]byte{}, false }

// Used implements event.Memory. A record that cannot be read uses up everything: nothing is signed
// twice because of a damaged store.
func (u used) Used(r metadata.Repository, role string) (version, counter int64) {
	err := u.store.View(u.ctx, func(v store.View) error {
		rec, err := v.Used(r, role)
		version, counter = rec.GetVersion(), rec.GetCounter()
		return missing(err)
	})
	if err != nil {
		return metadata.MaxVersion, metadata.MaxVersion
	}
	return version, counter
}

// actor names an operator, or the server itself, in the audit log.
func actor(by string) string {
	if by == audit.Server {
		return by
	}
	return "operator/" + by
}

// parseID reads the full id of an event: malformed.
func parseID(id string) (store.EventID, error) {
	b, err := hex.DecodeString(id)
	if err != nil || len(b) != 32 || hex.EncodeToString(b) != id {
		return store.EventID{}, reason.Errorf(reason.Malformed, "event id %q is not 64 lower-case hex digits", id)
	}
	return store.EventID(b), nil
}

// record reads a stored event; not-found without one.
func (p *Publisher) record(ctx context.Context, id store.EventID) (rec *pb.EventRecord, err error) {
	err = p.Store.View(ctx, func(v store.View) error {
		rec, err = v.Event(id)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil, reason.Errorf(reason.NotFound, "event %.12s is not known here: %w", id, store.ErrNotFound).
			WithHint("countersign event list --all")
	}
	return rec, err
}

// notOpen returns why an event takes nothing more; nil for an open one.
func notOpen(id store.EventID, rec *pb.EventRecord) error {
	switch rec.GetState() {
	case pb.EventState_EVENT_STATE_OPEN:
		return nil
	case pb.EventState_EVENT_STATE_PUBLISHED:
		return reason.Errorf(reason.EventPublished, "event %.12s is published already", id)
	case pb.EventState_EVENT_STATE_CANCELLED:
		return reason.Errorf(reason.EventCancelled, "event %.12s was cancelled: %s", id, rec.GetCancelReason())
	}
	if len(rec.GetStaleBy()) == 0 {
		return reason.Errorf(reason.EventStale, "event %.12s is stale: it was open when the server was recovered from a copy; its signatures are kept but void", id).
			WithHint("open it anew on what is in force now")
	}
	return reason.Errorf(reason.EventStale, "event %.12s is stale: %.12s came first on one of its roles; its signatures are kept but void",
		id, hex.EncodeToString(rec.GetStaleBy())).WithHint("open it anew on what is in force now")
}

// The words of signer/event in which the edge speaks to a Publisher.
type (
	// Signature is one signature over a file of an event.
	Signature = event.Signature
	// Outcome says what became of one signature or approval.
	Outcome = event.Outcome
)
