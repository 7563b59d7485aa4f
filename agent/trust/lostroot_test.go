package trust_test

import (
	"testing"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// A device that lost both copies of its root goes back to the embedded one, which names other online
// keys. That is no rotation: what the record says of files under the newer keys still binds, or a
// mirror could replay them.
func TestReplayAfterTheRootWasLost(t *testing.T) {
	for _, tt := range []struct {
		name string
		lost []string
	}{
		{"root and timestamp", []string{"root", "root.copy", "timestamp"}},
		{"everything", []string{"root", "root.copy", "timestamp", "snapshot", "targets", "gw-100", "gw-100.stop"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			replayed, honest := published(t), published(t)
			replayed.RotateOnline(metadata.Image, "online-2")
			honest.RotateOnline(metadata.Image, "online-2")
			honest.Publish()

			v := newDevice(t, honest)
			v.mustCycle(serve(honest), firmware)
			before := v.record
			for _, role := range tt.lost {
				must(t, v.store.Drop(role))
			}
			// The first attempt cannot even reach the newest root, and must not loosen anything.
			s := serve(replayed)
			s.broken["2.root.json"] = true
			if err := v.cycle(s, firmware); !reason.Is(err, reason.Unreachable) {
				t.Fatalf("without a network: %v [%s]", err, reason.Of(err))
			}
			for range 2 {
				if err := v.cycle(serve(replayed), firmware); !reason.Is(err, reason.Rollback) {
					t.Errorf("replay: %v [%s], want %s", err, reason.Of(err), reason.Rollback)
				}
				for _, role := range online {
					if v.record[role].Version != before[role].Version {
						t.Errorf("record of %s: version %d, want %d", role, v.record[role].Version, before[role].Version)
					}
				}
			}
			v.mustCycle(serve(honest), firmware)
		})
	}
}
