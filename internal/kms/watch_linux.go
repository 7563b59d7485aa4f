package kms

import (
	"errors"
	"os/exec"

	"golang.org/x/sys/unix"
)

// watch returns a channel that is closed when the process has ended, and a function that then reaps it
// and says how it ended. Until it is reaped its number, and so that of its group, is no other's.
func watch(cmd *exec.Cmd) (ended <-chan struct{}, reap func() error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			var info unix.Siginfo
			err := unix.Waitid(unix.P_PID, cmd.Process.Pid, &info, unix.WEXITED|unix.WNOWAIT, nil)
			if !errors.Is(err, unix.EINTR) {
				return
			}
		}
	}()
	return done, func() error {
		<-done
		return cmd.Wait()
	}
}

// killGroup ends what is left of the process group, and a leader that left it. It MUST be called before the leader is reaped.
func killGroup(cmd *exec.Cmd, _ <-chan struct{}) {
	_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
	_ = cmd.Process.Kill()
}
