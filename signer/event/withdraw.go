package event

import "github.com/countersign-ota/countersign/proto/reason"

// NewWithdraw returns the event that takes all targets of the release product/version out of the
// product's files; why goes into the proposal. The counter of the release stays used up. Reasons:
// not-found (the product lists no such release), usage, and those of the judgement.
func NewWithdraw(product, version, why string, s *State, o Opening) (*Event, error) {
	return nil, reason.Errorf(reason.UsageError, "unfinished")
}
