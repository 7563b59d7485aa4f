package publish

import (
	"fmt"
	"testing"
	"time"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/signer/event"
)

// A group that one event cannot hold is cut to what expires first; a single file is never left out.
func TestFew(t *testing.T) {
	now := time.Unix(1795599060, 0)
	for _, tt := range []struct {
		name  string
		sizes []int // of gw-100.bin-0 on, which expire in turn, the last one first
		want  string
	}{
		{"all of it", []int{maxRenew / 2, maxRenew / 2}, "0 1"},
		{"one too many", []int{maxRenew / 2, maxRenew / 2, 1}, "1 2"},
		{"one alone is too large", []int{1, maxRenew + 1}, "1"},
	} {
		all := map[event.RoleRef]dated{}
		var group []event.RoleRef
		for i, size := range tt.sizes {
			ref := event.RoleRef{Repository: metadata.Image, Role: fmt.Sprintf("gw-100.bin-%d", i)}
			group = append(group, ref)
			all[ref] = dated{event.RoleVersion{Expires: now.Add(-time.Duration(i) * day)}, size}
		}
		got := ""
		for i, ref := range few(group, all) {
			if i > 0 {
				got += " "
			}
			got += ref.Role[len("gw-100.bin-"):]
		}
		if got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}
