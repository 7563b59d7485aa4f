package bolt

import (
	"context"
	"errors"

	"github.com/countersign-ota/countersign/repository/internal/store"
)

// call is one Update. Its function runs on the goroutine that called Update, so a panic unwinds
// where it belongs; turn hands it the transaction, back returns it, and closing turn ends the call.
type call struct {
	ctx  context.Context
	fn   func(store.Tx) error
	turn chan *tx
	back chan struct{}

	// Written before back or turn's end, read after it.
	ran   bool
	wrote bool  // fn changed something before it failed
	gone  bool  // fn panicked: nobody waits any more
	err   error // of fn, then of the call
}

// errPanicked stands for the result of a function that did not return.
var errPanicked = errors.New("store: the function panicked")

// run calls fn. A context that ended before the first time ends the call.
func (c *call) run(t *tx) {
	defer func() { c.back <- struct{}{} }()
	if !c.ran {
		if err := c.ctx.Err(); err != nil {
			c.err = err
			return
		}
	}
	c.ran, c.gone, c.err = true, true, errPanicked
	defer func() { c.wrote = t.wrote }()
	err := c.fn(t)
	if err == nil {
		err = t.failed
	}
	if err == nil && !t.audited {
		err = store.ErrNoAudit
	}
	c.gone, c.err = false, err
}
