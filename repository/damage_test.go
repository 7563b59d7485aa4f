package repository_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/repository"
	"github.com/countersign-ota/countersign/repository/internal/store"
	"github.com/countersign-ota/countersign/repository/internal/store/bolt"
)

// What the checker must find, on the disk of a server that stopped.
func TestCheckFindsDamage(t *testing.T) {
	b := newBed(t)
	b.found(basicPlan)
	b.released("2.4.1")
	b.checked()
	image := filepath.Join(b.dir, "blobs", strings.Split(imagePath("2.4.1"), "/")[4][:2], strings.Split(strings.Split(imagePath("2.4.1"), "/")[4], ".")[0])
	for _, tt := range []struct {
		name   string
		damage func(t *testing.T) (undo func())
		where  string
		want   reason.Reason
	}{
		{"a bit of an image flipped", func(t *testing.T) func() {
			return rewrite(t, image, func(data []byte) []byte { data[1000] ^= 1; return data })
		}, "blob ", reason.HashMismatch},
		{"an image cut", func(t *testing.T) func() {
			return rewrite(t, image, func(data []byte) []byte { return data[:1000] })
		}, "blob ", reason.HashMismatch},
		{"an image gone", func(t *testing.T) func() {
			return rewrite(t, image, func([]byte) []byte { return nil })
		}, "gw-100/2.4.1/gw.img", reason.NotFound},
		{"the key of the CA replaced", func(t *testing.T) func() {
			server, err := os.ReadFile(filepath.Join(b.dir, "identity/server.key"))
			if err != nil {
				t.Fatal(err)
			}
			return rewrite(t, filepath.Join(b.dir, "identity/intermediate.key"), func([]byte) []byte { return server })
		}, "identity", reason.Config},
	} {
		t.Run(tt.name, func(t *testing.T) {
			defer tt.damage(t)()
			r, err := repository.Check(context.Background(), b.dir, b.clock.now())
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range r.Problems {
				if strings.HasPrefix(p.Where, tt.where) && reason.Of(p.Err) == tt.want {
					return
				}
			}
			t.Errorf("problems %v, want one of %q with %s", r.Problems, tt.where, tt.want)
		})
	}
	b.checked()
}

// rewrite changes a file; nil removes it.
func rewrite(t *testing.T, path string, change func([]byte) []byte) (undo func()) {
	t.Helper()
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	put := func(data []byte) {
		if data == nil {
			err = os.Remove(path)
		} else {
			err = os.WriteFile(path, data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	put(change(append([]byte{}, old...)))
	return func() { put(old) }
}

// A server whose image is gone keeps serving the rest and says so, rather than other bytes.
func TestMissingImageIsNotServed(t *testing.T) {
	b := newBed(t)
	b.found(basicPlan)
	b.released("2.4.1")
	device := b.browser(b.device("gw-0001"))
	name := strings.Split(strings.Split(imagePath("2.4.1"), "/")[4], ".")[0]
	path := filepath.Join(b.dir, "blobs", name[:2], name)
	undo := rewrite(t, path, func(data []byte) []byte { return data[:len(data)-1] })
	if a := b.ask(device, "GET", imagePath("2.4.1"), nil); a.code != 503 || a.reason(t) != reason.StateDamaged {
		t.Errorf("cut image: %d", a.code)
	}
	undo()
	undo = rewrite(t, path, func([]byte) []byte { return nil })
	if a := b.ask(device, "GET", imagePath("2.4.1"), nil); a.code != 404 {
		t.Errorf("missing image: %d", a.code)
	}
	if code, _ := b.get("/timestamp.json"); code != 200 {
		t.Errorf("timestamp: %d", code)
	}
	undo()
	if a := b.ask(device, "GET", imagePath("2.4.1"), nil); a.code != 200 {
		t.Errorf("image that is back: %d", a.code)
	}
	b.checked()
}

// Every decision, taken or refused, is in the audit log.
func TestAuditLogHoldsEveryDecision(t *testing.T) {
	b := newBed(t)
	b.found(basicPlan)
	e, s := b.release("2.4.1", basicSpec)
	b.upload(e, s)
	id := b.open("rivera", e)
	_, _ = b.operators["rivera"].Publish(ctx, id)
	b.sign(id, "rivera", "chen")
	b.publish(id)
	b.device("gw-0001")
	_, _, _ = b.operator("chen").Cancel(ctx, id, "too late")
	_ = b.operators["rivera"].RevokeOperator(ctx, "chen", "left")
	_, _ = b.operators["chen"].WhoAmI(ctx)
	_, _ = b.dial(nil).WhoAmI(ctx)
	b.stop()
	log := auditLog(t, b)
	at := 0
	for _, want := range []string{
		"server server.init acme", "server operator.invite rivera", "operator/rivera operator.enroll rivera",
		"operator/rivera event.open", "operator/rivera event.sign", "operator/rivera event.publish",
		"operator/rivera blob.upload", "operator/rivera event.open " + id, "operator/rivera event.publish " + id + " [quorum-open]",
		"operator/rivera event.sign " + id, "operator/rivera event.sign " + id, "operator/rivera event.publish " + id,
		"operator/rivera device.invite gw-0001", "device/gw-0001 device.enroll gw-0001", "operator/rivera operator.invite chen",
		"operator/chen operator.enroll chen", "operator/chen event.cancel " + id + " [event-published]",
		"operator/rivera operator.revoke chen", "anonymous call /countersign.v1.Identity/WhoAmI [permission]",
		"anonymous call /countersign.v1.Identity/WhoAmI [permission]",
	} {
		for at < len(log) && !strings.HasPrefix(log[at], want) {
			at++
		}
		if at == len(log) {
			t.Fatalf("no entry %q in its place in:\n%s", want, strings.Join(log, "\n"))
		}
		at++
	}
}

// auditLog returns the entries as "ACTOR ACTION SUBJECT [REASON]".
func auditLog(t *testing.T, b *bed) []string {
	t.Helper()
	db, err := bolt.Open(filepath.Join(b.dir, "countersign.db"), bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var lines []string
	err = db.View(ctx, func(v store.View) error {
		entries, err := v.AuditLog(1, 10_000)
		for _, e := range entries {
			line := e.Record.GetActor() + " " + e.Record.GetAction() + " " + e.Record.GetSubject()
			if e.Record.GetReason() != "" {
				line += " [" + e.Record.GetReason() + "]"
			}
			lines = append(lines, line)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}
