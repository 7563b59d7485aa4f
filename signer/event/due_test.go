package event

import (
	"fmt"
	"testing"
	"time"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// One event a group: what is due, and what of its group is due soon after.
func TestDueOf(t *testing.T) {
	now := time.Date(2026, 11, 25, 9, 0, 0, 0, time.UTC)
	const d = 24 * time.Hour
	in := func(r metadata.Repository, role string, left time.Duration) RoleVersion {
		return RoleVersion{Repository: r, Role: role, Expires: now.Add(left)}
	}
	image := func(role string, left time.Duration) RoleVersion { return in(metadata.Image, role, left) }
	for _, tt := range []struct {
		name  string
		roles []RoleVersion
		want  string
	}{
		{"nothing", nil, "[]"},
		{"not yet", []RoleVersion{image("gw-100", 45*d+time.Second)}, "[]"},
		{"at the limit", []RoleVersion{image("gw-100", 45*d)}, "[[{image gw-100}]]"},
		{"expired", []RoleVersion{image("gw-100", -d)}, "[[{image gw-100}]]"},
		{"along with the first of its group", []RoleVersion{
			image("gw-100.bin-2", 60*d), image("gw-100", 61*d), image("gw-100.bin-1", 44*d), image("gw-100.stop", 59*d),
		}, "[[{image gw-100.bin-1} {image gw-100.bin-2}]]"},
		{"roots and targets are one group", []RoleVersion{
			image("targets", 50*d), in(metadata.Director, "root", 40*d), image("root", 59*d),
		}, "[[{director root} {image root} {image targets}]]"},
		{"the first to expire first, of equals the roots", []RoleVersion{
			image("pump-9", 9*d), image("gw-100", 10*d), image("targets", 10*d), image("gw-100.stop", 10*d),
		}, "[[{image pump-9}] [{image targets}] [{image gw-100}] [{image gw-100.stop}]]"},
	} {
		got, err := DueOf(tt.roles, now, 45*d)
		if text := fmt.Sprint(got); err != nil || text != tt.want {
			t.Errorf("%s: %s, %v; want %s", tt.name, text, err, tt.want)
		}
	}
	if _, err := DueOf([]RoleVersion{image("GW", 0)}, now, d); !reason.Is(err, reason.Malformed) {
		t.Errorf("a name that is none: %v", err)
	}
}
