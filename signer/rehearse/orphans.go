package rehearse

import (
	"fmt"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// orphans looks for files in force that would no longer satisfy their delegation, and for roles that
// would have no file: devices would refuse the whole repository.
func (r *rehearsal) orphans() {
	if r.event == nil {
		return
	}
	for _, role := range r.before.delegates() {
		if r.after.targets() == nil || r.after.delegation(place{metadata.Image, role}) != nil {
			continue
		}
		if product, kind, err := metadata.SplitRole(role); err == nil && kind == metadata.RoleProduct {
			r.dropped(product)
		}
	}
	for _, d := range r.after.delegations {
		f, ok := r.after.files[d.place]
		switch {
		case f.proposed || d.role == metadata.Root:
		case !ok && r.before.delegation(d.place) == nil:
			r.add(Finding{
				Severity: Stuck, Code: OrphanedFile, Reason: reason.Profile, Roles: []string{d.String()},
				What: "the role is delegated, and has no file",
				Why:  "its people never proved that they hold their keys, and devices look for the file in vain",
				Next: "open the change from a plan, which makes all files: countersign change PLAN",
			})
		case ok && f.targets != nil:
			if err := d.by.Verify(f.targets.Canonical(), f.targets.Signatures); err != nil {
				r.add(Finding{
					Severity: Stuck, Code: OrphanedFile, Reason: reason.Profile, Roles: []string{d.String()},
					What: fmt.Sprintf("version %d no longer satisfies its delegation, and the event does not hold it anew: %v", f.version, err),
					Why:  "every device would refuse it, and all that rests on it",
					Next: "open the change from a plan, which signs all such files anew: countersign change PLAN",
				})
			}
		}
	}
}

func (r *rehearsal) dropped(product string) {
	r.add(Finding{
		Severity: Stuck, Code: ProductDropped, Reason: reason.Profile, Roles: []string{product},
		What: fmt.Sprintf("product %s would lose its delegation", product),
		Why:  "devices that run it could take no release and no stop any more; a name that was used is never free again",
		Next: "put it back into the plan: countersign plan prints it; a product that ends is retired",
	})
}
