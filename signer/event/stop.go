package event

import "github.com/countersign-ota/countersign/proto/reason"

// NewStop returns the event that adds an entry for each target of the release product/version to the
// product's stop list, with why as its reason. A release that the product lists no longer is looked
// for in past, which may be nil. Where the list is full, the oldest entries whose target is no longer
// listed leave. Reasons: not-found (no such release), never-listed, usage, and those of the judgement.
func NewStop(product, version, why string, s *State, past Past, o Opening) (*Event, error) {
	return nil, reason.Errorf(reason.UsageError, "unfinished")
}
