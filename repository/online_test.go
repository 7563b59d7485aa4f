package repository_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/repository"
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
