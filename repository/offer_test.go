package repository_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/repository"
	"github.com/countersign-ota/countersign/repository/internal/store"
	"github.com/countersign-ota/countersign/repository/internal/store/bolt"
	"github.com/countersign-ota/countersign/signer/event"
)

// forge returns a role file with words of its signed part replaced, in pairs, and signed by people.
func forge(t *testing.T, f event.BaseFile, replace []string, people ...string) event.BaseFile {
	t.Helper()
	parsed, err := metadata.ParseTargets(f.File, metadata.Profile)
	if err != nil {
		t.Fatal(err)
	}
	canonical := parsed.Canonical()
	for i := 0; i < len(replace); i += 2 {
		if !bytes.Contains(canonical, []byte(replace[i])) {
			t.Fatalf("%s has no %s", f.Role, replace[i])
		}
		canonical = bytes.ReplaceAll(canonical, []byte(replace[i]), []byte(replace[i+1]))
	}
	var sigs []metadata.Signature
	for _, person := range people {
		k := keysOf(t, person)
		signers, err := k.Signers()
		if err != nil {
			t.Fatal(err)
		}
		s, err := metadata.Sign(canonical, signers[metadata.Image], k.Public.Image)
		if err != nil {
			t.Fatal(err)
		}
		sigs = append(sigs, s)
	}
	data, err := metadata.EncodeRaw(f.Role, canonical, sigs)
	if err != nil {
		t.Fatal(err)
	}
	return event.BaseFile{Repository: f.Repository, Role: f.Role, File: data}
}

// What is not genuine, not of this deployment, not newer or no role here raises nothing, whoever shows it;
// and the server goes on.
func TestHostileFilesRaiseNothing(t *testing.T) {
	b := newBed(t)
	b.found(basicPlan)
	b.released("2.4.0")
	kept := b.seen(everything...)
	b.released("2.4.1")
	find := func(role string) event.BaseFile {
		for _, f := range kept {
			if f.Role == role && f.Repository == metadata.Image {
				return f
			}
		}
		t.Fatal(role)
		return event.BaseFile{}
	}
	product, targets, root := find("gw-100"), find("targets"), find("root")
	v9 := []string{`"version":2,`, `"version":9,`}
	quality := []string{"rivera", "chen"}
	for _, tt := range []struct {
		name string
		file event.BaseFile
		want reason.Reason
	}{
		{"known", product, ""},
		{"forged by one of two", forge(t, product, v9, "rivera"), reason.Threshold},
		{"forged by two of one class", forge(t, product, v9, "chen", "okafor"), reason.QuorumNotMet},
		{"forged by other keys", forge(t, product, v9, "rivera@2", "chen@2"), reason.Threshold},
		{"of another deployment", forge(t, product, append([]string{"acme/image", "umbrella/image"}, v9...), quality...), reason.ScopeMismatch},
		{"of another role", forge(t, product, append([]string{"acme/image/gw-100", "acme/image/targets"}, v9...), quality...), reason.ScopeMismatch},
		{"of the director", event.BaseFile{Repository: metadata.Director, Role: "targets", File: targets.File}, reason.Malformed},
		{"snapshot", event.BaseFile{Repository: metadata.Image, Role: "snapshot", File: targets.File}, reason.Malformed},
		{"image root as the director's", event.BaseFile{Repository: metadata.Director, Role: "root", File: root.File}, reason.VersionUsed},
		{"a role that nobody delegated", func() event.BaseFile {
			f := forge(t, product, append([]string{"acme/image/gw-100", "acme/image/pump-9"}, v9...), quality...)
			f.Role = "pump-9"
			return f
		}(), reason.Malformed},
		{"other content of a published version", forge(t, product, []string{`"spread_hours":24`, `"spread_hours":1`}, quality...), reason.VersionUsed},
		{"version 2^53", forge(t, product, []string{`"version":2,`, `"version":9007199254740992,`}, quality...), reason.IntegerRange},
		{"no file", event.BaseFile{Repository: metadata.Image, Role: "gw-100", File: []byte("{}")}, reason.Malformed},
		{"a name that is no role", event.BaseFile{Repository: metadata.Image, Role: "../gw-100", File: product.File}, reason.Malformed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := b.offer([]event.BaseFile{tt.file})
			if len(a) != 1 || a[0].GetNewer() || a[0].GetReason() != string(tt.want) {
				t.Errorf("got %v, want reason %q", a, tt.want)
			}
		})
	}
	_, err := b.operators["rivera"].OfferFiles(ctx, nil)
	wantReason(t, err, "")
	_, err = pb.NewReleaseClient(b.stock(b.device("gw-0001"))).OfferFiles(ctx, &pb.OfferFilesRequest{})
	if err == nil || !strings.Contains(err.Error(), "may not do this") {
		t.Errorf("a device offers: %v", err)
	}
	b.healthy(true)
	plan, err := repository.PlanRecovery(ctx, b.cfg, []*repository.EventFile{{Name: "x.event", Event: []byte("{")}})
	if err != nil || plan.GetDue() || len(plan.GetRefused()) != 1 || plan.GetRefused()[0].GetReason() != string(reason.Malformed) {
		t.Errorf("plan %v, %v", plan, err)
	}
	// Event files: one that a single person signed, and that one as if it were of another deployment.
	e, s := b.release("2.4.2", basicSpec)
	b.upload(e, s)
	id := b.open("rivera", e)
	b.sign(id, "rivera")
	half := b.exported(id)
	foreign := &repository.EventFile{Name: "y.event", Event: bytes.ReplaceAll(half.Event, []byte(`"deployment":"acme"`), []byte(`"deployment":"umbrella"`))}
	plan, err = repository.PlanRecovery(ctx, b.cfg, []*repository.EventFile{half, foreign})
	if err != nil || plan.GetDue() || len(plan.GetRefused()) != 1 || plan.GetRefused()[0].GetReason() != string(reason.ScopeMismatch) {
		t.Errorf("plan %v, %v", plan, err)
	}
	b.sign(id, "chen")
	b.publish(id)
	b.checked()
}

// A genuine newer file raises the alarm without a restore too: somebody put an old copy of the disk in
// place. A version that was double-signed is named.
func TestServerBehindTheField(t *testing.T) {
	b := newBed(t)
	b.found(basicPlan)
	b.released("2.4.0")
	open, _ := b.release("2.4.9", basicSpec)
	b.stop()
	old := filepath.Join(t.TempDir(), "old")
	copyDir(t, b.dir, old)
	b.start()
	b.released("2.4.1")
	kept := b.seen(everything...)
	b.stop()
	if err := os.RemoveAll(b.dir); err != nil {
		t.Fatal(err)
	}
	copyDir(t, old, b.dir)
	b.start()
	b.healthy(true)
	for _, a := range b.offer(kept) {
		if a.GetNewer() != (a.GetRole() == "gw-100") {
			t.Errorf("offered: %v", a)
		}
	}
	b.healthy(false)
	if !strings.Contains(b.log.String(), "reason=repository-behind-field role=\"image gw-100\" version=3 from=operator/rivera") {
		t.Error("the log says nothing")
	}
	_, err := b.operators["rivera"].OpenEvent(ctx, open)
	wantReason(t, err, reason.BehindField)
	for _, f := range kept {
		if f.Role == "gw-100" {
			twice := forge(t, f, []string{`"spread_hours":24`, `"spread_hours":1`}, "rivera", "okafor")
			if a := b.offer([]event.BaseFile{twice}); a[0].GetNewer() || a[0].GetReason() != string(reason.VersionUsed) {
				t.Errorf("another content: %v", a)
			}
		}
	}
	b.stop()
	b.start()
	b.healthy(false) // a restart forgets nothing
	plan, done := b.recover(&repository.Recovery{})
	if plan.GetRestored() != "" || roleOf(plan, "image", "gw-100").GetNewest() != 3 || done.GetSnapshot() == 0 {
		t.Errorf("plan %v", plan)
	}
	b.healthy(true)
	b.sendFirmware("2.4.1")
	if v := b.released("2.4.3"); v["image/gw-100"] != 3+16+1 {
		t.Errorf("published %v", v)
	}
	b.checked()
	log := b.auditLog()
	for _, want := range []string{
		"operator/rivera repository.behind image gw-100 3 [repository-behind-field]",
		"operator/rivera event.open " + open.ID() + " [repository-behind-field]",
		"operator/rivera repository.offer image gw-100 3 [version-used]",
		"server server.recover acme []", "server role.import image gw-100 3 []",
	} {
		if !slices.Contains(log, want) {
			t.Errorf("the audit log has no %q:\n%s", want, strings.Join(log, "\n"))
		}
	}
}

// auditLog returns actor, action, subject and reason of every entry of a stopped server.
func (b *bed) auditLog() []string {
	b.t.Helper()
	db, err := bolt.Open(filepath.Join(b.dir, "countersign.db"), bolt.Options{})
	if err != nil {
		b.t.Fatal(err)
	}
	defer db.Close()
	var lines []string
	if err := db.View(ctx, func(v store.View) error {
		log, err := v.AuditLog(1, 1<<20)
		for _, e := range log {
			lines = append(lines, fmt.Sprintf("%s %s %s [%s]", e.Record.GetActor(), e.Record.GetAction(), e.Record.GetSubject(), e.Record.GetReason()))
		}
		return err
	}); err != nil {
		b.t.Fatal(err)
	}
	return lines
}

const otherPlan = `deployment: acme
online: online.pub
people: {rivera: rivera@2.pub, chen: chen@2.pub, okafor: okafor.pub}
meaning: {holder: approved, engineering: authored, quality: approved, stop: stopped}
roots: {require: {holder: 2}, people: {holder: [rivera, chen, okafor]}}
products:
  gw-100: {require: {engineering: 1, quality: 1}, people: {engineering: [rivera], quality: [chen, okafor]}}
`

// Keys were changed since the copy. The new roots come in order; targets without the product that they
// gave to other keys are not taken, and with it they are.
func TestRecoverAcrossAChangeOfKeys(t *testing.T) {
	b := newBed(t)
	b.found(basicPlan)
	b.released("2.4.0")
	copied := b.backup()
	e, err := event.NewChange(b.plan(otherPlan), b.state(), b.opening())
	if err != nil {
		t.Fatal(err)
	}
	id := b.open("rivera", e)
	b.sign(id, "rivera", "chen", "okafor", "rivera@2", "chen@2")
	v := b.publish(id)
	if v["image/root"] != 2 || v["director/root"] != 2 || v["image/targets"] != 2 || v["image/gw-100"] != 3 {
		t.Fatalf("published %v", v)
	}
	kept := b.seen(everything...)
	paths := []string{"/2.root.json", "/2.targets.json", "/3.gw-100.json"}
	published := map[string]string{}
	for _, path := range paths {
		_, data := b.get(path)
		published[path] = string(data)
	}
	b.lose(copied)
	b.start()
	var rest []event.BaseFile
	for _, f := range kept {
		if f.Role == "gw-100" { // the stop list satisfies its new delegation as it is
			rest = append(rest, f)
		}
	}
	// Under the roots of the copy these are nobody's.
	for _, a := range b.offer(rest) {
		if a.GetNewer() || a.GetReason() == "" {
			t.Errorf("offered before the roots: %v", a)
		}
	}
	for _, a := range b.offer(without(kept, "gw-100")) {
		if a.GetNewer() != (a.GetVersion() == 2) || a.GetReason() != "" {
			t.Errorf("offered: %v", a)
		}
	}
	_, err = repository.PlanRecovery(ctx, b.cfg, nil)
	wantReason(t, err, reason.BehindField)
	if err == nil || !strings.Contains(err.Error(), "does not hang together: with it, image gw-100 2: ") {
		t.Errorf("plan: %v", err)
	}
	for _, a := range b.offer(rest) {
		if !a.GetNewer() {
			t.Errorf("offered after the roots: %v", a)
		}
	}
	plan, _ := b.recover(&repository.Recovery{})
	if l := roleOf(plan, "director", "root"); l.GetNewest() != 2 {
		t.Errorf("plan %v", plan)
	}
	for _, path := range paths { // devices know these bytes
		if _, data := b.get(path); string(data) != published[path] {
			t.Errorf("%s is other than before", path)
		}
	}
	b.checked()
}

// The copy lacks the online keys that the newest root names: recovery takes that root, the server signs
// nothing, says so, and a root with its own keys cures it.
func TestRecoverWithoutTheOnlineKeys(t *testing.T) {
	b := newBed(t)
	b.found(basicPlan)
	b.released("2.4.0")
	copied := b.backup()
	b.stop()
	keys := map[string][]byte{}
	for _, name := range []string{"online/image.key", "online/director.key"} {
		path := filepath.Join(b.dir, name)
		var err error
		if keys[name], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, newKeyFile(t), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b.start()
	e, err := event.NewChange(b.plan(basicPlan), b.state(), b.opening())
	if err != nil {
		t.Fatal(err)
	}
	id := b.open("rivera", e)
	b.sign(id, "rivera", "chen")
	b.publish(id)
	b.released("2.4.1")
	kept := b.seen(everything...)
	b.lose(copied)
	b.start()
	b.offer(kept)
	plan, done := b.recover(&repository.Recovery{})
	if plan.GetUnsigned() == "" || done.GetSnapshot() != 0 || done.GetTimestamp() != 0 {
		t.Errorf("plan %v, done %v", plan, done)
	}
	b.healthy(false)
	if e, err = event.NewChange(b.plan(basicPlan), b.state(), b.opening()); err != nil {
		t.Fatal(err)
	}
	id = b.open("rivera", e)
	b.sign(id, "rivera", "chen")
	v := b.publish(id)
	if v["image/root"] != 3 || v["image/snapshot"] == 0 {
		t.Errorf("published %v", v)
	}
	b.healthy(true)
	var snapshot struct {
		Signed struct {
			Meta map[string]struct{ Version int64 }
		}
	}
	_, data := b.get(fmt.Sprintf("/%d.snapshot.json", v["image/snapshot"]))
	if err := json.Unmarshal(data, &snapshot); err != nil || snapshot.Signed.Meta["gw-100.json"].Version != 3 {
		t.Errorf("the snapshot does not name what recovery took: %s, %v", data, err)
	}
	b.sendFirmware("2.4.1")
	b.checked()
}

func without(files []event.BaseFile, role string) []event.BaseFile {
	return slices.DeleteFunc(slices.Clone(files), func(f event.BaseFile) bool { return f.Role == role })
}

func newKeyFile(t *testing.T) []byte {
	t.Helper()
	_, k, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}
