package stage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/countersign-ota/countersign/proto/reason"
)

// flushAfter bounds how long received bytes lie in the buffer of a slow transfer.
const flushAfter = 5 * time.Second

var (
	errStalled = errors.New("transfer stalled")
	errShort   = errors.New("the file ended early")
)

// transfer brings all bytes, in as many attempts as it takes and Options allow.
func (d *Dir) transfer(ctx context.Context, p *part, f File, source Source, progress func(done, total int64)) error {
	failures, short := 0, int64(-1)
	for p.n < f.Length { // there is nothing to ask for at the end of a file
		before := p.n
		err := d.attempt(ctx, p, f, source, progress)
		switch {
		case err == nil:
			continue
		case ctx.Err() != nil:
			return ctx.Err()
		case !transient(err):
			return err
		}
		if errors.Is(err, errShort) {
			// A stream can be cut so that it looks ended; one that ends twice at the same place is
			// a shorter file than the signed one.
			if short == p.n {
				return reason.Errorf(reason.LengthMismatch, "%d bytes, signed %d", p.n, f.Length)
			}
			short = p.n
		}
		if p.n-before >= d.enough() {
			failures = 0
		}
		if failures++; failures >= d.o.Attempts {
			return unreachable(err, p.n, f.Length)
		}
		if err := d.o.Sleep(ctx, d.pause(failures)); err != nil {
			return err
		}
	}
	return nil
}

// enough is how many bytes an attempt must bring to count as progress.
func (d *Dir) enough() int64 {
	return int64(float64(d.o.LeastRate) * d.o.Window.Seconds())
}

// pause is how long to wait after so many failures in a row.
func (d *Dir) pause(failures int) time.Duration {
	pause := d.o.Pause
	for i := 1; i < failures && pause < d.o.PauseMax; i++ {
		pause *= 2
	}
	pause = min(pause, d.o.PauseMax)
	return pause/2 + time.Duration(d.o.Random()*float64(pause/2))
}

// transient reports whether the same transfer may succeed later. An error without a reason came from
// the network: those of the disk and those of the server have one.
func transient(err error) bool {
	switch reason.Of(err) {
	case "", reason.Unreachable, reason.Busy:
		return true
	}
	return false
}

func unreachable(err error, at, length int64) error {
	text := fmt.Sprintf("transfer failed at byte %d of %d: %v", at, length, err)
	return &reason.Error{Reason: reason.Unreachable, Text: text, Hint: reason.HintOf(err), Err: err}
}

// attempt opens the source where the part ends and copies until the file is whole.
func (d *Dir) attempt(ctx context.Context, p *part, f File, source Source, progress func(done, total int64)) error {
	ctx, cut := context.WithCancelCause(ctx)
	var received atomic.Int64
	var watch sync.WaitGroup
	watch.Go(func() { d.watch(ctx, &received, cut) })
	defer watch.Wait()
	defer cut(nil)

	err := func() error {
		r, err := source(ctx, p.n)
		if err != nil {
			return err
		}
		defer r.Close()
		return pump(p, f.Length, r, func(n int, at int64) {
			received.Add(int64(n))
			progress(at, f.Length)
		})
	}()
	if errors.Is(context.Cause(ctx), errStalled) && err != nil && transient(err) {
		return fmt.Errorf("%w: less than %d bytes a second for %v", errStalled, d.o.LeastRate, d.o.Window)
	}
	return err
}

// watch cuts the transfer when in any window, looked at six times in it, fewer bytes came than the
// least rate demands.
func (d *Dir) watch(ctx context.Context, received *atomic.Int64, cut context.CancelCauseFunc) {
	const looks = 6
	tick, stop := d.o.Tick(d.o.Window / looks)
	defer stop()
	var seen [looks]int64 // how many bytes had come at the last looks, oldest at i
	for i, full := 0, false; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick:
		}
		now := received.Load()
		if full && now-seen[i] < d.enough() {
			cut(errStalled)
			return
		}
		seen[i] = now
		if i++; i == looks {
			i, full = 0, true
		}
	}
}

// pump copies r to p until length bytes are there. One byte more is an error (length-mismatch).
func pump(p *part, length int64, r io.Reader, got func(n int, at int64)) error {
	buf := make([]byte, bufferSize)
	fill, since := 0, time.Now()
	for p.n+int64(fill) < length {
		n, err := r.Read(buf[fill:])
		fill += n
		if p.n+int64(fill) > length {
			return reason.Errorf(reason.LengthMismatch, "more than the signed %d bytes", length)
		}
		got(n, p.n+int64(fill))
		whole := p.n+int64(fill) == length
		if fill == len(buf) || err != nil || whole || time.Since(since) >= flushAfter {
			if fill > 0 {
				if err := p.write(buf[:fill]); err != nil {
					return err
				}
			}
			fill, since = 0, time.Now()
		}
		switch {
		case whole:
		case errors.Is(err, io.EOF):
			return errShort
		case err != nil:
			return err
		}
	}
	// All bytes are there. Whether the stream ends here as well is asked of a peer that answers.
	for {
		n, err := r.Read(buf[:1])
		if n > 0 {
			return reason.Errorf(reason.LengthMismatch, "more than the signed %d bytes", length)
		}
		if err != nil {
			return nil //nolint:nilerr // all bytes are there and their hash is judged next
		}
	}
}
