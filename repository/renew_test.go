package repository_test

import (
	"crypto/tls"
	"slices"
	"strings"
	"testing"
	"time"

	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/proto/reason/status"
	"github.com/countersign-ota/countersign/repository"
	"github.com/countersign-ota/countersign/signer/event"
)

const days = 24 * time.Hour

// foundedSo founds a deployment whose files expire so soon.
func (b *bed) foundedSo(plan string, left time.Duration) {
	b.t.Helper()
	o := b.opening()
	o.Now = o.Now.Add(left - 365*days)
	e := b.made(event.NewInit(b.plan(plan), o))
	id := b.open("rivera", e)
	b.sign(id, "rivera", "chen", "okafor")
	b.publish(id)
}

// later stops the server, starts it again after so long, and waits until its schedule has looked once. An
// operator renews the connection key in time, as tools do.
func (b *bed) later(d time.Duration) *pb.GetExpiryResponse {
	b.t.Helper()
	for d > 0 {
		step := min(d, 12*time.Hour)
		b.clock.forward(step)
		for id, c := range b.operators {
			fresh, err := c.Renew(ctx, b.ca, "acme", id)
			if err != nil {
				b.t.Fatal(err)
			}
			c.Close()
			b.operators[id] = b.dial(fresh)
		}
		d -= step
	}
	b.stop()
	b.start()
	return b.expiry(func(e *pb.GetExpiryResponse) bool { return e.GetLooked() != 0 })
}

// openEvents are the events that are open.
func (b *bed) openEvents() []*pb.EventSummary {
	b.t.Helper()
	open, err := b.operators["rivera"].Events(ctx, false, 0)
	if err != nil {
		b.t.Fatal(err)
	}
	return open
}

// Refresh events open by themselves 45 days before, one a group and once; those of which nothing came open
// again, at most one a day; what was published anew is left alone.
func TestRefreshEventsOpenByThemselves(t *testing.T) {
	b := newBedAt(t, -20*days)
	b.foundedSo(basicPlan, 50*days)
	if b.later(25 * time.Hour); len(b.openEvents()) != 0 {
		t.Errorf("49 days before: %v", b.openEvents())
	}
	said := b.later(4 * days)
	open := b.openEvents()
	byRole := map[string]string{}
	for _, s := range open {
		if s.GetOpenedBy() != "server" || s.GetKind() != event.Refresh {
			t.Errorf("%s %s by %s", s.GetKind(), s.GetSubject(), s.GetOpenedBy())
		}
		byRole[strings.Join(s.GetRoles(), " ")] = s.GetId()
	}
	top, product, stop := byRole["director/root image/root image/targets"], byRole["image/gw-100"], byRole["image/gw-100.stop"]
	if len(open) != 3 || top == "" || product == "" || stop == "" {
		t.Fatalf("open: %v", byRole)
	}
	for _, e := range said.GetExpiries() {
		want := map[string]string{"gw-100": product, "gw-100.stop": stop, "root": top, "targets": top, "snapshot": "", "timestamp": ""}[e.GetRole()]
		if e.GetEvent() != want || (len(e.GetRequire()) > 0) != (want != "") {
			t.Errorf("%s %s: %d d, require %v, event %q, want %q", e.GetRepository(), e.GetRole(), (e.GetExpires()-said.GetNow())/86400, e.GetRequire(), e.GetEvent(), want)
		}
	}
	if log := b.log.String(); !strings.Contains(log, `msg="a role expires soon" role="image gw-100" bins=0 days=44 expired=false sign="engineering 1, quality 1" event=`+product) {
		t.Error("the log does not say who must act")
	}

	// Never twice.
	b.later(25 * time.Hour)
	if again := b.openEvents(); len(again) != 3 {
		t.Errorf("a day later: %v", again)
	}
	// Who signs may cancel, and nobody else; it comes back, once a day.
	_, _, err := b.operator("dana").Cancel(ctx, product, "not now")
	wantReason(t, err, reason.Permission)
	if strings.Contains(reason.HintOf(err), "server") {
		t.Errorf("hint %q", reason.HintOf(err))
	}
	cancel := func(id string) {
		t.Helper()
		if _, successor, err := b.operator("chen").Cancel(ctx, id, "not now"); err != nil || successor != "" {
			t.Fatalf("successor %q, %v", successor, err)
		}
	}
	cancel(product)
	b.later(0)
	second := b.onRole("image/gw-100")
	if second == "" || second == product {
		t.Fatalf("after the cancellation: %q", second)
	}
	cancel(second)
	b.later(time.Hour)
	if id := b.onRole("image/gw-100"); id != "" {
		t.Errorf("the third within a day: %s", id)
	}
	b.later(25 * time.Hour)
	if id := b.onRole("image/gw-100"); id == "" || id == second {
		t.Errorf("the day after: %q", id)
	}
	// It gives way to a release, which makes it needless.
	b.released("2.4.0")
	b.sign(top, "rivera", "chen")
	if got := b.publish(top); got["image/root"] != 2 || got["director/root"] != 2 || got["image/targets"] != 2 {
		t.Errorf("published %v", got)
	}
	b.sign(stop, "okafor")
	b.publish(stop)
	b.later(25 * time.Hour)
	if open := b.openEvents(); len(open) != 0 {
		t.Errorf("open at the end: %v", open)
	}
	b.checked()
}

// onRole is the event that is open on a role, or "".
func (b *bed) onRole(name string) string {
	b.t.Helper()
	for _, s := range b.openEvents() {
		if slices.Contains(s.GetRoles(), name) {
			return s.GetId()
		}
	}
	return ""
}

// While an event is open on a role, no refresh of it opens, of the rest of its group one does.
func TestNoRefreshBesideAnOpenEvent(t *testing.T) {
	b := newBedAt(t, -10*days)
	b.foundedSo(basicPlan, 46*days)
	e, s := b.release("2.4.0", basicSpec)
	b.upload(e, s)
	release := b.open("rivera", e)
	change := b.open("rivera", b.made(event.NewChange(b.plan(pumpPlan), b.state(), b.opening()))) // targets
	b.later(25 * time.Hour)
	for role, want := range map[string]string{"image/gw-100": release, "image/targets": change} {
		if got := b.onRole(role); got != want {
			t.Errorf("%s: %q is open, want %q", role, got, want)
		}
	}
	roots := b.onRole("image/root")
	if roots == "" || b.onRole("director/root") != roots {
		t.Errorf("the roots: %q", roots)
	}
	b.sign(roots, "rivera", "chen")
	b.publish(roots)
	b.checked()
}

// A retired product is neither refreshed nor spoken of.
func TestRetiredProductIsNotRefreshed(t *testing.T) {
	b := newBedAt(t, -10*days)
	b.foundedSo(pumpPlan, 46*days)
	retired := strings.Replace(pumpPlan, "pump-9: {", "pump-9: {retired: true, ", 1)
	id := b.open("rivera", b.made(event.NewChange(b.plan(retired), b.state(), b.opening())))
	b.sign(id, "rivera", "chen")
	b.publish(id)
	before := len(b.log.String()) // it was spoken of while it was not retired
	said := b.later(25 * time.Hour)
	if got := b.onRole("image/pump-9") + b.onRole("image/pump-9.stop"); got != "" {
		t.Errorf("open on the retired product: %s", got)
	}
	if b.onRole("image/gw-100") == "" {
		t.Error("the other product is not refreshed")
	}
	for _, e := range said.GetExpiries() {
		if strings.HasPrefix(e.GetRole(), "pump-9") {
			t.Errorf("spoken of: %v", e)
		}
	}
	if strings.Contains(b.log.String()[before:], `role="image pump-9`) {
		t.Error("the log speaks of it")
	}
	b.checked()
}

// Bins are refreshed with their product, as far as they expire; the answer holds the first of them.
func TestBinsAreRefreshed(t *testing.T) {
	b := newBedAt(t, -10*days)
	b.foundedSo(binnedPlan, 300*days)
	o := b.opening()
	b.write("build/gw.img", firmware("1.0"))
	e, s := b.release("1.0", manyTargets(b, 3))
	old, err := event.NewRelease("gw-100", "1.0", s, b.state(), event.Opening{Now: o.Now.Add(-319 * days), Memory: o.Memory})
	if err != nil {
		t.Fatal(err)
	}
	b.upload(e, s)
	id := b.open("rivera", old)
	b.sign(id, "rivera", "chen")
	b.publish(id)
	b.released("1.1") // the product's own file, and one bin, are good for a year again
	said := b.later(25 * time.Hour)
	refresh := b.onRole("image/gw-100")
	if refresh == "" {
		t.Fatal("no refresh is open")
	}
	got, _, err := b.operators["rivera"].Event(ctx, refresh)
	if err != nil {
		t.Fatal(err)
	}
	bins := 0
	for _, f := range got.Proposal.Files {
		if strings.HasPrefix(f.Role, "gw-100.bin-") {
			bins++
		}
	}
	if bins == 0 || len(got.Proposal.Files) != bins+1 {
		t.Errorf("the event holds %d files, %d bins", len(got.Proposal.Files), bins)
	}
	var lines []*pb.Expiry
	for _, e := range said.GetExpiries() {
		if strings.HasPrefix(e.GetRole(), "gw-100.bin-") {
			lines = append(lines, e)
		}
	}
	if len(lines) != 1 || int(lines[0].GetBins()) != bins || lines[0].GetEvent() != refresh || len(lines[0].GetRequire()) != 2 {
		t.Errorf("bins in the answer: %v, want %d of event %s", lines, bins, refresh)
	}
	b.sign(refresh, "rivera", "chen")
	b.publish(refresh)
	if b.later(25 * time.Hour); b.onRole("image/gw-100") != "" {
		t.Error("refreshed again")
	}
	b.checked()
}

// A restored copy opens nothing before it is recovered, and says why.
func TestRestoredCopyOpensNoRefresh(t *testing.T) {
	b := newBedAt(t, -10*days)
	b.foundedSo(basicPlan, 46*days)
	copied := b.backup()
	b.lose(copied)
	b.start()
	said := b.later(25 * time.Hour)
	if said.GetReason() != string(reason.RecoverFirst) || said.GetMessage() == "" || !strings.Contains(said.GetHint(), "recover") {
		t.Errorf("said %v", said)
	}
	if got := b.openEvents(); len(got) != 0 {
		t.Errorf("open: %v", got)
	}
}

// What the server opened by itself looks like nobody's doing: no person may have its name.
func TestNobodyIsCalledServer(t *testing.T) {
	b := newBed(t)
	_, err := b.operators["rivera"].InviteOperator(ctx, "server", []string{"admin"}, "")
	wantReason(t, err, reason.Malformed)
	err = repository.CheckInit(repository.InitOptions{Deployment: "acme", URL: "https://updates.example", Dir: t.TempDir(), Operator: "server"})
	wantReason(t, err, reason.Malformed)
}

// Nobody else learns what expires: a device, a stranger.
func TestExpiryIsForOperators(t *testing.T) {
	b := newBed(t)
	for _, cert := range []*tls.Certificate{nil, b.device("gw-0001")} {
		_, err := pb.NewRepositoryClient(b.stock(cert)).GetExpiry(ctx, &pb.GetExpiryRequest{})
		wantReason(t, status.FromError(err), reason.Permission)
	}
	said, err := b.operators["rivera"].Expiry(ctx) // before init
	if err != nil || len(said.GetExpiries()) != 0 || said.GetMessage() != "" {
		t.Errorf("said %v, %v", said, err)
	}
}
