package rehearse_test

import (
	"testing"

	"github.com/countersign-ota/countersign/signer/rehearse"
)

// A retired product is still stopped, on devices that run it for years; and what a change signs of it must
// be signed by somebody.
func TestRetiredStaysStoppable(t *testing.T) {
	w := newWorld(t)
	retired := replaced(t, basicPlan, "gw-100: {require: {engineering: 1, quality: 1}, people: {engineering: [rivera, silva], quality: [chen, okafor]}}",
		"gw-100: {retired: true, require: {engineering: 1, quality: 1}, people: {engineering: [rivera, silva], quality: [chen, okafor]}, stop: [okafor]}")
	w.found(retired)
	lost := rehearse.Options{Now: now, Lost: []string{"okafor"}}
	t.Run("in force", func(t *testing.T) {
		r, err := rehearse.Plan(w.plan(retired), w.state(), lost)
		if err != nil {
			t.Fatal(err)
		}
		f := code(r, rehearse.StopUnreachable)
		if f == nil || f.Severity != rehearse.Stuck || len(f.Roles) != 1 || f.Roles[0] != "gw-100.stop" {
			t.Errorf("%+v in %q", f, codes(r))
		}
	})
	t.Run("a file that the change signs", func(t *testing.T) {
		r, err := rehearse.Plan(w.plan(replaced(t, retired, "engineering: [rivera, silva], quality: [chen, okafor]}, stop: [okafor]", "engineering: [rivera], quality: [silva]}, stop: [okafor]")), w.state(),
			rehearse.Options{Now: now, Lost: []string{"silva"}})
		if err != nil {
			t.Fatal(err)
		}
		f := code(r, rehearse.ProductUnreachable)
		if f == nil || f.Severity != rehearse.Stuck || f.Roles[0] != "gw-100" {
			t.Errorf("%+v in %q", f, codes(r))
		}
	})
}
