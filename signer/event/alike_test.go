package event_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/countersign-ota/countersign/signer/event"
)

// Whoever comes with the id or name of another, or with one that looks like it, is named in the review.
func TestPeopleWhoLookAlike(t *testing.T) {
	for _, tt := range []struct{ name, id, printed, want string }{
		{"somebody new", "dumont", "Dumont", ""},
		{"no name", "dumont", "dumont", ""},
		{"a zero in the id", "0kafor", "Dumont", `0kafor may be taken for okafor: "0kafor" looks like "okafor"`},
		{"the name of another", "dumont", "Chen", `chen may be taken for dumont: "chen" looks like "Chen"`},
		{"the id of another as a name", "dumont", "chen", `chen may be taken for dumont: "chen" looks like "chen"`},
		{"a name in other letters", "dumont", "\u0421\u04bb\u0435\u043f", `chen may be taken for dumont: "chen" looks like "\u0421\u04bb\u0435\u043f"`},
		{"a name with what is not drawn", "dumont", "Ri\u200bve\u00adra", `dumont may be taken for rivera: "Ri\u200bve\u00adra" looks like "rivera"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.found(twoProducts)
			text := strings.NewReplacer("okafor: okafor.pub}", "okafor: okafor.pub, "+tt.id+": new.pub}", "holder: [rivera, chen, okafor]", "holder: [rivera, chen, okafor, "+tt.id+"]").Replace(twoProducts)
			read := func(file string) ([]byte, error) {
				if file != "new.pub" {
					return w.read(file)
				}
				pub := keysOf(t, "dumont").Public
				pub.Person, pub.Name = tt.id, tt.printed
				return pub.Bytes()
			}
			p, err := event.ParsePlan("plan.yaml", []byte(text), read)
			if err != nil {
				t.Fatal(err)
			}
			e, err := event.NewChange(p, w.state(), w.opening())
			if err != nil {
				t.Fatal(err)
			}
			wantAlike(t, w, e, tt.want)
		})
	}
}

// wantAlike wants one warning of a look-alike, or none.
func wantAlike(t *testing.T, w *world, e *event.Event, want string) {
	t.Helper()
	var got []string
	for _, text := range w.reviewOf(e).Warnings {
		if strings.Contains(text, "may be taken for") {
			got = append(got, text)
		}
	}
	if want == "" && len(got) > 0 || want != "" && !slices.Equal(got, []string{want}) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A founding is all new: no two of its people may look alike unnoticed. What stood before is not told
// again with each change of others.
func TestLookAlikesOfOldAreNotToldAgain(t *testing.T) {
	twins := strings.NewReplacer("okafor.pub}", "okafor.pub, 0kafor: 0kafor.pub}", "chen, okafor]}}", "chen, okafor, 0kafor]}}").Replace(basicPlan)
	w := newWorld(t)
	e, err := event.NewInit(w.plan(twins), w.opening())
	if err != nil {
		t.Fatal(err)
	}
	wantAlike(t, w, e, `0kafor may be taken for okafor: "0kafor" looks like "okafor"`)
	w.found(twins)
	if e, err = event.NewChange(w.plan(strings.ReplaceAll(twins, "chen.pub", "chen@2.pub")), w.state(), w.opening()); err != nil {
		t.Fatal(err)
	}
	wantAlike(t, w, e, "")
}

func TestProductsAndVersionsThatLookAlike(t *testing.T) {
	w := newWorld(t)
	w.found(twoProducts)
	for id, want := range map[string]string{"gw-l00": "product gw-l00 may be taken for product gw-100", "gw-101": ""} {
		e, err := event.NewChange(w.plan(twoProducts+"  "+id+": {require: {engineering: 1, quality: 1}, people: {engineering: [rivera], quality: [chen, okafor]}}\n"), w.state(), w.opening())
		if err != nil {
			t.Fatal(err)
		}
		wantAlike(t, w, e, want)
	}
	w.released("2.4.1")
	wantAlike(t, w, w.release("2.4.l", basicSpec), "version 2.4.l may be taken for version 2.4.1")
	wantAlike(t, w, w.release("2.4.2", basicSpec), "")
}
