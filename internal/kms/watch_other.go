//go:build unix && !linux

package kms

import (
	"os/exec"
	"syscall"
)

// watch returns a channel that is closed when the process has ended and was reaped, and a function that
// says how it ended.
func watch(cmd *exec.Cmd) (ended <-chan struct{}, reap func() error) {
	done := make(chan struct{})
	var err error
	go func() {
		defer close(done)
		err = cmd.Wait()
	}()
	return done, func() error {
		<-done
		return err
	}
}

// killGroup ends the process group unless its leader has ended: then its number may be another's.
func killGroup(cmd *exec.Cmd, ended <-chan struct{}) {
	select {
	case <-ended:
	default:
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Process.Kill()
	}
}
