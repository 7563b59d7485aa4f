package event_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/signer/event"
)

// A release leaves its product, its counter never comes back.
func TestWithdraw(t *testing.T) {
	w := newWorld(t)
	w.found(twoProducts)
	w.released("2.4.0")
	w.released("2.4.1")
	w.pump("1.0", 3)
	for _, tt := range []struct {
		product, version string
		removed          int
		left             string
	}{
		{"gw-100", "2.4.1", 1, "gw-100-c, component main: counter 1 (2.4.0) is the highest that is left"},
		{"pump-9", "1.0", 3, "counter 1 stays used up"},
	} {
		e := w.withdraw(tt.product, tt.version)
		j := w.publish(w.sign(e, "rivera", nil), w.sign(e, "chen", nil))
		r := j.Review()
		if r.Kind != event.Withdraw || r.Subject != tt.product+"/"+tt.version || r.Reason != "link drops" || len(r.Removed) != tt.removed || len(r.Added) != 0 {
			t.Errorf("%+v", r)
		}
		if !slices.Contains(r.Consequences, tt.left) {
			t.Errorf("%s: %q is not in %q", tt.product, tt.left, r.Consequences)
		}
		_, err := event.NewWithdraw(tt.product, tt.version, "again", w.state(), w.opening())
		wantReason(t, err, reason.NotFound)
	}
	if r := w.reviewOf(w.release("2.4.2", basicSpec)); r.Added[0].Counter != 3 {
		t.Errorf("counter %d after a withdrawal, want 3", r.Added[0].Counter)
	}
}

func TestWithdrawRefused(t *testing.T) {
	w := newWorld(t)
	w.found(twoProducts)
	w.released("2.4.0")
	w.released("2.4.1")
	e := w.withdraw("gw-100", "2.4.1")
	change := func(f func(t *metadata.TargetsRole)) *event.Event {
		file, err := metadata.ParseTargets(mustRaw(t, e.Proposal.Files[0].Signed), metadata.Profile)
		if err != nil {
			t.Fatal(err)
		}
		f(&file.Signed)
		signed, err := metadata.Signed(file.Signed)
		if err != nil {
			t.Fatal(err)
		}
		c := *e
		c.Proposal.Files = slices.Clone(e.Proposal.Files)
		c.Proposal.Files[0].Signed = signed
		return &c
	}
	for name, tt := range map[string]struct {
		e    *event.Event
		want reason.Reason
	}{
		"nothing leaves":     {change(func(r *metadata.TargetsRole) { r.Targets = targetsOf(t, w, "gw-100") }), reason.Profile},
		"two releases leave": {change(func(r *metadata.TargetsRole) { clear(r.Targets) }), reason.Profile},
		"the counter falls": {change(func(r *metadata.TargetsRole) {
			r.UnrecognizedFields[metadata.HighField] = (&metadata.High{Counter: 1, Floors: map[string]int64{"main": 0}}).Field()
		}), reason.Profile},
		"no reason": {func() *event.Event { c := *e; c.Proposal.Reason = ""; return &c }(), reason.Malformed},
		"another kind with a reason": {func() *event.Event {
			c := *w.release("2.4.3", basicSpec)
			c.Proposal.Reason = "because"
			return &c
		}(), reason.Malformed},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := w.opened(tt.e)
			wantReason(t, err, tt.want)
		})
	}
	for _, why := range []string{"", "two\nlines", "\x1b[2J", strings.Repeat("x", event.MaxReason+1), "\xff"} {
		_, err := event.NewWithdraw("gw-100", "2.4.1", why, w.state(), w.opening())
		wantReason(t, err, reason.UsageError)
	}
}

func targetsOf(t *testing.T, w *world, role string) map[string]*metadata.TargetFile {
	t.Helper()
	f, err := metadata.ParseTargets(w.files["image/"+role], metadata.Profile)
	if err != nil {
		t.Fatal(err)
	}
	return f.Signed.Targets
}

// A product is retired for ever: no release, no refresh, no way back; withdrawals and stops go on.
func TestRetire(t *testing.T) {
	w := newWorld(t)
	w.found(twoProducts)
	w.released("2.4.0")
	w.released("2.4.1")
	retiredPlan := strings.Replace(twoProducts, "gw-100: {", "gw-100: {retired: true, ", 1)
	e, err := event.NewChange(w.plan(retiredPlan), w.state(), w.opening())
	if err != nil {
		t.Fatal(err)
	}
	r := w.publish(w.sign(e, "rivera", nil), w.sign(e, "okafor", nil)).Review()
	if len(r.Roles) != 1 || !r.Roles[0].Retired || r.Roles[0].OldRetired || len(r.Files) != 1 {
		t.Errorf("%+v", r)
	}
	w.write("build/gw.img", "late")
	_, err = event.NewRelease("gw-100", "2.5.0", w.spec(basicSpec), w.state(), w.opening())
	wantReason(t, err, reason.Retired)
	_, err = event.NewRefresh([]event.RoleRef{{Repository: metadata.Image, Role: "gw-100"}}, w.state(), w.opening())
	wantReason(t, err, reason.Retired)
	_, err = event.NewChange(w.plan(twoProducts), w.state(), w.opening())
	wantReason(t, err, reason.Retired)
	w.publish(w.sign(w.stop("gw-100", "2.4.1", nil), "chen", nil))
	gone := w.withdraw("gw-100", "2.4.1")
	w.publish(w.sign(gone, "rivera", nil), w.sign(gone, "chen", nil))
	p, err := event.PlanOf(w.state())
	if err != nil || !p.Products["gw-100"].Retired || p.Products["pump-9"].Retired {
		t.Errorf("%+v, %v", p, err)
	}
	yaml, err := p.YAML()
	if err != nil {
		t.Fatal(err)
	}
	if again, err := event.NewChange(w.plan(string(yaml)), w.state(), w.opening()); err != nil || again != nil {
		t.Errorf("the printed plan leads to a change: %v, %v", again, err)
	}
	due, err := event.Due(w.state(), now, 3*365*24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for _, group := range due {
		for _, ref := range group {
			if strings.HasPrefix(ref.Role, "gw-100") {
				t.Errorf("%s of a retired product is due", ref.Role)
			}
		}
	}
}

// A refresh gives everything another year, in groups of those who sign it.
func TestRefreshOfAll(t *testing.T) {
	w := newWorld(t)
	w.found(twoProducts)
	w.released("2.4.0")
	w.pump("1.0", 3)
	if due, err := event.Due(w.state(), now, 300*24*time.Hour); err != nil || due != nil {
		t.Errorf("due at once: %v, %v", due, err)
	}
	later := now.Add(320 * 24 * time.Hour)
	due, err := event.Due(w.state(), later, 45*24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if len(due) != 5 || len(due[0]) != 3 {
		t.Fatalf("groups: %v", due)
	}
	o := w.opening()
	o.Now = later
	for _, group := range due {
		e, err := event.NewRefresh(group, w.state(), o)
		if err != nil {
			t.Fatalf("%v: %v", group, err)
		}
		j := w.publish(w.sign(e, "rivera", nil), w.sign(e, "chen", nil))
		for _, f := range j.Files {
			if want := later.Add(365 * 24 * time.Hour); !f.Expires.Equal(want) || f.NewVersion != f.OldVersion+1 {
				t.Errorf("%s: version %d → %d, expires %s, want %s", f.Role, f.OldVersion, f.NewVersion, f.Expires, want)
			}
		}
	}
	if due, err := event.Due(w.state(), later, 45*24*time.Hour); err != nil || due != nil {
		t.Errorf("due after all was refreshed: %v, %v", due, err)
	}
	// A bin brings its product's own file.
	refs, err := event.Refreshable(w.state(), "pump-9")
	if err != nil || len(refs) < 2 {
		t.Fatalf("%v, %v", refs, err)
	}
	e, err := event.NewRefresh(refs[1:2], w.state(), o)
	if err != nil || len(e.Proposal.Files) != 2 || e.Proposal.Files[0].Role != "pump-9" {
		t.Errorf("%+v, %v", e, err)
	}
	for word, want := range map[string]reason.Reason{"image-root": "", "director-root": "", "targets": "", "gw-100.stop": "", "snapshot": reason.UsageError, "pump-9.bin-0": reason.UsageError, "gw-200": reason.NotFound} {
		_, err := event.Refreshable(w.state(), word)
		wantReason(t, err, want)
	}
	_, err = event.NewRefresh(nil, w.state(), o)
	wantReason(t, err, reason.UsageError)
}

// Near its bound a flat product says so, with the way out; at the bound it refuses.
func TestFlatProductFills(t *testing.T) {
	w := newWorld(t)
	w.found(twoProducts)
	fill := func(version string, n int) (*event.Event, error) {
		spec := "class: feature\nspread_hours: 24\ncomponent: main\ninstaller: slot\nevidence: {sbom: gw.cdx.json}\ntargets:\n"
		w.write("gw.cdx.json", "{}")
		for i := range n {
			name := version + "-" + strings.Repeat("x", i%7) + string(rune('a'+i%26)) + string(rune('a'+i/26))
			w.write("build/"+name, name)
			spec += "- {file: build/" + name + ", hardware: [x-" + string(rune('a'+i%26)) + string(rune('a'+i/26)) + "]}\n"
		}
		return event.NewRelease("gw-100", version, w.spec(spec), w.state(), w.opening())
	}
	e, err := fill("1.0", 100)
	if err != nil {
		t.Fatal(err)
	}
	full := func(r *event.Review) bool {
		return slices.ContainsFunc(r.Warnings, func(s string) bool {
			return strings.Contains(s, "bytes that its file may have") && strings.Contains(s, "withdraw old releases")
		})
	}
	if full(w.reviewOf(e)) {
		t.Error("warned at 100 targets")
	}
	for _, version := range []string{"1.0", "1.1"} {
		if e, err = fill(version, 250); err != nil {
			t.Fatal(err)
		}
		warned := full(w.reviewOf(e))
		if want := version == "1.1"; warned != want {
			t.Errorf("%s: warned %t, want %t: %q", version, warned, want, w.reviewOf(e).Warnings)
		}
		w.publish(w.sign(e, "rivera", nil), w.sign(e, "chen", nil))
	}
	_, err = fill("1.2", 100)
	wantReason(t, err, reason.Limit)
	if err != nil && !strings.Contains(reason.HintOf(err), "withdraw old releases") {
		t.Errorf("hint %q", reason.HintOf(err))
	}
}
