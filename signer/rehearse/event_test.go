package rehearse_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/signer/event"
	"github.com/countersign-ota/countersign/signer/rehearse"
)

func (w *world) rehearse(e *event.Event) *rehearse.Report {
	w.t.Helper()
	r, err := rehearse.Event(e, w.state(), rehearse.Options{Now: w.now})
	if err != nil {
		w.t.Fatal(err)
	}
	complete(w.t, r)
	return r
}

func wantStuck(t *testing.T, r *rehearse.Report, id, role string, why reason.Reason) *rehearse.Finding {
	t.Helper()
	f := code(r, id)
	if f == nil || f.Severity != rehearse.Stuck || !slices.Contains(f.Roles, role) || f.Reason != why {
		t.Fatalf("no stuck %s in %s [%s]: %+v", id, role, why, r.Findings)
	}
	if other := code(r, rehearse.Refused); other != nil {
		t.Errorf("refused as well: %+v", other)
	}
	return f
}

// newRiveraKey changes rivera's keys: roots, targets, products and stop lists follow.
func newRiveraKey(t testing.TB) string {
	return replaced(t, basicPlan, "rivera.pub", "rivera@2.pub", "{engineering: 1, quality: 1}", "{engineering: 2, quality: 1}")
}

// An event made by other hands may leave out what would no longer satisfy its delegation.
func TestOrphans(t *testing.T) {
	for _, c := range []struct {
		name string
		plan func(t testing.TB) string
		drop string
		role string
	}{
		{"product", newRiveraKey, "gw-100", "gw-100"},
		{"top-level targets", func(t testing.TB) string {
			// Two of those who signed targets are holders no more.
			return replaced(t, basicPlan, "silva: silva.pub}", "silva: silva.pub, dumont: dumont.pub}", "[rivera, chen, okafor]}}\nproducts", "[silva, dumont, okafor]}}\nproducts")
		}, "targets", "targets"},
		{"new product", func(t testing.TB) string {
			return replaced(t, basicPlan, "products:\n", "products:\n  lamp: {require: {quality: 1}, people: {quality: [chen, okafor]}}\n")
		}, "lamp.stop", "lamp.stop"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.found(basicPlan)
			e := w.change(c.plan(t))
			if r := w.rehearse(e); len(r.Stuck()) > 0 {
				t.Fatalf("whole: %+v", r.Findings)
			}
			drop(e, metadata.Image, c.drop)
			wantStuck(t, w.rehearse(e), rehearse.OrphanedFile, c.role, reason.Profile)
		})
	}
}

func TestProductDropped(t *testing.T) {
	w := newWorld(t)
	w.found(basicPlan)
	e := w.change(newRiveraKey(t))
	drop(e, metadata.Image, "gw-100")
	drop(e, metadata.Image, "gw-100.stop")
	edit(t, e, metadata.Image, "targets", func(s map[string]any) {
		d := s["delegations"].(map[string]any)
		d["roles"] = slices.DeleteFunc(d["roles"].([]any), func(r any) bool { return strings.HasPrefix(r.(map[string]any)["name"].(string), "gw-100") })
	})
	wantStuck(t, w.rehearse(e), rehearse.ProductDropped, "gw-100", reason.Profile)
}

// After a theft the new key goes to timestamp and forgets snapshot.
func TestOnlineHalf(t *testing.T) {
	w := newWorld(t)
	w.found(basicPlan)
	old := w.onlineImage
	w.onlineImage = keysOf(t, "server@2").Public.Image
	e := w.change(basicPlan)
	edit(t, e, metadata.Image, "root", func(s map[string]any) {
		id, err := metadata.KeyID(old)
		if err != nil {
			t.Fatal(err)
		}
		s["keys"].(map[string]any)[id] = old
		s["roles"].(map[string]any)["snapshot"].(map[string]any)["keyids"] = []any{id}
	})
	f := wantStuck(t, w.rehearse(e), rehearse.OnlineHalf, "image root", reason.Profile)
	if !strings.Contains(f.What, "that of snapshot is the old one") {
		t.Errorf("%+v", f)
	}
}

// A person's key is replaced in the roots; the event forgets a product.
func TestKeyLeft(t *testing.T) {
	w := newWorld(t)
	w.found(basicPlan)
	e := w.change(replaced(t, basicPlan, "chen.pub", "chen@2.pub"))
	for _, role := range []string{"targets", "gw-100", "gw-100.stop", "pump-9", "pump-9.stop"} {
		if e.Proposal.Index(metadata.Image, role) >= 0 {
			drop(e, metadata.Image, role)
		}
	}
	e.Proposal.Subject = "director-root,image-root"
	r := w.rehearse(e)
	f := code(r, rehearse.KeyLeft)
	if f == nil || f.Severity != rehearse.Warning || !slices.Equal(f.Roles, []string{"gw-100", "gw-100.stop", "pump-9", "pump-9.stop"}) || !strings.Contains(f.What, "of chen is replaced in image root and targets") {
		t.Errorf("%+v", r.Findings)
	}
}

// A key does not go from one person to another.
func TestKeyMoves(t *testing.T) {
	w := newWorld(t)
	w.found(basicPlan)
	e := w.change(replaced(t, basicPlan, "chen.pub", "chen@2.pub"))
	edit(t, e, metadata.Image, "targets", func(s map[string]any) {
		for _, role := range s["delegations"].(map[string]any)["roles"].([]any) {
			for _, p := range role.(map[string]any)["x-countersign-quorum"].(map[string]any)["people"].([]any) {
				if p.(map[string]any)["id"] == "silva" {
					p.(map[string]any)["id"] = "mallory"
				}
			}
		}
	})
	if f := code(w.rehearse(e), rehearse.KeyMoves); f == nil || !strings.Contains(f.What, "of silva becomes that of mallory") {
		t.Errorf("%+v", f)
	}
}

// rotated founds a deployment and changes its image root until it has n versions, by its threshold.
func rotated(t testing.TB, n int) *world {
	w := newWorld(t)
	w.found(basicPlan)
	other := replaced(t, basicPlan, "people: {holder: [rivera, chen, okafor]}", "people: {holder: [rivera, chen, okafor, silva]}")
	for v := 2; v <= n; v++ {
		text := basicPlan
		if v%2 == 0 {
			text = other
		}
		w.publish(w.change(text), "rivera", "chen")
	}
	return w
}

func TestChain(t *testing.T) {
	for _, c := range []struct {
		name  string
		fault func(w *world)
		// until is where devices of root 1 to 4 end; stuck the finding.
		until [4]int64
		stuck string
	}{
		{"whole", func(*world) {}, [4]int64{5, 5, 5, 5}, ""},
		{"missing root", func(w *world) { delete(w.files, "image/3.root") }, [4]int64{2, 2, 3, 5}, rehearse.ChainGap},
		{"no root at all", func(w *world) { w.files["image/2.root"] = []byte("{}") }, [4]int64{1, 2, 5, 5}, rehearse.ChainGap},
		{"another root in its place", func(w *world) { w.files["image/3.root"] = w.files["image/2.root"] }, [4]int64{2, 2, 3, 5}, rehearse.ChainGap},
		{"director root in its place", func(w *world) { w.files["image/2.root"] = w.files["director/2.root"] }, [4]int64{1, 2, 5, 5}, rehearse.ChainGap},
		{"signatures missing", func(w *world) {
			root, err := metadata.ParseRoot(w.files["image/3.root"], metadata.Profile)
			if err != nil {
				w.t.Fatal(err)
			}
			w.files["image/3.root"], err = metadata.EncodeRaw(metadata.Root, root.Canonical(), root.Signatures[:1])
			if err != nil {
				w.t.Fatal(err)
			}
		}, [4]int64{2, 2, 5, 5}, rehearse.ChainUnsigned},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := rotated(t, 4)
			e := w.change(basicPlan)
			c.fault(w)
			r := w.rehearse(e)
			if len(r.Chains) != 2 || r.Chains[0].Repository != metadata.Image || r.Chains[0].InForce != 4 || r.Chains[0].Newest != 5 {
				t.Fatalf("%+v", r.Chains)
			}
			for i, want := range c.until {
				got := r.Chains[0].From[i]
				if got.Version != int64(i+1) || got.Until != want || got.Reaches != (want == 5) || got.Steps != want-got.Version || (got.Why == "") != got.Reaches {
					t.Errorf("%+v, want until %d", got, want)
				}
			}
			for _, got := range r.Chains[1].From {
				if !got.Reaches || got.Cycles != 1 {
					t.Errorf("director %+v", got)
				}
			}
			f := code(r, c.stuck)
			if c.stuck == "" {
				if len(r.Stuck()) > 0 {
					t.Errorf("%+v", r.Findings)
				}
				return
			}
			if f == nil || f.Severity != rehearse.Stuck || !f.Already || len(r.Blocking()) > 0 {
				t.Errorf("no %s that is so already: %+v", c.stuck, r.Findings)
			}
		})
	}
}

func TestManyCycles(t *testing.T) {
	w := rotated(t, 2)
	// A chain of 258: each root as the one before it, under the next version.
	root, err := metadata.ParseRoot(w.files["image/root"], metadata.Profile)
	if err != nil {
		t.Fatal(err)
	}
	for v := int64(3); v <= 258; v++ {
		next := root.Signed
		next.Version = v
		w.files["image/root"] = signedRoot(t, next, "rivera", "chen")
		w.files[fmt.Sprintf("image/%d.root", v)] = w.files["image/root"]
	}
	r, err := rehearse.Plan(w.plan(basicPlan), w.state(), rehearse.Options{Now: now})
	if err != nil {
		t.Fatal(err)
	}
	from := r.Chains[0].From
	if len(from) != 258 || from[0].Steps != 258 || from[0].Cycles != 2 || from[2].Steps != 256 || from[2].Cycles != 1 || !from[0].Reaches {
		t.Errorf("%d roots, %+v, %+v", len(from), from[0], from[2])
	}
	if f := code(r, rehearse.ManyCycles); f == nil || f.Severity != rehearse.Warning || r.Result != "warnings" {
		t.Errorf("%+v", r.Findings)
	}
}

// signedRoot signs a root with the image keys of people.
func signedRoot(t testing.TB, root metadata.RootRole, ids ...string) []byte {
	t.Helper()
	canonical, err := metadata.Signed(root)
	if err != nil {
		t.Fatal(err)
	}
	var sigs []metadata.Signature
	for _, id := range ids {
		signers, err := keysOf(t, id).Signers()
		if err != nil {
			t.Fatal(err)
		}
		sig, err := metadata.Sign(canonical, signers[metadata.Image], keysOf(t, id).Public.Image)
		if err != nil {
			t.Fatal(err)
		}
		sigs = append(sigs, sig)
	}
	data, err := metadata.EncodeRaw(metadata.Root, canonical, sigs)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestExpiry(t *testing.T) {
	w := newWorld(t)
	w.found(basicPlan)
	w.now = now.Add(310 * 24 * time.Hour) // everything has 55 days left
	r := w.rehearse(w.change(replaced(t, basicPlan, "silva: silva.pub}", "silva: silva.pub, dumont: dumont.pub}", "[rivera, chen, okafor]}}\nproducts", "[rivera, chen, okafor, dumont]}}\nproducts")))
	f := code(r, rehearse.ExpiresSoon)
	if f == nil || f.Severity != rehearse.Warning || !strings.Contains(f.What, "2027-11-25, in 55 days") {
		t.Fatalf("%+v", r.Findings)
	}
	var next []string
	for _, f := range r.Findings {
		if f.Code == rehearse.ExpiresSoon {
			next = append(next, f.Next)
		}
	}
	want := []string{"countersign refresh targets", "countersign refresh gw-100", "countersign refresh gw-100.stop", "countersign refresh pump-9", "countersign refresh pump-9.stop"}
	if !slices.Equal(next, want) {
		t.Errorf("%q, want %q", next, want)
	}
	first, last := r.Expiry[0], r.Expiry[len(r.Expiry)-1]
	if first.Role != "gw-100" || first.Days != 55 || first.InEvent || !slices.Equal(first.Who["quality"], []string{"chen", "okafor"}) || first.Need["quality"] != 1 {
		t.Errorf("first %+v", first)
	}
	if last.Role != "root" || last.Days != 365 || !last.InEvent {
		t.Errorf("last %+v", last)
	}
	w.now = now.Add(366 * 24 * time.Hour)
	r = w.rehearse(w.change(replaced(t, basicPlan, "sbom: none", "sbom: required")))
	if f := code(r, rehearse.Expired); f == nil || f.Severity != rehearse.Warning || r.Expiry[0].Days != -1 {
		t.Errorf("%+v", r.Findings)
	}
}

// A bin that nobody touched since ends first, and a retired product ends for nobody.
func TestBinsAndRetired(t *testing.T) {
	w := newWorld(t)
	w.found(basicPlan)
	data, err := metadata.Signed(metadata.TargetsRole{
		Type: metadata.Targets, SpecVersion: "1.0.34", Version: 1, Expires: now.Add(30 * 24 * time.Hour), Targets: map[string]*metadata.TargetFile{},
		UnrecognizedFields: map[string]any{metadata.ScopeField: metadata.Scope("acme", metadata.Image, "pump-9.bin-3")},
	})
	if err != nil {
		t.Fatal(err)
	}
	if w.files["image/pump-9.bin-3"], err = metadata.EncodeRaw(metadata.Targets, data, nil); err != nil {
		t.Fatal(err)
	}
	lost := rehearse.Options{Now: now, Lost: []string{"rivera", "silva"}}
	r, err := rehearse.Plan(w.plan(basicPlan), w.state(), lost)
	if err != nil {
		t.Fatal(err)
	}
	if first := r.Expiry[0]; first.Role != "pump-9.bin-3" || first.Days != 30 || !slices.Equal(first.Who["quality"], []string{"chen", "okafor"}) {
		t.Errorf("first %+v", first)
	}
	if f := code(r, rehearse.ExpiresSoon); f == nil || f.Next != "countersign refresh pump-9" {
		t.Errorf("%+v", r.Findings)
	}
	if f := code(r, rehearse.ProductUnreachable); f == nil || !slices.Equal(f.Roles, []string{"gw-100", "pump-9"}) {
		t.Errorf("%+v", f)
	}
	lost.NoBins = true
	if r, err = rehearse.Plan(w.plan(basicPlan), w.state(), lost); err != nil || r.Expiry[0].Days != 365 {
		t.Errorf("%v, %+v", err, r.Expiry[0])
	}
	lost.NoBins = false
	r, err = rehearse.Plan(w.plan(replaced(t, basicPlan, "bins: 16", "bins: 16, retired: true")), w.state(), lost)
	if err != nil {
		t.Fatal(err)
	}
	if f := code(r, rehearse.ProductUnreachable); f == nil || !slices.Equal(f.Roles, []string{"gw-100"}) {
		t.Errorf("%+v", f)
	}
	for _, x := range r.Expiry {
		if strings.HasPrefix(x.Role, "pump-9") {
			t.Errorf("%+v", x)
		}
	}
	if i := slices.IndexFunc(r.Roles, func(role rehearse.Role) bool { return role.Role == "pump-9" }); !r.Roles[i].Retired {
		t.Errorf("%+v", r.Roles[i])
	}
}
