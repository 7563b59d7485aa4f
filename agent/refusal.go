package agent

import (
	"context"
	"errors"

	"google.golang.org/protobuf/proto"

	"github.com/countersign-ota/countersign/agent/internal/state"
	"github.com/countersign-ota/countersign/proto/reason"
)

// targetError is a refusal of one target. Its text is the cause's.
type targetError struct {
	path    string
	counter int64
	err     error
}

func (e *targetError) Error() string { return e.err.Error() }
func (e *targetError) Unwrap() error { return e.err }

// refused keeps in the record why nothing is installed, so that status can say it. What a retry may
// cure by itself is not kept. It returns err.
func (a *Agent) refused(ctx context.Context, err error) error {
	r := reason.Of(err)
	if err == nil || ctx.Err() != nil || r.Class() == reason.NotReachable || r.Class() == reason.Usage {
		return err
	}
	rec := a.store.Record()
	next := &state.Refusal{Reason: string(r), Text: clip(err.Error())}
	var about *targetError
	if errors.As(err, &about) {
		next.Path, next.Counter = about.path, about.counter
	}
	if old := rec.Refusal; old != nil {
		next.At = old.At
	}
	if proto.Equal(next, rec.Refusal) {
		return err
	}
	next.At = a.cfg.now(rec.TimeFloor).Unix()
	rec.Refusal = next
	if cerr := a.commit(rec); cerr != nil {
		return errors.Join(err, cerr)
	}
	return err
}
