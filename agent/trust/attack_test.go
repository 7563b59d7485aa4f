package trust_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/metadata/metadatatest"
	"github.com/countersign-ota/countersign/proto/reason"
)

// attack is one thing that a hostile server, or a thief of some keys, does to a device that has seen
// the honest repository.
type attack struct {
	name string
	// do changes the evil deployment, which was equal to the honest one, or what its server answers.
	do   func(d *metadatatest.Deployment, s *server)
	want reason.Reason
	// stores are the roles of which the device may take newer files all the same: they are genuine.
	stores []string
	// target is what the device is instructed to install; firmware if empty.
	target string
}

// run lets a device see the honest repository, then the evil one, then the honest one that went on.
func (a attack) run(t *testing.T) {
	t.Parallel() // most of the time is spent waiting for the disk
	honest, evil := published(t), published(t)
	v := newDevice(t, honest)
	target := a.target
	if target == "" {
		target = firmware
	}
	v.mustCycle(serve(honest), firmware, binned)
	before, record := v.files(), v.record

	s := serve(evil)
	a.do(evil, s)
	err := v.cycle(s, target)
	if !reason.Is(err, a.want) {
		t.Fatalf("error %v [%s], want reason %s", err, reason.Of(err), a.want)
	}
	if got := changed(before, v.files()); !slices.Equal(got, a.stores) {
		t.Errorf("changed on disk: %q, want %q (after %v)", got, a.stores, err)
	}
	v.checkRecord(record)

	goOn(honest)
	record = v.record
	v.mustCycle(serve(honest), firmware, binned)
	v.checkRecord(record)
	for role, data := range v.files() {
		want := honest.File(metadata.Image, role)
		if role == "root.copy" {
			want = honest.File(metadata.Image, metadata.Root)
		}
		if !bytes.Equal(data, want) {
			t.Errorf("after the next good cycle %s is not the honest file", role)
		}
	}
}

func runAttacks(t *testing.T, attacks []attack) {
	for _, a := range attacks {
		t.Run(a.name, a.run)
	}
}

// timestamp and online are the roles that a thief of the online key can move.
var (
	timestamp = []string{"timestamp"}
	online    = []string{"snapshot", "timestamp"}
)

func path(d *metadatatest.Deployment, role string) string {
	return fmt.Sprintf("%d.%s.json", d.Version(metadata.Image, role), role)
}

func obj(v any, names ...string) map[string]any {
	m := v.(map[string]any)
	for _, name := range names {
		m = m[name].(map[string]any)
	}
	return m
}

func number(n int64) json.Number { return json.Number(fmt.Sprint(n)) }
