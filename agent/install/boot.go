package install

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/countersign-ota/countersign/proto/reason"
)

// SlotState is what the boot loader thinks of a slot.
type SlotState string

// The states of a slot.
const (
	// Good boots, now and next time.
	Good SlotState = "good"
	// OnTrial boots once; unless it becomes good, the boot loader goes back to the other slot.
	OnTrial SlotState = "trial"
	// Unbootable never boots.
	Unbootable SlotState = "unbootable"
)

// Limits of a boot control command.
const (
	// DefaultBootTimeout bounds one call.
	DefaultBootTimeout = 30 * time.Second
	// maxBootOutput bounds its output, in bytes for stdout and stderr each; more is an error.
	maxBootOutput = 4 << 10
)

// Boot is the boot control command (docs/formats.md). It answers in one word on stdout and exits 0:
//
//	boot current                        SLOT, the slot that runs
//	boot state SLOT                     good, trial or unbootable
//	boot mark SLOT unbootable|trial     durably; a slot on trial is the one that boots next
//	boot good SLOT                      durably
//
// It may only be called from one place at a time. Its failures have the reason install-failed.
type Boot struct {
	// Command is the program, run without a shell.
	Command string
	// Timeout bounds one call; the command and what it started are killed then. 0 means
	// DefaultBootTimeout.
	Timeout time.Duration
}

// NewBoot returns the boot control that command stands for.
func NewBoot(command string) Boot { return Boot{Command: command} }

// Current returns the slot that runs.
func (b Boot) Current(ctx context.Context) (string, error) { return b.ask(ctx, "current") }

// State returns what the boot loader thinks of slot.
func (b Boot) State(ctx context.Context, slot string) (SlotState, error) {
	answer, err := b.ask(ctx, "state", slot)
	if err != nil {
		return "", err
	}
	switch s := SlotState(answer); s {
	case Good, OnTrial, Unbootable:
		return s, nil
	}
	return "", reason.Errorf(reason.InstallFailed, "boot control says slot %q is %q, want good, trial or unbootable", slot, answer)
}

// Mark makes slot unbootable, or the one that is tried at the next boot. It asks afterwards whether
// that is so.
func (b Boot) Mark(ctx context.Context, slot string, s SlotState) error {
	if _, err := b.run(ctx, "mark", slot, string(s)); err != nil {
		return err
	}
	return b.expect(ctx, slot, s)
}

// Good makes slot the one that boots from now on.
func (b Boot) Good(ctx context.Context, slot string) error {
	if _, err := b.run(ctx, "good", slot); err != nil {
		return err
	}
	return b.expect(ctx, slot, Good)
}

func (b Boot) expect(ctx context.Context, slot string, want SlotState) error {
	got, err := b.State(ctx, slot)
	if err == nil && got != want {
		err = reason.Errorf(reason.InstallFailed, "boot control left slot %q %s, asked for %s", slot, got, want)
	}
	return err
}

// ask runs a question and returns its one-word answer.
func (b Boot) ask(ctx context.Context, args ...string) (string, error) {
	out, err := b.run(ctx, args...)
	if err != nil {
		return "", err
	}
	answer := strings.TrimSpace(string(out))
	if answer == "" || len(answer) > 64 || strings.ContainsFunc(answer, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", reason.Errorf(reason.InstallFailed, "boot control %s answered %q, want one word", strings.Join(args, " "), answer)
	}
	return answer, nil
}

// run runs the command in a process group of its own, so that the deadline ends all of it.
func (b Boot) run(ctx context.Context, args ...string) ([]byte, error) {
	timeout := b.Timeout
	if timeout <= 0 {
		timeout = DefaultBootTimeout
	}
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var out, errOut capped
	cmd := exec.CommandContext(limited, b.Command, args...)
	cmd.Stdout, cmd.Stderr = &out, &errOut
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second // a child that left the group holds the pipes no longer than this
	err := cmd.Run()
	what := fmt.Sprintf("boot control %s", strings.Join(args, " "))
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%s: %w", what, ctx.Err())
	case out.over || errOut.over:
		return nil, reason.Errorf(reason.InstallFailed, "%s printed more than %d bytes", what, maxBootOutput)
	case limited.Err() != nil:
		return nil, reason.Errorf(reason.InstallFailed, "%s took longer than %v", what, timeout)
	case err != nil:
		text := strings.TrimSpace(errOut.kept.String())
		var exit *exec.ExitError
		if errors.As(err, &exit) && text != "" {
			return nil, reason.Errorf(reason.InstallFailed, "%s: %w: %q", what, err, text)
		}
		return nil, reason.Errorf(reason.InstallFailed, "%s: %w", what, err)
	}
	return out.kept.Bytes(), nil
}

// capped keeps the first maxBootOutput bytes. The buffer is no embedded field: its ReadFrom would be
// found by io.Copy, and that has no limit.
type capped struct {
	kept bytes.Buffer
	over bool
}

// Write takes everything, so that the command does not die of a closed pipe.
func (c *capped) Write(p []byte) (int, error) {
	n := len(p)
	if room := maxBootOutput - c.kept.Len(); len(p) > room {
		c.over = true
		p = p[:room]
	}
	c.kept.Write(p)
	return n, nil
}
