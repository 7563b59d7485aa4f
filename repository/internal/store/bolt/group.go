package bolt

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/countersign-ota/countersign/internal/durable"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/repository/internal/store"
)

// Group commit. One goroutine takes writers from a queue, waits a moment for more, runs their
// functions one after the other in one bbolt transaction and commits it with two syncs, however many
// they are. If functions fail, those that wrote nothing are left out; if one that wrote something
// fails, the transaction is rolled back, the others run again without it, and it runs again alone
// after them, since its failure may be due to a change that did not last.
//
// bbolt's own Batch does nearly this; but it commits on a goroutine of its own, where a panic about a
// damaged file ends the process.
type group struct {
	s      *Store
	window time.Duration
	max    int
	calls  chan *call
	quit   chan struct{}
	done   chan struct{}

	mu     sync.RWMutex
	closed bool // guarded by mu; writers hold it for reading while they queue
}

func newGroup(s *Store, window time.Duration, max int) *group {
	g := &group{
		s: s, window: window, max: max,
		calls: make(chan *call, max),
		quit:  make(chan struct{}),
		done:  make(chan struct{}),
	}
	go g.loop()
	return g
}

func (g *group) update(ctx context.Context, fn func(store.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c := &call{ctx: ctx, fn: fn, turn: make(chan *tx), back: make(chan struct{})}
	if err := g.queue(c); err != nil {
		return err
	}
	for t := range c.turn {
		c.run(t)
	}
	return c.err
}

func (g *group) queue(c *call) error {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if g.closed {
		return reason.Errorf(reason.Busy, "the store is closed")
	}
	select {
	case g.calls <- c:
		return nil
	case <-c.ctx.Done():
		return c.ctx.Err()
	}
}

// close stops the goroutine once the queue is empty. It reports false if that was done before.
func (g *group) close() bool {
	g.mu.Lock()
	closed := g.closed
	g.closed = true
	g.mu.Unlock()
	if closed {
		return false
	}
	close(g.quit)
	<-g.done
	return true
}

func (g *group) loop() {
	defer close(g.done)
	for {
		select {
		case c := <-g.calls:
			g.run(g.collect(c))
		case <-g.quit:
			// Nobody queues any more.
			for {
				select {
				case c := <-g.calls:
					g.run([]*call{c})
				default:
					return
				}
			}
		}
	}
}

// collect waits for calls that share the commit of the first one.
func (g *group) collect(first *call) []*call {
	calls := []*call{first}
	if g.max == 1 {
		return calls
	}
	timer := time.NewTimer(g.window)
	defer timer.Stop()
	for len(calls) < g.max {
		select {
		case c := <-g.calls: // queued already, while others were committed
			calls = append(calls, c)
			continue
		default:
		}
		select {
		case c := <-g.calls:
			calls = append(calls, c)
		case <-timer.C:
			return calls
		case <-g.quit:
			return calls
		}
	}
	return calls
}

// run carries out calls and ends each of them.
func (g *group) run(calls []*call) {
	var alone []*call
	rest := calls
	for len(rest) > 0 {
		ok, refused, dirty := g.attempt(rest)
		if len(dirty) == 0 {
			// Those that were refused on the grounds of a commit that failed are judged again.
			if len(ok) > 0 && ok[0].err != nil {
				alone = append(alone, refused...)
			}
			break
		}
		alone = append(alone, dirty...)
		rest = slices.DeleteFunc(append(ok, refused...), func(c *call) bool { return c.gone })
	}
	if len(calls) > 1 {
		for _, c := range alone {
			if !c.gone {
				g.attempt([]*call{c})
			}
		}
	}
	for _, c := range calls {
		close(c.turn)
	}
}

// attempt runs calls in one transaction. ok ran well and were committed, or share the error of the
// commit; refused failed without having written; dirty failed after they wrote, and then nothing was
// committed.
func (g *group) attempt(calls []*call) (ok, refused, dirty []*call) {
	b, err := g.begin()
	if err != nil {
		for _, c := range calls {
			c.err = err
		}
		return calls, nil, nil
	}
	for _, c := range calls {
		c.turn <- &tx{s: g.s, b: b}
		<-c.back
		switch {
		case c.err == nil:
			ok = append(ok, c)
		case c.wrote:
			dirty = append(dirty, c)
		default:
			refused = append(refused, c)
		}
	}
	if len(dirty) > 0 || len(ok) == 0 {
		if err := g.s.guard(b.Rollback); err != nil {
			_ = g.s.breakWith(err)
		}
		return ok, refused, dirty
	}
	err = g.commit(b)
	for _, c := range ok {
		c.err = err
	}
	return ok, refused, nil
}

func (g *group) begin() (*bolt.Tx, error) {
	if err := g.s.whyBroken(); err != nil {
		return nil, err
	}
	var b *bolt.Tx
	err := g.s.guard(func() (err error) {
		b, err = g.s.db.Begin(true)
		return err
	})
	if err != nil {
		return nil, g.s.breakWith(fileError(err, g.s.path))
	}
	return b, nil
}

// errUnknown marks a commit of which bbolt does not know whether it will last.
var errUnknown = errors.New("the last change may or may not last")

// commit makes the transaction durable. An error means that it did not happen; where that is not
// certain, or bbolt panicked, no transaction is begun any more.
func (g *group) commit(b *bolt.Tx) error {
	id := b.ID()
	durable.Step("commit", g.s.path)
	finished := false
	err := g.s.guard(func() error {
		err := b.Commit()
		finished = true
		return err
	})
	if err == nil {
		durable.Step("committed", g.s.path)
		return nil
	}
	err = fileError(err, g.s.path)
	if !finished {
		return g.s.breakWith(err)
	}
	// When the sync of the new meta page failed, readers see the change already, and a power cut may
	// undo it.
	seen := id
	if viewErr := g.s.view(func(t *tx) error { seen = t.b.ID(); return nil }); viewErr != nil || seen >= id {
		return g.s.breakWith(reason.Errorf(reason.StateDamaged, "store %q: %w: %v", g.s.path, errUnknown, err).
			WithHint("restart the server once its disk is well"))
	}
	return err
}
