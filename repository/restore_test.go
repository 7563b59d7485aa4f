package repository_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/repository"
)

// Backups that are made while releases are published are each one state of the server, which restore
// takes and the checker finds sound.
func TestBackupWhileReleasesArePublished(t *testing.T) {
	b := newBed(t)
	b.found(basicPlan)
	const copies = 3
	dests := make(chan string, copies)
	dir := t.TempDir()
	config := b.config()
	go func() {
		defer close(dests)
		for i := range copies {
			dest := filepath.Join(dir, string(rune('a'+i)))
			if _, err := repository.Backup(ctx, b.cfg, config, dest); err != nil {
				t.Errorf("backup %d: %v [%s]", i, err, reason.Of(err))
				return
			}
			dests <- dest
		}
	}()
	var made []string
	for n := 0; ; n++ {
		b.released(fmt.Sprintf("2.%d", n))
		select {
		case dest, ok := <-dests:
			if ok {
				made = append(made, dest)
				continue
			}
		default:
			continue
		}
		break
	}
	if len(made) != copies {
		t.Fatalf("%d copies", len(made))
	}
	b.checked()
	for _, dest := range made {
		to := filepath.Join(dir, "restored-"+filepath.Base(dest))
		r, err := repository.Restore(ctx, repository.RestoreOptions{Source: dest, Dir: to})
		if err != nil || len(r.Damaged) > 0 {
			t.Fatalf("restore: %v, damaged %v", err, r)
		}
		report, err := repository.Check(ctx, to, b.clock.now())
		if err != nil || len(report.Problems) > 0 {
			t.Errorf("check: %v, %v", err, report)
		}
		cfg, err := repository.LoadConfig(r.Config)
		if err != nil || cfg.Dir != to || cfg.URL != b.cfg.URL {
			t.Errorf("configuration %+v, %v", cfg, err)
		}
	}
}

// The whole of it: a server is lost after two releases that the copy does not hold; what is restored
// signs and publishes nothing; a tool shows the first release, an event file brings the second; after
// recovery nothing that anybody has seen is contradicted.
func TestRestoreAndRecover(t *testing.T) {
	b := newBed(t)
	b.found(basicPlan)
	b.released("2.4.0")
	old, err := b.operators["rivera"].InviteDevices(ctx, []string{"gw-0007"})
	if err != nil {
		t.Fatal(err)
	}
	open, _ := b.release("2.9.9", basicSpec)
	openID := b.open("rivera", open)
	copied := b.backup()
	if _, _, err := b.operators["rivera"].Cancel(ctx, openID, "not this one"); err != nil {
		t.Fatal(err)
	}
	b.released("2.4.1")
	kept := b.seen(everything...)
	e, s := b.release("2.4.2", basicSpec)
	b.upload(e, s)
	id := b.open("rivera", e)
	b.sign(id, "rivera", "chen")
	last := b.publish(id)
	file := b.exported(id)

	b.lose(copied)
	b.start()
	b.healthy(false)
	rivera := b.operators["rivera"]
	before := b.timestampVersion()
	if code, _ := b.get("/2.gw-100.json"); code != 200 {
		t.Errorf("the product of the copy: %d", code)
	}
	_, err = rivera.OpenEvent(ctx, e)
	wantReason(t, err, reason.RecoverFirst)
	_, err = rivera.Publish(ctx, openID)
	wantReason(t, err, reason.RecoverFirst)
	_, err = rivera.AddSignatures(ctx, openID, nil, nil)
	wantReason(t, err, reason.RecoverFirst)
	_, _, err = rivera.Cancel(ctx, openID, "no")
	wantReason(t, err, reason.RecoverFirst)
	_, err = rivera.InviteDevices(ctx, []string{"gw-0008"})
	wantReason(t, err, reason.RecoverFirst)
	if got := b.enrol(old[0]); got != reason.RecoverFirst {
		t.Errorf("enrolment before recovery: %q", got)
	}

	for _, a := range b.offer(kept) {
		if a.GetNewer() != (a.GetRole() == "gw-100") || a.GetReason() != "" {
			t.Errorf("offered: %v", a)
		}
	}
	plan, done := b.recover(&repository.Recovery{Events: []*repository.EventFile{file}})
	if l := roleOf(plan, "image", "gw-100"); l.GetHere() != 2 || l.GetNewest() != 4 || l.GetFrom() != "file last.event" {
		t.Errorf("plan: %v", l)
	}
	if l := roleOf(plan, "image", "targets"); l.GetNewest() != 1 || l.GetFrom() != "" {
		t.Errorf("plan: %v", l)
	}
	if plan.GetTokens() != 2 || len(plan.GetEvents()) != 1 || plan.GetEvents()[0] != openID || len(plan.GetMissing()) != 2 || len(plan.GetRefused()) != 0 {
		t.Errorf("plan: %v", plan)
	}
	if done.GetSnapshot() <= last["image/snapshot"] || done.GetTimestamp() <= last["image/timestamp"] || done.GetTimestamp() <= before {
		t.Errorf("online versions %d and %d, before the loss %v", done.GetSnapshot(), done.GetTimestamp(), last)
	}
	b.healthy(true)

	// The publication is known again, and its image is said to be lost until somebody uploads it.
	if state := stateOf(t, b, id).GetState(); state != pb.EventState_EVENT_STATE_PUBLISHED {
		t.Errorf("the event of 2.4.2 is %s", state)
	}
	if state := stateOf(t, b, openID).GetState(); state != pb.EventState_EVENT_STATE_STALE {
		t.Errorf("the event that was open is %s", state)
	}
	_, err = rivera.AddSignatures(ctx, openID, nil, nil)
	wantReason(t, err, reason.EventStale)
	if code, _ := b.get("/3.gw-100.json"); code != 200 {
		t.Errorf("the version between the two: %d", code)
	}
	if base, _ := b.signed(id, "okafor"); len(base) == 0 { // it is judged on the base that it was made from
		t.Error("the event of 2.4.2 cannot be looked at")
	}
	reader := b.browser(b.certificate("rivera"))
	gone := b.ask(reader, "GET", imagePath("2.4.2"), nil)
	if gone.code != 404 || gone.reason(t) != reason.NotFound || !bytes.Contains(gone.body, []byte("its bytes were lost here")) {
		t.Errorf("the image that was lost: %d %q", gone.code, gone.body)
	}
	report, err := repository.Check(ctx, b.dir, b.clock.now()) // beside the running server
	if err != nil || len(report.Problems) != 2 {
		t.Errorf("check: %v, %v", err, report)
	}
	b.sendFirmware("2.4.1")
	b.sendFirmware("2.4.2")
	if a := b.ask(reader, "GET", imagePath("2.4.2"), nil); a.code != 200 {
		t.Errorf("the image after an upload: %d", a.code)
	}
	if got := b.enrol(old[0]); got != reason.TokenInvalid {
		t.Errorf("enrolment with a token of before: %q", got)
	}

	// Above all that may have been signed since the copy: 4 and 3 are in force, 16 of each are skipped.
	next, _ := b.release("2.5.0", basicSpec)
	if got := counterOf(t, next); got != 3+16+1 {
		t.Errorf("counter %d", got)
	}
	v := b.released("2.5.0")
	if v["image/gw-100"] != 4+16+1 || v["image/snapshot"] <= done.GetSnapshot() {
		t.Errorf("published %v", v)
	}
	again, err := repository.PlanRecovery(ctx, b.cfg, nil)
	if err != nil || again.GetDue() {
		t.Errorf("a second recovery: %v, %v", again, err)
	}
	b.checked()
}

// A recovery that was agreed to is the one that is carried out, and who was revoked since the copy is.
func TestRecoverNamesPeople(t *testing.T) {
	b := newBed(t)
	b.found(basicPlan)
	b.released("2.4.0")
	b.operator("chen")
	b.device("gw-0001")
	copied := b.backup()
	b.released("2.4.1")
	kept := b.seen(everything...)
	b.lose(copied)

	// A stopped server is recovered as well; but only the plan that was shown.
	plan, err := repository.PlanRecovery(ctx, b.cfg, nil)
	if err != nil || !plan.GetDue() || len(plan.GetSubjects()) != 3 {
		t.Fatalf("plan %v, %v", plan, err)
	}
	b.start()
	b.offer(kept)
	_, err = repository.Recover(ctx, b.cfg, &repository.Recovery{Plan: plan.GetId()})
	wantReason(t, err, reason.Busy)
	plan, err = repository.PlanRecovery(ctx, b.cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range []struct {
		revoke, invite []string
		want           reason.Reason
	}{
		{[]string{"operator/nobody"}, nil, reason.NotFound},
		{[]string{"rivera"}, nil, reason.Malformed},
		{[]string{"operator/rivera", "operator/chen"}, nil, reason.Permission},
		{nil, []string{"nobody"}, reason.NotFound},
		{[]string{"operator/chen"}, []string{"chen"}, reason.Permission},
	} {
		_, err := repository.Recover(ctx, b.cfg, &repository.Recovery{Plan: plan.GetId(), Revoke: q.revoke, Invite: q.invite})
		wantReason(t, err, q.want)
	}
	done, err := repository.Recover(ctx, b.cfg, &repository.Recovery{
		Plan: plan.GetId(), Revoke: []string{"operator/chen", "device/gw-0001"}, Invite: []string{"rivera"},
	})
	if err != nil || len(done.GetTokens()) != 1 {
		t.Fatalf("recover: %v, %v", done, err)
	}
	_, err = b.operators["chen"].Operators(ctx)
	wantReason(t, err, reason.Permission)
	b.login(b.token(done.GetTokens()[0]))
	_, err = b.operators["rivera"].InviteDevices(ctx, []string{"gw-0001"})
	wantReason(t, err, reason.Permission)
	b.sendFirmware("2.4.1")
	b.checked()
}

// Images that are gone from the server, or damaged in the copy, spoil neither: they are named, marked by
// recovery, not offered, and healed by an upload.
func TestDamagedImagesAreNamed(t *testing.T) {
	b := newBed(t)
	b.found(basicPlan)
	b.released("2.4.0")
	b.released("2.4.1")
	blob := func(dir, version string) string {
		sum := sha256.Sum256(firmware(version))
		return filepath.Join(dir, "blobs", fmt.Sprintf("%x", sum[:1]), fmt.Sprintf("%x", sum))
	}
	if err := os.Truncate(blob(b.dir, "2.4.0"), 5); err != nil {
		t.Fatal(err)
	}
	dest := filepath.Join(t.TempDir(), "copy")
	m, err := repository.Backup(ctx, b.cfg, b.config(), dest)
	if err != nil || len(m.Missing) != 1 || m.Missing[0] != filepath.Base(blob("", "2.4.0")) {
		t.Fatalf("backup: %v, missing %v", err, m)
	}
	data, err := os.ReadFile(blob(dest, "2.4.1"))
	if err != nil {
		t.Fatal(err)
	}
	data[7] ^= 1
	if err := os.WriteFile(blob(dest, "2.4.1"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	r := b.lose(dest)
	if len(r.Damaged) != 1 || filepath.Base(r.Damaged[0]) != filepath.Base(blob("", "2.4.1")) {
		t.Errorf("damaged %v", r.Damaged)
	}
	b.start()
	plan, _ := b.recover(&repository.Recovery{})
	if len(plan.GetMissing()) != 2 {
		t.Errorf("missing %v", plan.GetMissing())
	}
	reader := b.browser(b.certificate("rivera"))
	for _, version := range []string{"2.4.0", "2.4.1"} {
		if a := b.ask(reader, "GET", imagePath(version), nil); a.code != 404 {
			t.Errorf("%s: %d", version, a.code)
		}
		b.sendFirmware(version)
		if a := b.ask(reader, "GET", imagePath(version), nil); a.code != 200 || !bytes.Equal(a.body, firmware(version)) {
			t.Errorf("%s after an upload: %d", version, a.code)
		}
	}
	b.checked()
}
