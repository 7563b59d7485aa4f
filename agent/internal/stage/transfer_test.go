package stage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign-ota/countersign/proto/reason"
)

// A server that sends too little is cut after a window, by ticks that the test gives, and asked again
// from where it was.
func TestStalledTransferIsCutAndTakenUpAgain(t *testing.T) {
	data := image(bufferSize)
	tick := make(chan time.Time)
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		for {
			select {
			case tick <- time.Time{}:
			case <-stop:
				return
			}
		}
	}()
	o := quick()
	o.Tick = func(time.Duration) (<-chan time.Time, func()) { return tick, func() {} }
	d := open(t, o)
	first := true
	s := &serve{data: data, limit: 1000, hang: true}
	_, err := d.Stage(t.Context(), fileOf(data), func(ctx context.Context, offset int64) (io.ReadCloser, error) {
		if !first {
			s.limit, s.hang = 0, false
		}
		first = false
		return s.open(ctx, offset)
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	whole(t, d, data)
	if fmt.Sprint(s.offsets) != "[0 1000]" {
		t.Errorf("asked at %v, want [0 1000]", s.offsets)
	}
}

func TestEndlessStallIsUnreachable(t *testing.T) {
	data := image(bufferSize)
	o := quick()
	o.Window, o.LeastRate = time.Millisecond, 1<<20
	o.Attempts = 3
	d, s := open(t, o), &serve{data: data, limit: 1, hang: true}
	_, err := d.Stage(t.Context(), fileOf(data), s.open, nil)
	if !reason.Is(err, reason.Unreachable) || !errors.Is(err, errStalled) {
		t.Errorf("got %v [%s], want [unreachable]", err, reason.Of(err))
	}
	if d.Has(fileOf(data).SHA256) {
		t.Error("staged")
	}
	// What arrived is kept: the next call starts there.
	s2 := &serve{data: data}
	if _, err := d.Stage(t.Context(), fileOf(data), s2.open, nil); err != nil {
		t.Fatal(err)
	}
	if s2.offsets[0] == 0 {
		t.Errorf("started anew")
	}
}

// The rate is judged over the window, not from one look to the next.
func TestWatch(t *testing.T) {
	const window = 6 * time.Second // a look a second, 6 KiB a window
	cases := []struct {
		name  string
		bytes []int64 // received between looks
		cut   bool
	}{
		{"steady", []int64{1024, 1024, 1024, 1024, 1024, 1024, 1024, 1024, 1024, 1024}, false},
		{"in bursts", []int64{6144, 0, 0, 0, 0, 0, 6144, 0, 0, 0, 0, 0, 6144}, false},
		{"too slow", []int64{1024, 1024, 1024, 1024, 1024, 1024, 1024, 1023}, true},
		{"grace at the start", []int64{0, 0, 0, 0, 0, 0}, false},
		{"stalled from the start", []int64{0, 0, 0, 0, 0, 0, 0}, true},
		{"stalled later", []int64{1 << 20, 0, 0, 0, 0, 0, 0, 0}, true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			tick := make(chan time.Time)
			d := open(t, Options{Window: window, Tick: func(d time.Duration) (<-chan time.Time, func()) {
				if d != window/6 {
					t.Errorf("looks every %v", d)
				}
				return tick, func() {}
			}})
			ctx, cut := context.WithCancelCause(t.Context())
			var received atomic.Int64
			done := make(chan struct{})
			go func() { defer close(done); d.watch(ctx, &received, cut) }()
			for _, n := range c.bytes {
				received.Add(n)
				select {
				case tick <- time.Time{}:
				case <-done:
				}
			}
			// Either the watch ended by itself, or it takes one more tick and then our end.
			if !c.cut {
				received.Add(1 << 20)
				select {
				case tick <- time.Time{}:
				case <-done:
				}
				cut(nil)
			}
			<-done
			if got := errors.Is(context.Cause(ctx), errStalled); got != c.cut {
				t.Errorf("cut %v, want %v", got, c.cut)
			}
		})
	}
}

func TestFailures(t *testing.T) {
	data := image(4 * bufferSize)
	down := reason.Errorf(reason.Unreachable, "connection refused")
	cases := []struct {
		name     string
		s        *serve
		attempts int
		want     reason.Reason
		asked    int
	}{
		{"comes back", &serve{fail: []error{down, io.ErrUnexpectedEOF, reason.Errorf(reason.Busy, "later")}}, 4, "", 4},
		{"stays away", &serve{fail: []error{down, down, down, down}}, 3, reason.Unreachable, 3},
		{"one attempt", &serve{fail: []error{down}}, 1, reason.Unreachable, 1},
		{"forbidden", &serve{fail: []error{reason.Errorf(reason.Permission, "no certificate")}}, 8, reason.Permission, 1},
		{"no such file", &serve{fail: []error{reason.Errorf(reason.NotFound, "gone")}}, 8, reason.NotFound, 1},
		// Each attempt brings enough to count as progress, so the number of them is no limit.
		{"cut often", &serve{limit: 70 << 10, end: io.ErrUnexpectedEOF}, 2, "", 15},
		{"drips", &serve{limit: 10, end: io.ErrUnexpectedEOF}, 5, reason.Unreachable, 5},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			o := quick()
			o.Attempts = c.attempts
			d := open(t, o)
			c.s.data = data
			_, err := d.Stage(t.Context(), fileOf(data), c.s.open, nil)
			if reason.Of(err) != c.want || (err == nil) != (c.want == "") {
				t.Errorf("got %v [%s], want [%s]", err, reason.Of(err), c.want)
			}
			if len(c.s.offsets) != c.asked {
				t.Errorf("asked %d times, want %d", len(c.s.offsets), c.asked)
			}
			if err == nil {
				whole(t, d, data)
			}
		})
	}
}

func TestPause(t *testing.T) {
	var slept []time.Duration
	o := Options{
		Attempts: 9,
		Random:   func() float64 { return 1 },
		Sleep:    func(_ context.Context, d time.Duration) error { slept = append(slept, d); return nil },
	}
	d := open(t, o)
	s := &serve{limit: 1, end: io.ErrUnexpectedEOF, data: image(100)}
	if _, err := d.Stage(t.Context(), fileOf(s.data), s.open, nil); !reason.Is(err, reason.Unreachable) {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(slept), "[1s 2s 4s 8s 16s 32s 1m0s 1m0s]"; got != want {
		t.Errorf("slept %s, want %s", got, want)
	}
	d.o.Random = func() float64 { return 0 }
	if got := d.pause(3); got != 2*time.Second {
		t.Errorf("least pause after 3 failures %v, want 2s", got)
	}
}

func TestDiskFullBeforeTheFirstByte(t *testing.T) {
	o := quick()
	o.Reserve = 1 << 60
	d, s := open(t, o), &serve{data: image(100)}
	_, err := d.Stage(t.Context(), fileOf(s.data), s.open, nil)
	if !reason.Is(err, reason.DiskFull) || !strings.Contains(err.Error(), "wanted 1152921504606847076 bytes, free ") {
		t.Errorf("got %v [%s]", err, reason.Of(err))
	}
	if len(s.offsets) != 0 {
		t.Error("fetched although there is no room")
	}
	if err := d.Clean(nil); err != nil || len(names(t, d)) != 0 {
		t.Errorf("left behind: %q, %v", names(t, d), err)
	}
}
