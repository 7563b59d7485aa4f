package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/countersign-ota/countersign/proto/reason"
)

// Exit codes that no reason has; the others are the classes of package reason.
const (
	// ExitReboot is the agent's: installed, reboot to try it.
	ExitReboot = 10
	// ExitInterrupted is a program that was interrupted at the terminal.
	ExitInterrupted = 130
)

// ExitError ends a program with a code of its own. A nil Err means that the work went well and all
// was said: nothing is printed.
type ExitError struct {
	Code int
	Err  error
}

// Error returns the text of the cause.
func (e *ExitError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("exit %d", e.Code)
	}
	return e.Err.Error()
}

// Unwrap returns the cause.
func (e *ExitError) Unwrap() error { return e.Err }

// ExitCode returns the code with which a program ends on err: that of an ExitError, 130 for an
// interrupted context, else that of the reason's class, and 1 without a reason. Of several joined
// errors the first decides.
func ExitCode(err error) int {
	var e *ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &e):
		return e.Code
	case reason.Of(err) == "" && errors.Is(err, context.Canceled):
		return ExitInterrupted
	}
	return reason.Exit(err)
}

// Usagef returns an error of wrong use, exit 2.
func Usagef(format string, args ...any) *reason.Error {
	return reason.Errorf(reason.UsageError, format, args...)
}

// ExitTable is the table of exit codes for help and man pages.
const ExitTable = `  0    done, or nothing to do
  1    failed without a better code                                   a supervisor restarts
  2    wrong use: flag, argument, plan, spec, configuration
  3    not authentic: signature, quorum, hash, scope, replay, fork    a person must look
  4    not allowed: genuine, but a rule or permission forbids
  5    not reachable: network, busy, time-out; repeat later           a supervisor restarts
  6    not yet: quorum open, gate deferred, spread; repeat later
  7    person not proven: no yes, no terminal, wrong passphrase or PIN
  8    this machine: lock, disk full, damaged or exposed file         a supervisor restarts
 10    agent: installed, reboot to try it
130    interrupted at the terminal
`
