package event_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/signer/event"
)

func roles(e *event.Event) string {
	var names []string
	for _, f := range e.Proposal.Files {
		names = append(names, string(f.Repository)+"/"+f.Role)
	}
	return strings.Join(names, " ")
}

// riveraStops is twoProducts, with one person who may stop gw-100.
var riveraStops = strings.Replace(twoProducts, "[chen, okafor]}}", "[chen, okafor]}, stop: [rivera]}", 1)

// A change holds what the plan changes, and what would no longer satisfy its delegation.
func TestChange(t *testing.T) {
	for _, c := range []struct {
		name string
		// after replaces text in the plan.
		after      []string
		kind, want string
		signers    string
		subject    string
	}{
		{"nothing", nil, "", "", "", ""},
		{
			"new holder",
			[]string{"okafor: okafor.pub", "okafor: okafor.pub, adeyemi: adeyemi.pub", "[rivera, chen, okafor]}}", "[rivera, chen, okafor, adeyemi]}}"},
			event.Root, "director/root image/root", "chen okafor", "director-root,image-root",
		},
		{
			"holder leaves, others signed",
			[]string{"holder: [rivera, chen, okafor]", "holder: [chen, okafor, adeyemi]", "okafor: okafor.pub", "okafor: okafor.pub, adeyemi: adeyemi.pub"},
			event.Root, "director/root image/root", "chen okafor", "director-root,image-root",
		},
		{
			"new holder key",
			[]string{"rivera.pub", "rivera@2.pub"},
			// rivera is the engineer of both products, and alone may stop gw-100.
			event.Root, "director/root image/gw-100 image/gw-100.stop image/pump-9 image/pump-9.bin-N image/root image/targets",
			"chen okafor rivera@2", "director-root,gw-100,image-root,pump-9",
		},
		{
			"higher threshold",
			[]string{"{holder: 2}", "{holder: 3}", "[rivera, chen, okafor]}}", "[rivera, chen, okafor, adeyemi]}}", "okafor: okafor.pub", "okafor: okafor.pub, adeyemi: adeyemi.pub"},
			event.Root, "director/root image/root", "rivera chen okafor", "director-root,image-root",
		},
		{
			"quality signer joins",
			[]string{"okafor: okafor.pub", "okafor: okafor.pub, adeyemi: adeyemi.pub", "quality: [chen, okafor]}, stop", "quality: [chen, okafor, adeyemi]}, stop"},
			event.Product, "image/targets", "rivera chen", "targets",
		},
		{
			"second engineer is required",
			[]string{"okafor: okafor.pub", "okafor: okafor.pub, adeyemi: adeyemi.pub", "gw-100: {require: {engineering: 1", "gw-100: {require: {engineering: 2", "{engineering: [rivera], quality: [chen, okafor]}, stop", "{engineering: [rivera, adeyemi], quality: [chen, okafor]}, stop"},
			event.Product, "image/gw-100 image/targets", "rivera chen adeyemi", "gw-100",
		},
		{
			"SBOM no longer required",
			[]string{"[chen, okafor]}, stop", "[chen, okafor]}, sbom: none, stop"},
			event.Product, "image/targets", "rivera chen", "targets",
		},
		{
			"new product",
			[]string{"  gw-100:", "  lamp: {require: {engineering: 1}, people: {engineering: [rivera]}}\n  gw-100:"},
			event.Product, "image/lamp image/lamp.stop image/targets", "rivera chen", "lamp",
		},
		{
			"meaning changes",
			[]string{"engineering: authored", "engineering: built"},
			// The bins carry the product's quorum, meaning included.
			event.Product, "image/pump-9 image/targets", "rivera chen", "pump-9",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.found(riveraStops)
			w.pumpReleased("1.0")
			plan := strings.NewReplacer(c.after...).Replace(riveraStops)
			e, err := event.NewChange(w.plan(plan), w.state(), w.opening())
			if err != nil {
				t.Fatal(err)
			}
			if c.kind == "" {
				if e != nil {
					t.Errorf("an event of %s", roles(e))
				}
				return
			}
			if e == nil {
				t.Fatal("no event")
			}
			want := strings.ReplaceAll(c.want, "pump-9.bin-N", w.binOf("pump-9/1.0/pump.img"))
			if e.Proposal.Kind != c.kind || roles(e) != want || e.Proposal.Subject != c.subject {
				t.Errorf("%s of %q: %s\nwant %s of %q: %s", e.Proposal.Kind, e.Proposal.Subject, roles(e), c.kind, c.subject, want)
			}
			signers := strings.Fields(c.signers)
			var copies []*event.Event
			for _, id := range signers {
				copies = append(copies, w.sign(e, id, nil))
			}
			w.publish(copies...)
			if again, err := event.NewChange(w.plan(plan), w.state(), w.opening()); again != nil || err != nil {
				t.Errorf("carried out, but differs still: %v, %v", again, err)
			}
		})
	}
}

// pumpReleased publishes a release of the binned product.
func (w *world) pumpReleased(version string) {
	w.t.Helper()
	w.write("build/pump.img", "pump "+version)
	spec := w.spec("class: feature\ntargets: [{file: build/pump.img, component: main, hardware: [pump-a], installer: file}]\n")
	e, err := event.NewRelease("pump-9", version, spec, w.state(), w.opening())
	if err != nil {
		w.t.Fatal(err)
	}
	w.publish(w.sign(e, "rivera", nil), w.sign(e, "okafor", nil))
}

func (w *world) binOf(path string) string {
	w.t.Helper()
	f, err := metadata.ParseTargets(w.files["image/pump-9"], metadata.Profile)
	if err != nil {
		w.t.Fatal(err)
	}
	return metadata.BinOf(f.Signed.Delegations.SuccinctRoles, path)
}

// What must come with a change may not be left out.
func TestChangeIsWhole(t *testing.T) {
	newKey := strings.NewReplacer("rivera.pub", "rivera@2.pub").Replace(riveraStops)
	for _, c := range []struct {
		name  string
		plan  string
		fault func(t *testing.T, w *world, e *event.Event)
		want  reason.Reason
	}{
		{"none", newKey, func(*testing.T, *world, *event.Event) {}, ""},
		{"without the product", newKey, func(_ *testing.T, _ *world, e *event.Event) { drop(e, image, "gw-100") }, reason.Profile},
		{"without the stop list", newKey, func(_ *testing.T, _ *world, e *event.Event) { drop(e, image, "gw-100.stop") }, reason.Profile},
		{"without the binned product", newKey, func(_ *testing.T, w *world, e *event.Event) {
			drop(e, image, "pump-9")
			drop(e, image, w.binOf("pump-9/1.0/pump.img"))
		}, reason.Profile},
		{"without its bin", newKey, func(_ *testing.T, w *world, e *event.Event) { drop(e, image, w.binOf("pump-9/1.0/pump.img")) }, reason.Profile},
		{"without targets", newKey, func(_ *testing.T, w *world, e *event.Event) {
			for _, role := range []string{"targets", "gw-100", "gw-100.stop", "pump-9", w.binOf("pump-9/1.0/pump.img")} {
				drop(e, image, role)
			}
		}, ""}, // rivera's old signature of targets is not needed: chen's and okafor's still satisfy the new root.
		{"product changes what it lists", newKey, func(t *testing.T, _ *world, e *event.Event) {
			edit(t, e, image, "gw-100", func(s object) { set(s, 8, "x-countersign-high", "counter") })
		}, reason.Profile},
		{"stop list changes what it lists", newKey, func(t *testing.T, _ *world, e *event.Event) {
			edit(t, e, image, "gw-100.stop", func(s object) {
				s["x-countersign-stop"] = []any{object{
					"path": "gw-100/1/x.img", "counter": 1, "sha256": strings.Repeat("0", 64),
					"at": "2026-11-25T09:00:00Z", "reason": "burns",
				}}
			})
		}, reason.Profile},
		{"bins change their number", newKey, func(t *testing.T, w *world, e *event.Event) {
			edit(t, e, image, "pump-9", func(s object) { set(s, 5, "delegations", "succinct_roles", "bit_length") })
		}, reason.Profile},
		{"a product vanishes", newKey, func(t *testing.T, _ *world, e *event.Event) {
			edit(t, e, image, "targets", func(s object) {
				roles := at(s, "delegations", "roles").([]any)
				set(s, roles[2:], "delegations", "roles")
			})
			drop(e, image, "gw-100")
			drop(e, image, "gw-100.stop")
		}, reason.Profile},
		{"root keeps its version", newKey, func(t *testing.T, _ *world, e *event.Event) {
			edit(t, e, image, "root", func(s object) { s["version"] = 1 })
		}, reason.Profile},
		{"online key of another server", newKey, func(t *testing.T, w *world, _ *event.Event) {
			w.online.Image = keysOf(t, "stranger").Public.Image
		}, reason.OnlineKeyUnknown},
		{"one key in both roots", newKey, func(t *testing.T, _ *world, e *event.Event) {
			var directorRoot object
			edit(t, e, director, "root", func(s object) { directorRoot = clone(t, s).(object) })
			edit(t, e, image, "root", func(s object) {
				roots := at(directorRoot, "roles", "root")
				s["keys"] = merge(at(s, "keys").(object), at(directorRoot, "keys").(object))
				for _, role := range []string{"root", "targets"} {
					set(s, roots, "roles", role)
					set(s, at(directorRoot, "x-countersign-quorum", "root"), "x-countersign-quorum", role)
				}
			})
		}, reason.KeyTwice},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.found(riveraStops)
			w.pumpReleased("1.0")
			e, err := event.NewChange(w.plan(c.plan), w.state(), w.opening())
			if err != nil {
				t.Fatal(err)
			}
			c.fault(t, w, e)
			if c.name == "without targets" {
				e.Proposal.Subject = "director-root,image-root"
			}
			_, err = w.opened(e)
			wantReason(t, err, c.want)
		})
	}
}

func merge(a, b object) object {
	out := object{}
	for _, m := range []object{a, b} {
		for k, v := range m {
			out[k] = v
		}
	}
	return out
}

func TestPlansThatCannotBeCarriedOut(t *testing.T) {
	for _, c := range []struct {
		name  string
		after []string
		text  string
	}{
		{"drops a product", []string{"  gw-100: {require: {engineering: 1, quality: 1}, people: {engineering: [rivera], quality: [chen, okafor]}}\n", ""}, `product "gw-100" is missing`},
		{"other bins", []string{"bins: 16", "bins: 32"}, `product "pump-9" has 16 bins`},
		{"no bins any more", []string{"bins: 16", "bins: 0"}, `product "pump-9" has 16 bins`},
		{"other deployment", []string{"deployment: acme", "deployment: umbrella"}, "umbrella"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.found(twoProducts)
			p, err := event.ParsePlan("plan.yaml", []byte(strings.NewReplacer(c.after...).Replace(twoProducts)), w.read)
			if err == nil {
				_, err = event.NewChange(p, w.state(), w.opening())
			}
			wantReason(t, err, reason.Plan)
			if err != nil && !strings.Contains(err.Error(), c.text) {
				t.Errorf("error %q does not say %q", err, c.text)
			}
		})
	}
}

// The plan stands in the signed files: read back and carried out again it changes nothing.
func TestPlanOf(t *testing.T) {
	w := newWorld(t)
	w.found(twoProducts)
	p, err := event.PlanOf(w.state())
	if err != nil {
		t.Fatal(err)
	}
	text, err := p.YAML()
	if err != nil {
		t.Fatal(err)
	}
	again, err := event.ParsePlan("printed.yaml", text, func(string) ([]byte, error) { panic("keys are inline") })
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if e, err := event.NewChange(again, w.state(), w.opening()); e != nil || err != nil {
		t.Errorf("the plan that was printed differs: %v, %v\n%s", e, err, text)
	}
	if got := again.Products["pump-9"]; got.Bins != 16 || got.SBOM != metadata.SBOMNone || !slices.Equal(got.Stop, []string{"chen", "okafor", "rivera"}) {
		t.Errorf("pump-9 is %+v", got)
	}
	second, err := again.YAML()
	if err != nil || string(second) != string(text) {
		t.Errorf("printed twice it differs: %v", err)
	}
}
