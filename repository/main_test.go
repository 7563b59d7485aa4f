package repository_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// The main job, over the wire: root ceremony, a release, another one, and the state on disk is sound.
func TestMainJob(t *testing.T) {
	b := newBed(t)
	before := time.Now().Unix()
	got := b.found(basicPlan)
	for role, version := range map[string]int64{
		"image/root": 1, "director/root": 1, "image/targets": 1, "image/gw-100": 1, "image/gw-100.stop": 1,
	} {
		if got[role] != version {
			t.Errorf("%s %d, want %d", role, got[role], version)
		}
	}
	for _, role := range []string{"image/snapshot", "image/timestamp"} {
		if got[role] < before {
			t.Errorf("%s %d is below the time %d", role, got[role], before)
		}
	}
	first := b.released("2.4.1")
	second := b.released("2.4.2")
	if first["image/gw-100"] != 2 || second["image/gw-100"] != 3 {
		t.Errorf("versions %v, %v", first, second)
	}
	if second["image/snapshot"] <= first["image/snapshot"] || second["image/timestamp"] <= first["image/timestamp"] {
		t.Errorf("online versions do not rise: %v, %v", first, second)
	}
	r := b.checked()
	if r.Checked["events"] != 3 || r.Checked["roots"] != 2 || r.Checked["targets"] != 2 || r.Checked["files"] != 3 {
		t.Errorf("checked %v", r.Checked)
	}
}

// Publish answers a repeated call the same, also after a restart.
func TestPublishTwice(t *testing.T) {
	b := newBed(t)
	b.found(basicPlan)
	e, s := b.release("2.4.1", basicSpec)
	b.upload(e, s)
	id := b.open("rivera", e)
	b.sign(id, "rivera", "chen")
	first := b.publish(id)
	b.stop()
	b.start()
	second := b.publish(id)
	if len(first) != 3 || len(first) != len(second) {
		t.Fatalf("first %v, second %v", first, second)
	}
	for role, v := range first {
		if second[role] != v {
			t.Errorf("%s: %d, then %d", role, v, second[role])
		}
	}
	_, err := b.operators["rivera"].AddSignatures(context.Background(), id, nil, nil)
	wantReason(t, err, reason.EventPublished)
}

// The schedule signs the timestamp anew each day, and the snapshot when half of its life is over.
func TestOnlineRolesStayFresh(t *testing.T) {
	b := newBed(t)
	v := b.found(basicPlan)
	for _, tt := range []struct {
		name                string
		wait                time.Duration
		snapshot, timestamp bool
	}{
		{"an hour", time.Hour, false, false},
		{"a day", 24 * time.Hour, false, true},
		{"half a month", 15 * 24 * time.Hour, true, true},
		{"a year asleep", 300 * 24 * time.Hour, true, true},
	} {
		b.stop()
		b.clock.forward(tt.wait)
		b.start()
		for _, role := range []string{metadata.Snapshot, metadata.Timestamp} {
			rose := role == metadata.Snapshot && tt.snapshot || role == metadata.Timestamp && tt.timestamp
			got := b.inForce(role, func(version int64) bool { return (version > v["image/"+role]) == rose })
			if got.version > v["image/"+role] != rose {
				t.Errorf("%s: %s %d, was %d", tt.name, role, got.version, v["image/"+role])
			}
			v["image/"+role] = got.version
			if !got.expires.After(b.clock.now().Add(5 * 24 * time.Hour)) {
				t.Errorf("%s: %s expires at %s", tt.name, role, got.expires)
			}
		}
	}
	b.checked()
}

type roleInForce struct {
	version int64
	expires time.Time
}

// inForce returns what is in force of an online role, asked for until ok or for two seconds: the
// schedule runs beside the calls.
func (b *bed) inForce(role string, ok func(version int64) bool) roleInForce {
	b.t.Helper()
	var got roleInForce
	for range 40 {
		_, data := b.get("/timestamp.json")
		t, err := metadata.ParseTimestamp(data, metadata.Profile)
		if err != nil {
			b.t.Fatal(err)
		}
		got = roleInForce{t.Signed.Version, t.Signed.Expires}
		if role == metadata.Snapshot {
			_, data := b.get(fmt.Sprintf("/%d.snapshot.json", t.Signed.Meta["snapshot.json"].Version))
			s, err := metadata.ParseSnapshot(data, metadata.Profile)
			if err != nil {
				b.t.Fatal(err)
			}
			got = roleInForce{s.Signed.Version, s.Signed.Expires}
		}
		if ok(got.version) {
			return got
		}
		time.Sleep(50 * time.Millisecond)
	}
	return got
}

// Two online versions in one second still rise.
func TestOnlineVersionsRiseWithinASecond(t *testing.T) {
	b := newBed(t)
	b.found(basicPlan)
	var last int64
	for _, version := range []string{"1", "2", "3"} {
		v := b.released(version)
		if v["image/timestamp"] <= last {
			t.Errorf("timestamp %d after %d", v["image/timestamp"], last)
		}
		last = v["image/timestamp"]
	}
}

func stateOf(t *testing.T, b *bed, id string) *pb.EventSummary {
	t.Helper()
	_, s, err := b.operators["rivera"].Event(context.Background(), id)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
