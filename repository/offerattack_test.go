package repository_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/repository"
	"github.com/countersign-ota/countersign/signer/event"
)

// assembled is the role files that an event proposes, with all signatures that it holds, as anybody who may read
// events can put them together.
func (b *bed) assembled(id string) []event.BaseFile {
	b.t.Helper()
	e, _, err := b.operators["rivera"].Event(ctx, id)
	if err != nil {
		b.t.Fatal(err)
	}
	var files []event.BaseFile
	for i, f := range e.Proposal.Files {
		var sigs []metadata.Signature
		for _, s := range e.Signatures {
			if s.File == i {
				sigs = append(sigs, metadata.Signature{KeyID: s.KeyID, Signature: s.Sig})
			}
		}
		data, err := metadata.EncodeRaw(f.Role, f.Signed, sigs)
		if err != nil {
			b.t.Fatal(err)
		}
		files = append(files, event.BaseFile{Repository: f.Repository, Role: f.Role, File: data})
	}
	return files
}

// signedRelease opens a release, has it signed, and does not publish it.
func (b *bed) signedRelease(version string) string {
	b.t.Helper()
	e, s := b.release(version, basicSpec)
	b.upload(e, s)
	id := b.open("rivera", e)
	b.sign(id, "rivera", "chen")
	return id
}

// A release that people signed and then cancelled is no proof that the server lost anything: whoever shows
// it neither blocks the server nor has recovery publish it.
func TestCancelledReleaseIsNotShownAsNewer(t *testing.T) {
	b := newBed(t)
	b.found(basicPlan)
	b.released("2.4.0")
	id := b.signedRelease("2.4.1")
	files, file := b.assembled(id), b.exported(id)
	_, successor, err := b.operators["rivera"].Cancel(ctx, id, "bricks pumps")
	if err != nil || successor == "" {
		t.Fatal(successor, err)
	}
	if a := b.offer(files); a[0].GetNewer() || a[0].GetReason() != string(reason.EventCancelled) {
		t.Errorf("offered: %v", a)
	}
	b.healthy(true)
	plan, err := repository.PlanRecovery(ctx, b.cfg, []*repository.EventFile{file})
	if err != nil || plan.GetDue() || len(plan.GetRefused()) != 1 || plan.GetRefused()[0].GetReason() != string(reason.EventCancelled) {
		t.Errorf("plan %v, %v", plan, err)
	}
	b.sign(successor, "rivera", "chen")
	b.publish(successor)
	if a := b.offer(files); a[0].GetNewer() {
		t.Errorf("offered after its successor: %v", a)
	}
	b.checked()
}

// What people signed in an event that is open here is published here, not lost: showing it blocks nothing.
func TestOpenEventIsNotShownAsNewer(t *testing.T) {
	for kind, open := range map[string]func(b *bed) string{
		"release": func(b *bed) string { return b.signedRelease("2.4.1") },
		"root": func(b *bed) string {
			id := b.open("rivera", b.made(event.NewChange(b.plan(rotatedPlan), b.state(), b.opening())))
			b.sign(id, "chen", "rivera@2", "okafor")
			return id
		},
	} {
		t.Run(kind, func(t *testing.T) {
			b := newBed(t)
			b.found(basicPlan)
			b.released("2.4.0")
			id := open(b)
			for _, a := range b.offer(b.assembled(id)) {
				if a.GetNewer() || a.GetReason() != string(reason.RoleOpen) || !strings.Contains(a.GetMessage(), id[:12]) {
					t.Errorf("offered: %v", a)
				}
			}
			b.healthy(true)
			b.publish(id)
			b.checked()
		})
	}
}

// One person stops; but alone they neither use up all versions of the stop list nor take stops back, by
// showing a list that no event brought.
func TestStopListIsNotForgedByOne(t *testing.T) {
	b := newBed(t)
	b.found(basicPlan)
	b.released("2.4.0")
	var before event.BaseFile
	for _, f := range b.seen(everything...) {
		if f.Role == "gw-100.stop" {
			before = f
		}
	}
	id := b.open("rivera", b.stopOf("2.4.0"))
	b.sign(id, "okafor")
	b.publish(id)
	leap := forge(t, before, []string{`"version":1,`, fmt.Sprintf(`"version":%d,`, int64(metadata.MaxVersion))}, "okafor")
	if a := b.offer([]event.BaseFile{leap}); a[0].GetNewer() || a[0].GetReason() != string(reason.IntegerRange) {
		t.Errorf("a leap: %v", a)
	}
	back := forge(t, before, []string{`"version":1,`, `"version":3,`}, "okafor")
	if a := b.offer([]event.BaseFile{back}); a[0].GetNewer() || a[0].GetReason() != string(reason.StopKept) {
		t.Errorf("a stop taken back: %v", a)
	}
	b.healthy(true)
	b.checked()
}

// Many refused files in one call do not fill the audit log.
func TestRefusedFilesDoNotFillTheLog(t *testing.T) {
	b := newBed(t)
	b.found(basicPlan)
	files := make([]event.BaseFile, 500)
	for i := range files {
		files[i] = event.BaseFile{Repository: metadata.Image, Role: "gw-100", File: []byte("{}")}
	}
	for _, a := range b.offer(files) {
		if a.GetNewer() || a.GetReason() != string(reason.Malformed) {
			t.Fatalf("offered: %v", a)
		}
	}
	b.checked()
	n := 0
	for _, line := range b.auditLog() {
		if strings.Contains(line, "repository.offer") {
			n++
		}
	}
	if n == 0 || n > 20 {
		t.Errorf("%d entries of 500 refused files", n)
	}
}

// Until recovery nobody knows who was revoked since the copy: whoever was may not revoke the others, who
// could then not be let in again.
func TestRevokedSinceTheCopyRevokesNobody(t *testing.T) {
	b := newBed(t)
	b.found(basicPlan)
	b.operator("chen")
	copied := b.backup()
	if err := b.operators["rivera"].RevokeOperator(ctx, "chen", "left"); err != nil {
		t.Fatal(err)
	}
	b.lose(copied)
	b.start()
	wantReason(t, b.operators["chen"].RevokeOperator(ctx, "rivera", "mine now"), reason.RecoverFirst)
	b.recover(&repository.Recovery{Revoke: []string{"operator/chen"}})
	if _, err := b.operators["rivera"].Operators(ctx); err != nil {
		t.Errorf("rivera after recovery: %v", err)
	}
	b.checked()
}

// An event that recovery ended, since nobody could tell, is the one that was published once its content is
// shown: its approvals stand for it.
func TestEventThatRecoveryEndedWasPublished(t *testing.T) {
	b := newBed(t)
	b.found(basicPlan)
	b.released("2.4.0")
	id := b.signedRelease("2.4.1")
	copied := b.backup()
	b.publish(id)
	kept := b.seen(everything...)
	b.lose(copied)
	b.start()
	b.recover(&repository.Recovery{})
	if state := stateOf(t, b, id).GetState(); state != pb.EventState_EVENT_STATE_STALE {
		t.Fatalf("after recovery: %s", state)
	}
	b.offer(kept)
	b.recover(&repository.Recovery{})
	if state := stateOf(t, b, id).GetState(); state != pb.EventState_EVENT_STATE_PUBLISHED {
		t.Errorf("after it was shown: %s", state)
	}
	if code, data := b.get("/approvals/3.gw-100.jsonl"); code != 200 || strings.Count(string(data), "\n") != 2 {
		t.Errorf("approvals: %d %s", code, data)
	}
	b.checked()
}

// A device knows the bytes of the files that it holds. What recovery publishes again has the signatures that
// it was published with, whoever showed it with fewer before.
func TestRecoveredFilesKeepTheirSignatures(t *testing.T) {
	for name, show := range map[string]func(b *bed, few []event.BaseFile, file *repository.EventFile, all []event.BaseFile) *repository.Recovery{
		"fewer first": func(b *bed, few []event.BaseFile, file *repository.EventFile, all []event.BaseFile) *repository.Recovery {
			b.offer(few)
			b.offer(all)
			return &repository.Recovery{}
		},
		"fewer last": func(b *bed, few []event.BaseFile, file *repository.EventFile, all []event.BaseFile) *repository.Recovery {
			b.offer(all)
			b.offer(few)
			return &repository.Recovery{Events: []*repository.EventFile{file}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t)
			b.found(basicPlan)
			b.released("2.4.0")
			copied := b.backup()
			id := b.signedRelease("2.4.1")
			few, file := b.assembled(id), b.exported(id)
			b.sign(id, "okafor")
			b.publish(id)
			_, published := b.get("/3.gw-100.json")
			all := b.seen(everything...)
			d := b.newDevice(metadata.Image)
			path := "gw-100/2.4.1/gw.img"
			if err := d.takes(b.mirror(), path); err != nil {
				t.Fatal(err)
			}
			b.lose(copied)
			b.start()
			b.recover(show(b, few, file, all))
			if _, now := b.get("/3.gw-100.json"); string(now) != string(published) {
				t.Errorf("published again:\n%s\nbefore:\n%s", now, published)
			}
			if err := d.takes(b.mirror(), path); err != nil {
				t.Errorf("a device that has the release: %v [%s]", err, reason.Of(err))
			}
			b.sendFirmware("2.4.1")
			b.checked()
		})
	}
}

// What an event file proposes may be refused; the base in it proves itself all the same.
func TestBaseOfARefusedEventIsUsed(t *testing.T) {
	b := newBed(t)
	b.found(basicPlan)
	b.released("2.4.0")
	copied := b.backup()
	b.released("2.4.1")
	file := b.exported(b.signedRelease("2.4.2"))
	file.Event = bytes.ReplaceAll(file.Event, []byte(`"subject":"gw-100/2.4.2"`), []byte(`"subject":"gw-100/9.9.9"`))
	b.lose(copied)
	plan, err := repository.PlanRecovery(ctx, b.cfg, []*repository.EventFile{file})
	if err != nil || roleOf(plan, "image", "gw-100").GetNewest() != 3 || len(plan.GetRefused()) != 1 {
		t.Errorf("plan %v, %v", plan, err)
	}
}

// A folder within the server's is no place for a copy, whatever name leads there.
func TestBackupIntoTheServerByALink(t *testing.T) {
	b := newBed(t)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(b.dir, link); err != nil {
		t.Fatal(err)
	}
	for _, dest := range []string{filepath.Join(link, "copy"), filepath.Join(link, "a", "copy")} {
		_, err := repository.Backup(ctx, b.cfg, b.config(), dest)
		wantReason(t, err, reason.UsageError)
	}
	m, err := repository.Backup(ctx, b.cfg, b.config(), filepath.Join(t.TempDir(), "new", "copy"))
	if err != nil || len(m.Files) == 0 {
		t.Error(m, err)
	}
}
