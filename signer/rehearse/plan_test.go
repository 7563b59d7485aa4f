package rehearse_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/signer/rehearse"
)

// crowd returns n people for a plan, as members of people and as a list.
func crowd(prefix string, n int) (people, list string) {
	var a, b []string
	for i := range n {
		id := fmt.Sprintf("%s-%d", prefix, i)
		a = append(a, id+": "+id+".pub")
		b = append(b, id)
	}
	return strings.Join(a, ", "), strings.Join(b, ", ")
}

// Each plan has one fault, and the report names it, for a change and, where it can, for a founding.
func TestPlans(t *testing.T) {
	more, list := crowd("holder", 65)
	workers, many := crowd("worker", 50)
	others, newcomers := crowd("newcomer", 62)
	for _, c := range []struct {
		name    string
		replace []string
		lost    []string
		online  func(w *world)
		// want is severity and code; role one of its roles; reason its reason.
		want, role string
		why        reason.Reason
		// init says that the fault shows in an init plan as well.
		init bool
	}{
		{"nothing", nil, nil, nil, "", "", "", true},
		{"root class larger than its people", []string{"{holder: 2}", "{holder: 4}"}, nil, nil, "stuck class-too-small", "director root", reason.QuorumMalformed, true},
		{"roots without a spare", []string{"{holder: 2}", "{holder: 3}"}, nil, nil, "stuck no-spare", "targets", reason.QuorumMalformed, true},
		{"product class larger than its people", []string{"quality: 1}, people: {engineering: [rivera, silva], quality: [chen, okafor]}}", "quality: 3}, people: {engineering: [rivera, silva], quality: [chen, okafor]}}"}, nil, nil, "stuck class-too-small", "gw-100", reason.QuorumMalformed, true},
		{"more than a role may have", []string{"{holder: 2}", "{holder: 65}"}, nil, nil, "stuck class-too-small", "", reason.Plan, true},
		{"holder without director key", []string{"chen: chen.pub", "chen: chen.image.pub"}, nil, nil, "stuck no-director-key", "", reason.Plan, true},
		{"unknown holder", []string{"[rivera, chen, okafor]}", "[rivera, chen, okafor, adeyemi]}"}, nil, nil, "stuck person-unknown", "", reason.Plan, true},
		{"nobody may stop", []string{"[chen, okafor]}}", "[chen, okafor]}, stop: []}"}, nil, nil, "stuck stop-nobody", "", reason.Plan, true},
		{"holders lost", nil, []string{"chen", "okafor"}, nil, "stuck root-unreachable", "director root", "", true},
		{"holders lost, targets", nil, []string{"chen", "okafor"}, nil, "stuck targets-unreachable", "targets", "", true},
		{"engineers lost", nil, []string{"rivera", "silva"}, nil, "stuck product-unreachable", "pump-9", "", true},
		{"the only one who may stop lost", []string{"sbom: none", "sbom: none, stop: [silva]"}, []string{"silva"}, nil, "stuck stop-unreachable", "pump-9.stop", "", true},
		{
			"new root by lost people",
			[]string{"silva: silva.pub}", "silva: silva.pub, adeyemi: adeyemi.pub, dumont: dumont.pub}", "[rivera, chen, okafor]}", "[adeyemi, dumont, chen]}"},
			[]string{"adeyemi", "dumont"},
			nil, "stuck root-unreachable", "image root", "", true,
		},
		{
			"old root by lost people",
			[]string{"silva: silva.pub}", "silva: silva.pub, adeyemi: adeyemi.pub, dumont: dumont.pub}", "[rivera, chen, okafor]}", "[adeyemi, dumont, rivera]}"},
			[]string{"chen", "okafor"},
			nil, "stuck old-root-unreachable", "director root", "", false,
		},
		{
			"all holders change",
			[]string{"silva: silva.pub}", "silva: silva.pub, adeyemi: adeyemi.pub, dumont: dumont.pub}", "[rivera, chen, okafor]}", "[adeyemi, dumont, silva]}"},
			nil, nil, "warning removed-must-sign", "image root", "", false,
		},
		{"one person is left", []string{"{holder: 2}", "{holder: 1}", "{engineering: 1, quality: 1}", "{engineering: 1}", ", quality: [chen, okafor]", "", "[rivera, silva]", "[rivera]"}, []string{"chen", "okafor"}, nil, "stuck one-person", "", "", true},
		{"one person suffices", []string{"{holder: 2}", "{holder: 1}"}, nil, nil, "warning one-suffices", "image root", "", true},
		{"one loss ends a product", []string{"engineering: [rivera, silva]", "engineering: [rivera]"}, nil, nil, "warning one-loss", "gw-100", "", true},
		{"one more loss ends the roots", nil, []string{"chen"}, nil, "warning one-loss", "director root", "", true},
		{"too many holders", []string{"silva: silva.pub}", "silva: silva.pub, " + more + "}", "[rivera, chen, okafor]}", "[" + list + "]}"}, nil, nil, "stuck limit-passed", "director root", reason.Limit, true},
		{"too many keys of old and new holders", []string{"silva: silva.pub}", "silva: silva.pub, " + others + "}", "[rivera, chen, okafor]}", "[" + newcomers + "]}"}, nil, nil, "stuck limit-passed", "image root", reason.Limit, false},
		{"too many bins", []string{"products:\n", "products:\n  lamp: {require: {quality: 2}, people: {quality: [chen, okafor]}, bins: 1024}\n"}, nil, nil, "stuck limit-passed", "targets", reason.Limit, true},
		{"all bins", []string{"products:\n", "products:\n  lamp: {require: {quality: 1}, people: {quality: [chen, okafor]}, bins: 512}\n  light: {require: {quality: 1}, people: {quality: [chen, okafor]}, bins: 256}\n  a: {require: {quality: 1}, people: {quality: [chen, okafor]}, bins: 128}\n  b: {require: {quality: 1}, people: {quality: [chen, okafor]}, bins: 64}\n  c: {require: {quality: 1}, people: {quality: [chen, okafor]}, bins: 32}\n  d: {require: {quality: 1}, people: {quality: [chen, okafor]}, bins: 16}\n"}, nil, nil, "warning limit-reached", "targets", "", true},
		{"too many products", []string{"products:\n", "products:\n" + products(63)}, nil, nil, "stuck limit-passed", "targets", reason.Limit, true},
		{"too large targets", []string{"silva: silva.pub}", "silva: silva.pub, " + workers + "}", "products:\n", "products:\n" + strings.ReplaceAll(products(12), "[chen, okafor]", "["+many+"]")}, nil, nil, "stuck limit-passed", "", reason.TooLarge, true},
		{"product dropped", []string{"  pump-9: {require: {engineering: 1, quality: 1}, people: {engineering: [rivera, silva], quality: [chen, okafor]}, sbom: none, bins: 16}\n", ""}, nil, nil, "stuck product-dropped", "pump-9", reason.Profile, false},
		{"bins changed", []string{"bins: 16", "bins: 32"}, nil, nil, "stuck refused", "", reason.Plan, false},
		{"shared online key", nil, nil, func(w *world) { w.onlineDirector = w.onlineImage }, "stuck shared-key", "image root", reason.KeyTwice, true},
		{"image online key alone", nil, nil, func(w *world) { w.onlineImage = keysOf(t, "server@2").Public.Image }, "warning online-kept", "image root", "", false},
		{"director online key alone", nil, nil, func(w *world) { w.onlineDirector = keysOf(t, "server@2").Public.Image }, "warning online-kept", "director root", "", false},
		{"online keys change places", nil, nil, func(w *world) { w.onlineImage, w.onlineDirector = w.onlineDirector, w.onlineImage }, "warning online-reused", "director root", "", false},
		{"a person's key goes online", []string{"silva: silva.pub", "silva: silva@2.pub"}, nil, func(w *world) { w.onlineImage = keysOf(t, "silva").Public.Image }, "warning online-reused", "image root", "", false},
		{"director key kept", []string{"rivera.pub", "rivera@2+rivera.pub"}, nil, nil, "warning other-key-kept", "director root", "", false},
		{"image key kept", []string{"rivera.pub", "rivera+rivera@2.pub"}, nil, nil, "warning other-key-kept", "image root", "", false},
		{"holder leaves the roots only", []string{"[rivera, chen, okafor]}", "[rivera, chen, silva]}"}, nil, nil, "warning person-left", "gw-100", "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := replaced(t, basicPlan, c.replace...)
			for _, founded := range []bool{true, false} {
				if !founded && !c.init {
					continue
				}
				w := newWorld(t)
				if founded {
					w.found(basicPlan)
				}
				if c.online != nil {
					c.online(w)
				}
				r, err := rehearse.Plan(w.plan(text), w.state(), rehearse.Options{Now: now, Lost: c.lost})
				if err != nil {
					t.Fatal(err)
				}
				complete(t, r)
				if c.want == "" {
					if len(r.Findings) > 0 || r.Result != "fine" {
						t.Errorf("founded %v: %s, %v", founded, r.Result, codes(r))
					}
					continue
				}
				severity, id, _ := strings.Cut(c.want, " ")
				found := slices.ContainsFunc(r.Findings, func(f rehearse.Finding) bool {
					return f.Severity == severity && f.Code == id && (c.role == "" || slices.Contains(f.Roles, c.role)) && f.Reason == c.why
				})
				if !found {
					t.Errorf("founded %v: no %s in %s [%s]: %+v", founded, c.want, c.role, c.why, r.Findings)
				}
				if severity == rehearse.Stuck && code(r, rehearse.Refused) != nil && id != rehearse.Refused {
					t.Errorf("founded %v: refused as well: %v", founded, r.Findings)
				}
				if got := len(r.Stuck()) > 0; got != (severity == rehearse.Stuck) || got != (r.Result == "stuck") {
					t.Errorf("founded %v: result %s, stuck %v: %v", founded, r.Result, got, codes(r))
				}
			}
		})
	}
}

// products returns n small products for a plan.
func products(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "  p-%d: {require: {quality: 1, engineering: 1}, people: {quality: [chen, okafor], engineering: [rivera, silva]}}\n", i)
	}
	return b.String()
}

// Somebody whom no role knows cannot be lost: a slip of the pen would make the report rosy.
func TestLostUnknown(t *testing.T) {
	w := newWorld(t)
	w.found(basicPlan)
	_, err := rehearse.Plan(w.plan(basicPlan), w.state(), rehearse.Options{Now: now, Lost: []string{"okafer"}})
	if !reason.Is(err, reason.UsageError) || !strings.Contains(err.Error(), `"okafer"`) || !strings.Contains(err.Error(), "okafor") {
		t.Errorf("%v [%s]", err, reason.Of(err))
	}
}

// A lost person's new key counts: that is what the change is for.
func TestLostKeyReplaced(t *testing.T) {
	w := newWorld(t)
	w.found(basicPlan)
	r, err := rehearse.Plan(w.plan(replaced(t, basicPlan, "okafor.pub", "okafor@2.pub")), w.state(), rehearse.Options{Now: now, Lost: []string{"okafor"}})
	if err != nil {
		t.Fatal(err)
	}
	if r.Result != "fine" {
		t.Errorf("%s: %+v", r.Result, r.Findings)
	}
	for _, n := range r.Signatures {
		lost, can := n.Classes[0].Lost, n.Classes[0].Can
		if old := n.By == "root 1" && n.Role == metadata.Root; old != slices.Contains(lost, "okafor") || n.Role == metadata.Root && old == slices.Contains(can, "okafor") {
			t.Errorf("%s %s by %s: lost %v, can %v", n.Repository, n.Role, n.By, lost, can)
		}
		if !n.Reachable || n.Complete {
			t.Errorf("%s %s by %s: reachable %v, complete %v", n.Repository, n.Role, n.By, n.Reachable, n.Complete)
		}
	}
	for _, role := range r.Roles {
		if role.MayLose != 1 && role.Role != "gw-100.stop" && role.Role != "pump-9.stop" {
			t.Errorf("%s: one may lose %d", role.Role, role.MayLose)
		}
	}
}

// Signatures that an event has need not be given again, whoever is lost since.
func TestSignedAlready(t *testing.T) {
	w := newWorld(t)
	w.found(basicPlan)
	e := w.change(replaced(t, basicPlan, "okafor.pub", "okafor@2.pub"))
	lost := rehearse.Options{Now: now, Lost: []string{"okafor", "chen"}}
	r, err := rehearse.Event(e, w.state(), lost)
	if err != nil {
		t.Fatal(err)
	}
	if f := code(r, rehearse.OldRootUnreachable); f == nil || !slices.Equal(f.Roles, []string{"image root", "director root"}) && !slices.Equal(f.Roles, []string{"director root", "image root"}) {
		t.Errorf("unsigned: %+v", r.Findings)
	}
	r, err = rehearse.Event(w.sign(e, "chen"), w.state(), lost)
	if err != nil {
		t.Fatal(err)
	}
	if f := code(r, rehearse.OldRootUnreachable); f != nil || r.Event != e.ID() {
		t.Errorf("signed by chen, event %s: %+v", r.Event, r.Findings)
	}
	i := slices.IndexFunc(r.Signatures, func(n rehearse.Need) bool { return n.Role == metadata.Root && n.By == "root 1" })
	if n := r.Signatures[i]; !n.Reachable || !slices.Equal(n.Classes[0].Signed, []string{"chen"}) || !slices.Equal(n.Blockers, []string{"rivera"}) {
		t.Errorf("%+v", n)
	}
}

// A state that is not authentic is an error, no finding.
func TestNotAuthentic(t *testing.T) {
	w := newWorld(t)
	w.found(basicPlan)
	e := w.change(replaced(t, basicPlan, "okafor.pub", "okafor@2.pub"))
	e.Proposal.Files[0].Base.SHA256 = strings.Repeat("0", 64)
	_, err := rehearse.Event(e, w.state(), rehearse.Options{Now: now})
	if !reason.Is(err, reason.VersionUsed) {
		t.Errorf("%v [%s]", err, reason.Of(err))
	}
}
