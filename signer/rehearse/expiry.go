package rehearse

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/countersign-ota/countersign/proto/metadata"
)

// soon is from when on expiry is warned of (DESIGN 1.5).
const soon = 60 * 24 * time.Hour

// Expiry is until when a role holds once the change is in force. Of a product's bins the first to end
// stands for all.
type Expiry struct {
	Repository metadata.Repository `json:"repository"`
	Role       string              `json:"role"`
	Version    int64               `json:"version"`
	Expires    time.Time           `json:"expires"`
	// Days is how many whole days are left; negative when it has expired.
	Days int `json:"days"`
	// InEvent says that the change signs it.
	InEvent bool `json:"in_event"`
	// Need and Who are the people who must sign it anew, by class.
	Need map[string]int      `json:"need"`
	Who  map[string][]string `json:"who"`
}

// expiry lists what expires after the change.
func (r *rehearsal) expiry() error {
	bins := map[string]Expiry{}
	for at, f := range r.after.files {
		product, kind, err := metadata.SplitRole(at.role)
		if err != nil {
			return err
		}
		signer := at
		if kind == metadata.RoleBin {
			signer.role = product
		}
		d := r.after.delegation(signer)
		if d == nil || r.after.retired(product) {
			continue // what is retired is not refreshed
		}
		x := Expiry{
			Repository: at.repository, Role: at.role, Version: f.version, Expires: f.expires.UTC(), InEvent: f.proposed,
			Days: days(f.expires.Sub(r.opts.Now)), Need: d.Quorum.Require, Who: map[string][]string{},
		}
		classes, _, _ := r.classes(d)
		for _, c := range classes {
			x.Who[c.Class] = c.Left
		}
		if kind != metadata.RoleBin {
			r.report.Expiry = append(r.report.Expiry, x)
		} else if first, ok := bins[product]; !ok || earlier(x, first) < 0 {
			bins[product] = x
		}
	}
	for _, x := range bins {
		r.report.Expiry = append(r.report.Expiry, x)
	}
	slices.SortFunc(r.report.Expiry, earlier)
	for _, x := range r.report.Expiry {
		r.expires(x)
	}
	return nil
}

func earlier(a, b Expiry) int {
	return cmp.Or(a.Expires.Compare(b.Expires), cmp.Compare(a.Repository, b.Repository), cmp.Compare(a.Role, b.Role))
}

func days(d time.Duration) int {
	const day = 24 * time.Hour
	n := int(d / day)
	if d < 0 && d%day != 0 {
		n--
	}
	return n
}

// expires warns of a role that is due although the change does not sign it.
func (r *rehearsal) expires(x Expiry) {
	left := x.Expires.Sub(r.opts.Now)
	if left >= soon || x.InEvent {
		return
	}
	at := place{x.Repository, x.Role}
	f := Finding{
		Severity: Warning, Code: ExpiresSoon, Roles: []string{at.String()},
		What: fmt.Sprintf("expires on %s, in %s, and this change does not sign it anew", x.Expires.Format(time.DateOnly), plural(x.Days, "day")),
		Why:  "once it has expired, devices install nothing more that rests on it",
		Next: "countersign refresh " + refreshWord(at),
	}
	if left < 0 {
		f.Code = Expired
		f.What = fmt.Sprintf("expired on %s, and this change does not sign it anew", x.Expires.Format(time.DateOnly))
		f.Why = "devices install nothing that rests on it"
	}
	r.add(f)
}

// refreshWord is how `countersign refresh` calls a role.
func refreshWord(at place) string {
	product, kind, err := metadata.SplitRole(at.role)
	switch {
	case at.role == metadata.Root:
		return string(at.repository) + "-root"
	case err == nil && kind == metadata.RoleBin:
		return product
	}
	return at.role
}
