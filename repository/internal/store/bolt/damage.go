package bolt

import (
	"fmt"
	"os"
	"runtime/debug"
	"syscall"
	"time"

	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/countersign-ota/countersign/proto/reason"
)

// guard runs fn, which calls bbolt and nothing of our callers, and turns a panic or a memory fault
// (the file became shorter under the map, or its disk fails) into reason state-damaged.
func (s *Store) guard(fn func() error) (err error) {
	old := debug.SetPanicOnFault(true)
	defer debug.SetPanicOnFault(old)
	defer func() {
		if p := recover(); p != nil {
			err = reason.Errorf(reason.StateDamaged, "store %q is damaged: %v", s.path, p).
				WithHint("stop the server and restore the store from a backup")
		}
	}()
	return fn()
}

// breakWith ends all later transactions with err, unless an earlier one stands.
func (s *Store) breakWith(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken == nil {
		s.broken = err
	}
	return s.broken
}

func (s *Store) whyBroken() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.broken
}

func (s *Store) isBroken() bool { return s.whyBroken() != nil }

// lockFor locks f (syscall.LOCK_EX or LOCK_SH) and waits up to timeout for it.
func lockFor(f *os.File, how int, timeout time.Duration) error {
	deadline := time.Now().Add(timeout)
	for {
		err := syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB)
		if err == nil {
			return nil
		}
		if err != syscall.EWOULDBLOCK && err != syscall.EINTR {
			return fmt.Errorf("lock: %w", err)
		}
		if time.Now().After(deadline) {
			return bolterrors.ErrTimeout
		}
		time.Sleep(10 * time.Millisecond)
	}
}
