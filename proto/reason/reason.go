// Package reason lists every reason for which Countersign refuses something.
//
// A reason is a constant that scripts, the audit log, receipts and support staff can rely on: it is
// printed in brackets at the end of an error, travels in gRPC's ErrorInfo, and never changes its
// meaning. Each reason belongs to one class, and the class decides the exit code of the three
// programs and the gRPC code (docs/commands.md 1). The table below is the only list; docs/errors.md
// is generated from it.
//
// Start with Errorf, Of and Exit.
package reason

import (
	"errors"
	"fmt"

	"google.golang.org/grpc/codes"
)

// Reason is a stable name for why something was refused.
type Reason string

// Class groups reasons by what the caller should do next. Its value is the exit code.
type Class int

// The classes, by exit code.
const (
	// Failed is a failure without a better class: a bug or a broken environment.
	Failed Class = 1
	// Usage is a wrong flag, argument, plan, spec or configuration. Correct it and try again.
	Usage Class = 2
	// NotAuthentic means that bytes are not what they claim to be. No script repeats it; a person
	// must look.
	NotAuthentic Class = 3
	// NotAllowed means that the bytes are genuine and a rule or permission forbids the step.
	NotAllowed Class = 4
	// NotReachable is a network, a lock or a time-out. Repeat it later.
	NotReachable Class = 5
	// NotYet is a quorum that is open, a gate that defers, a spread that runs. Repeat it later.
	NotYet Class = 6
	// NotProven means that the person at the terminal was not proven.
	NotProven Class = 7
	// Machine is a fault of this machine: its disk, its files, their modes.
	Machine Class = 8
)

// Error is a refusal: what and why in words, the reason, and where known the next step.
type Error struct {
	Reason Reason
	// Text says what was refused and why, lower case, without a full stop.
	Text string
	// Hint is a command to paste or the next step in words; empty when there is none.
	Hint string
	// Err is the cause, if it is part of the contract.
	Err error
}

// Error returns the text without the reason; the outermost caller prints the reason once.
func (e *Error) Error() string { return e.Text }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Errorf returns an Error. A %w operand becomes its cause.
func Errorf(r Reason, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Reason: r, Text: err.Error(), Err: errors.Unwrap(err)}
}

// WithHint sets the hint and returns e.
func (e *Error) WithHint(format string, args ...any) *Error {
	e.Hint = fmt.Sprintf(format, args...)
	return e
}

// Wrap puts context in front of err and keeps its reason and hint. It returns nil for nil.
func Wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	text := fmt.Sprintf(format, args...) + ": " + err.Error()
	var e *Error
	if !errors.As(err, &e) {
		return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), err)
	}
	return &Error{Reason: e.Reason, Text: text, Hint: e.Hint, Err: err}
}

// Of returns the reason of the outermost Error in err's chain, or "" if there is none.
func Of(err error) Reason {
	var e *Error
	if errors.As(err, &e) {
		return e.Reason
	}
	return ""
}

// HintOf returns the hint of the outermost Error in err's chain.
func HintOf(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Hint
	}
	return ""
}

// Is reports whether err carries the reason r.
func Is(err error, r Reason) bool { return Of(err) == r }

// Class returns the class of r; an unknown reason, as a newer peer may send it, is Failed.
func (r Reason) Class() Class {
	if i, ok := table[r]; ok {
		return i.class
	}
	return Failed
}

// Known reports whether r is in the table.
func (r Reason) Known() bool { _, ok := table[r]; return ok }

// Meaning returns one sentence on r for docs/errors.md; empty if it is unknown.
func (r Reason) Meaning() string { return table[r].meaning }

// Exit returns the exit code of a program that ends with err: 0 for nil, 1 without a reason.
func Exit(err error) int {
	if err == nil {
		return 0
	}
	return int(Of(err).Class())
}

// Code returns the gRPC code that carries the reason.
func (r Reason) Code() codes.Code {
	if i, ok := table[r]; ok && i.code != codes.OK {
		return i.code
	}
	switch r.Class() {
	case Usage:
		return codes.InvalidArgument
	case NotAuthentic:
		return codes.DataLoss
	case NotAllowed:
		return codes.FailedPrecondition
	case NotReachable:
		return codes.Unavailable
	case NotYet:
		return codes.FailedPrecondition
	case NotProven:
		return codes.Unauthenticated
	case Machine:
		return codes.ResourceExhausted
	}
	return codes.Internal
}
