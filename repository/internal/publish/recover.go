package publish

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	controlpb "github.com/countersign-ota/countersign/proto/countersign/control/v1"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/repository/internal/audit"
	"github.com/countersign-ota/countersign/repository/internal/store"
)

// skip is how many versions and counters recovery uses up in each role under people's keys but root:
// what was signed between the copy and its restoration and that nobody has shown (DESIGN 1.5).
const skip = 16

// skipOnline is how many versions of the online roles it leaves out: each second gives them a number, and
// publications that followed each other faster were ahead of the clock when the server was lost.
const skipOnline = 1000

// recovery is one recovery, planned or carried out. Its steps run in one transaction, perhaps more than
// once, and fill plan and answer anew each time.
type recovery struct {
	p   *Publisher
	ctx context.Context //nolint:containedctx // of the one recovery
	now time.Time
	by  string
	// restored says that the store is a copy that was not recovered yet, and since when.
	restored string
	kept     []store.Newer
	refused  []*controlpb.RefusedFile
	taken    []fate
	files    []eventFile
	// snapshot and timestamp are signed, or unsigned says why they cannot be.
	online   []roleFile
	unsigned string
	// before are the problems that the store has without the recovery.
	before map[string]bool
	// people changes operators, devices and tokens; nil in a plan.
	people func(store.Tx) error

	plan *controlpb.PlanRecoveryResponse
	// named are the files that roles in force name, once they were judged.
	named []NamedFile
	entry uint64
}

// steps are carried out in this order. What a later part of the server keeps, it recovers by a step of
// its own.
func (r *recovery) steps() []func(store.Tx) error {
	return []func(store.Tx) error{
		r.begin, r.importRoles, r.endEvents, r.useUp, r.signOnline, r.judge, r.markMissing, r.voidTokens, r.changePeople, r.end,
	}
}

// run carries out the steps.
func (r *recovery) run(tx store.Tx) error {
	for _, step := range r.steps() {
		if err := step(tx); err != nil {
			return err
		}
	}
	return nil
}

// errPlanned ends the transaction of a plan, which changes nothing.
var errPlanned = errors.New("publish: only planned")

// PlanRecovery says what Recover would do: which newer role files it would take, of those that tools have
// shown and of those in event files, and all that follows. It changes nothing. Reasons:
// repository-behind-field (what was shown does not hang together), limit.
func (p *Publisher) PlanRecovery(ctx context.Context, events []*controlpb.EventFile) (*controlpb.PlanRecoveryResponse, error) {
	done, err := p.take(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	r, err := p.recovery(ctx, events)
	if err != nil {
		return nil, err
	}
	return r.plan, nil
}

// Recover carries out the plan with this id, whole or not at all, in one transaction that also changes
// people; then signing, opening and publishing go on. Reasons: those of PlanRecovery, busy (the plan is
// not what it would be now).
func (p *Publisher) Recover(ctx context.Context, by string, events []*controlpb.EventFile, id []byte, people func(store.Tx) error) (*controlpb.RecoverResponse, error) {
	done, err := p.take(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	r, err := p.recovery(ctx, events)
	if err != nil {
		return nil, err
	}
	if string(r.plan.GetId()) != string(id) {
		return nil, reason.Errorf(reason.Busy, "since the plan was shown the server or its newer files changed; nothing was recovered").
			WithHint("look at it again: countersignd recover")
	}
	r.by, r.people = by, people
	if !r.plan.GetDue() {
		return r.onlyPeople()
	}
	var files []published
	for _, f := range r.taken {
		files = append(files, published{f.Repository, roleFile{role: f.Role, version: f.version, data: f.Data}, false})
	}
	settle, err := p.index.announce(files)
	if err != nil {
		return nil, err
	}
	err = p.Store.Update(ctx, r.run)
	settle(err == nil)
	if err != nil {
		return nil, err
	}
	answer := &controlpb.RecoverResponse{Done: r.plan, Entry: r.entry}
	for _, f := range r.online {
		if f.role == metadata.Snapshot {
			answer.Snapshot = f.version
		} else {
			answer.Timestamp = f.version
		}
	}
	p.look()
	return answer, p.reload()
}

// onlyPeople changes people where there is nothing to recover, or where that was done and the process died
// before anybody had the tokens.
func (r *recovery) onlyPeople() (*controlpb.RecoverResponse, error) {
	answer := &controlpb.RecoverResponse{Done: r.plan}
	return answer, r.p.Store.Update(r.ctx, func(tx store.Tx) (err error) {
		if answer.Entry, err = tx.Audit(audit.Entry(r.now, r.by, "server.recover", r.p.Deployment, "people only")); err != nil {
			return err
		}
		return r.people(tx)
	})
}

// recovery prepares one and plans it; the caller has the turn.
func (p *Publisher) recovery(ctx context.Context, events []*controlpb.EventFile) (*recovery, error) {
	r := &recovery{p: p, ctx: ctx, now: p.Now(), by: audit.Server}
	err := p.Store.View(ctx, func(v store.View) (err error) {
		if r.restored, err = v.Meta(store.MetaRestored); missing(err) != nil {
			return err
		}
		r.kept, err = v.Newer()
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := r.choose(events); err != nil {
		return nil, err
	}
	if !r.due() {
		r.plan = r.newPlan()
		return r, r.identify()
	}
	if r.before, err = r.problems(); err != nil {
		return nil, err
	}
	if err := r.sign(); err != nil {
		return nil, err
	}
	err = p.Store.Update(ctx, func(tx store.Tx) error {
		if err := r.run(tx); err != nil {
			return err
		}
		return errPlanned
	})
	if !errors.Is(err, errPlanned) {
		return nil, err
	}
	return r, r.identify()
}

func (r *recovery) due() bool { return r.restored != "" || len(r.taken) > 0 || len(r.kept) > 0 }

// choose judges all files that were shown.
func (r *recovery) choose(events []*controlpb.EventFile) error {
	var shown []Shown
	for _, k := range r.kept {
		shown = append(shown, shownOf(k))
	}
	for _, e := range events {
		files, err := r.read(e)
		if err != nil {
			r.refused = append(r.refused, &controlpb.RefusedFile{From: "file " + e.GetName(), Reason: string(reason.Of(err)), Message: err.Error()})
		}
		shown = append(shown, files...)
	}
	// What was published comes before what was put together from an event.
	slices.SortStableFunc(shown, func(a, b Shown) int {
		switch {
		case a.Assembled == b.Assembled:
			return 0
		case b.Assembled:
			return -1
		}
		return 1
	})
	fates, err := r.p.newest(r.ctx, shown)
	if err != nil {
		return err
	}
	for _, f := range fates {
		if f.taken {
			r.taken = append(r.taken, f)
		}
		// That an event file also carries what was in force long ago is no news.
		if f.err != nil && !reason.Is(f.err, reason.Rollback) {
			r.refused = append(r.refused, &controlpb.RefusedFile{
				From: f.From, Repository: string(f.Repository), Role: f.Role, Version: f.version,
				Reason: string(reason.Of(f.err)), Message: f.err.Error(),
			})
		}
	}
	sortTaken(r.taken)
	return nil
}

// sign makes the snapshot and timestamp that name what was taken.
func (r *recovery) sign() error {
	c, err := r.p.current(r.ctx)
	if err != nil || c.snapshot.version == 0 {
		return err
	}
	c.snapshot.version = nextOnline(c.snapshot.version, r.now) + skipOnline
	c.timestamp = nextOnline(c.timestamp, r.now) + skipOnline
	var changed []roleFile
	for _, f := range r.taken {
		switch {
		case f.Repository != metadata.Image:
		case f.Role == metadata.Root:
			if c.root, err = metadata.ParseRoot(f.Data, metadata.Profile); err != nil {
				return err
			}
		default:
			changed = append(changed, roleFile{role: f.Role, version: f.version, data: f.Data})
		}
	}
	r.online, err = r.p.onlineFiles(c, changed)
	if reason.Is(err, reason.OnlineKeyUnknown) {
		r.unsigned = err.Error()
		return nil
	}
	return err
}

// problems returns what is wrong with the store as it is.
func (r *recovery) problems() (map[string]bool, error) {
	found := map[string]bool{}
	err := r.p.Store.View(r.ctx, func(v store.View) error {
		_, err := CheckStored(r.ctx, v, r.p.Deployment, func(string) {}, func(where string, err error) {
			if err != nil {
				found[where] = true
			}
		})
		return err
	})
	return found, err
}

func (r *recovery) newPlan() *controlpb.PlanRecoveryResponse {
	return &controlpb.PlanRecoveryResponse{Restored: r.restored, Due: r.due(), Refused: r.refused, Unsigned: r.unsigned}
}

// begin writes the first entry, which names the last one of the log as it was restored.
func (r *recovery) begin(tx store.Tx) error {
	r.plan = r.newPlan()
	var from []string
	for _, f := range r.taken {
		from = append(from, f.From)
	}
	detail := "tools and devices report no checkpoints of the log yet"
	if r.restored != "" {
		detail = r.restored + "; " + detail
	}
	if len(from) > 0 {
		detail += "; newer files from " + strings.Join(sortedSet(from), ", ")
	}
	seq, err := tx.Audit(audit.Entry(r.now, r.by, "server.recover", r.p.Deployment, detail))
	r.plan.LastEntry, r.entry = seq-1, seq
	return err
}

// judge refuses a recovery that would leave something in force that no device accepts, such as a product
// that the newest targets give to other people while its own newer file was shown by nobody.
func (r *recovery) judge(tx store.Tx) error {
	var first error
	var err error
	r.named, err = CheckStored(r.ctx, tx, r.p.Deployment, func(string) {}, func(where string, err error) {
		if err != nil && first == nil && !r.before[where] {
			first = reason.Errorf(reason.BehindField, "what was shown does not hang together: with it, %s: %v", where, err).
				WithHint("have people who have seen newer files run countersign status, or give their .event files: countersignd recover FILE")
		}
	})
	return errors.Join(err, first)
}

// end takes the marks away.
func (r *recovery) end(tx store.Tx) error {
	for _, k := range r.kept {
		if err := tx.DeleteNewer(k.Repository, k.Role, k.Version); err != nil {
			return err
		}
	}
	if r.restored == "" {
		return nil
	}
	return tx.SetMeta(store.MetaRestored, "")
}

// identify names the plan by all that a person judges it by.
func (r *recovery) identify() error {
	if err := r.list(); err != nil {
		return err
	}
	same := proto.CloneOf(r.plan)
	same.Id, same.LastEntry = nil, 0 // a refused stranger in between changes nothing
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(same)
	if err != nil {
		return err
	}
	for _, f := range r.taken {
		data = fmt.Appendf(data, "%s/%s/%d/%x\n", f.Repository, f.Role, f.version, f.digest)
	}
	id := sha256.Sum256(data)
	r.plan.Id = id[:]
	return nil
}
