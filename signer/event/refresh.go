package event

import (
	"time"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// RoleRef names a role.
type RoleRef struct {
	Repository metadata.Repository
	Role       string
}

// NewRefresh returns the event that signs these roles anew with the same content and a later expiry.
// With a bin or a binned product comes the product's own file (DESIGN 1.3). Reasons: not-found,
// retired, and those of the judgement.
func NewRefresh(roles []RoleRef, s *State, o Opening) (*Event, error) {
	return nil, reason.Errorf(reason.UsageError, "unfinished")
}

// Due returns the roles that people sign and that expire within the given time from now, in groups
// that are refreshed by one event each: the roots and top-level targets; a product with its bins; a stop
// list. Retired products are left out. The groups are ordered by their first expiry.
func Due(s *State, now time.Time, within time.Duration) ([][]RoleRef, error) {
	return nil, reason.Errorf(reason.UsageError, "unfinished")
}
