package repository_test

import (
	"testing"
	"time"

	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/signer/event"
)

// A stop that is signed does not wait for people who are to sign something else on its list: another
// stop, the successor of a cancelled one, a change of the product's people. One that nobody signed
// waits; and a root that has its quorum is published before it.
func TestStopPassesWhatIsOpen(t *testing.T) {
	for _, tt := range []struct {
		name  string
		first func(b *bed) string
		want  reason.Reason
		state pb.EventState
	}{
		{"another stop", func(b *bed) string {
			return b.open("rivera", b.stopOf("2.4.0"))
		}, "", pb.EventState_EVENT_STATE_STALE},
		{"the successor of a cancelled stop", func(b *bed) string {
			id := b.open("rivera", b.stopOf("2.4.0"))
			b.sign(id, "okafor")
			_, next, err := b.operators["rivera"].Cancel(ctx, id, "the wrong one")
			if err != nil || next == "" {
				b.t.Fatalf("successor %q, %v", next, err)
			}
			return next
		}, "", pb.EventState_EVENT_STATE_STALE},
		{"a change of keys", func(b *bed) string {
			return b.open("rivera", b.made(event.NewChange(b.plan(rotatedPlan), b.state(), b.opening())))
		}, "", pb.EventState_EVENT_STATE_STALE},
		{"a root with its quorum", func(b *bed) string {
			id := b.open("rivera", b.made(event.NewChange(b.plan(rotatedPlan), b.state(), b.opening())))
			b.sign(id, "chen", "okafor")
			return id
		}, reason.RoleOpen, pb.EventState_EVENT_STATE_OPEN},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := bedFor(t, event.Stop)
			b.released("2.4.2")
			// rivera alone signed the list in force, so it goes along when that key is replaced.
			id := b.open("rivera", b.stopOf("2.4.2"))
			b.sign(id, "rivera")
			b.publish(id)
			first := tt.first(b)
			b.clock.forward(time.Second)
			stop := b.stopOf("2.4.1")
			if i := b.parsedEvent(first).Proposal.Index("image", "gw-100.stop"); i < 0 {
				t.Fatal("the first does not hold the stop list")
			}
			_, err := b.operators["rivera"].OpenEvent(ctx, stop)
			wantReason(t, err, reason.RoleOpen)
			stop.Signatures, stop.Approvals = b.signedOf(stop, "okafor")
			_, err = b.operators["rivera"].OpenEvent(ctx, stop)
			wantReason(t, err, tt.want)
			if s := stateOf(t, b, first).GetState(); s != tt.state {
				t.Errorf("the first is %v", s)
			}
			if tt.want == "" {
				b.publish(stop.ID())
			}
			b.checked()
		})
	}
}

// parsedEvent returns an event as the server has it.
func (b *bed) parsedEvent(id string) *event.Event {
	b.t.Helper()
	e, _, err := b.operators["rivera"].Event(ctx, id)
	if err != nil {
		b.t.Fatal(err)
	}
	return e
}
