package event_test

import (
	"strings"
	"testing"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/signer/event"
)

// told is a memory with what a server says is used up.
type told struct {
	*event.History
	version, counter int64
}

func (m told) Used(metadata.Repository, string) (version, counter int64) { return m.version, m.counter }

// A server that says that nearly all versions or counters are used up cannot make people use up the
// rest: neither who opens nor who signs goes so far.
func TestServerThatUsesUpAllVersions(t *testing.T) {
	const gap = 1 << 20
	for _, tt := range []struct {
		name             string
		version, counter int64
		want             reason.Reason
	}{
		{"as it is", 1, 0, ""},
		{"as far as it may be", gap, gap - 1, ""},
		{"one version more", gap + 1, 0, reason.IntegerRange},
		{"one counter more", 1, gap, reason.IntegerRange},
		{"the last version", metadata.MaxVersion - 1, 0, reason.IntegerRange},
		{"the last counter", 1, metadata.MaxVersion - 1, reason.IntegerRange},
		{"beyond the last version", 1<<53 - 2, 0, reason.IntegerRange},
		{"beyond the last counter", 1, 1<<53 - 2, reason.IntegerRange},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.found(twoProducts)
			w.write("build/gw.img", "firmware")
			w.write("gw.cdx.json", "{}")
			o := w.opening()
			o.Memory = told{w.server, tt.version, tt.counter}
			e, err := event.NewRelease("gw-100", "2.4.1", w.spec(basicSpec), w.state(), o)
			wantReason(t, err, tt.want)
			if err != nil {
				return
			}
			// Who signs it has no other word than the event.
			w.sign(e, "chen", nil)
			warned := strings.Join(w.reviewOf(e).Warnings, "\n")
			if tt.version > 1 && !strings.Contains(warned, "gw-100 goes from version 1 to 1048577: ") || tt.counter > 0 && !strings.Contains(warned, "counter rises by 1048576, from 0 to 1048576") {
				t.Errorf("warnings %q", warned)
			}
		})
	}
}
