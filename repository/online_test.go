package repository_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/repository"
	"github.com/countersign-ota/countersign/signer/event"
)

// The online keys in the server's directory are replaced by others: it serves what is there, and
// signs nothing that the root in force does not give it.
func TestForeignOnlineKeySignsNothing(t *testing.T) {
	b := newBed(t)
	b.found(basicPlan)
	b.stop()
	other := newBed(t)
	data, err := os.ReadFile(filepath.Join(other.dir, "online/image.key"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(b.dir, "online/image.key"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	b.start()
	e, s := b.release("2.4.1", basicSpec)
	b.upload(e, s)
	id := b.open("rivera", e)
	b.sign(id, "rivera", "chen")
	_, err = b.operators["rivera"].Publish(ctx, id)
	wantReason(t, err, reason.OnlineKeyUnknown)
	if code, _ := b.get("/timestamp.json"); code != 200 {
		t.Errorf("timestamp: %d", code)
	}
	b.checked()
	if err := os.Chmod(filepath.Join(b.dir, "online/image.key"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = repository.Open(ctx, b.cfg)
	wantReason(t, err, reason.SecretExposed)
}

// After the online keys were stolen: new ones are put in place, the server is not healthy, and a root
// event hands snapshot and timestamp to them.
func TestOnlineKeysAreReplaced(t *testing.T) {
	b := newBed(t)
	b.found(basicPlan)
	b.released("2.4.0")
	b.stop()
	other := newBed(t)
	for _, name := range []string{"online/image.key", "online/director.key"} {
		data, err := os.ReadFile(filepath.Join(other.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(b.dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b.clock.forward(25 * time.Hour) // the timestamp is due
	b.start()
	health := grpc_health_v1.NewHealthClient(b.stock(nil))
	for range 100 {
		h, err := health.Check(ctx, &grpc_health_v1.HealthCheckRequest{})
		if err == nil && h.GetStatus() == grpc_health_v1.HealthCheckResponse_NOT_SERVING {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	h, err := health.Check(ctx, &grpc_health_v1.HealthCheckRequest{})
	if err != nil || h.GetStatus() != grpc_health_v1.HealthCheckResponse_NOT_SERVING {
		t.Errorf("health %v, %v", h, err)
	}
	b.stop()
	b.clock.forward(-25 * time.Hour)
	b.start()
	e, err := event.NewChange(b.plan(basicPlan), b.state(), b.opening())
	if err != nil {
		t.Fatal(err)
	}
	if e.Proposal.Kind != event.Root {
		t.Fatalf("the change is a %s event", e.Proposal.Kind)
	}
	id := b.open("rivera", e)
	b.sign(id, "rivera", "chen")
	got := b.publish(id)
	if got["image/root"] != 2 || got["director/root"] != 2 || got["image/timestamp"] == 0 {
		t.Errorf("published %v", got)
	}
	b.released("2.4.1")
	b.checked()
}
