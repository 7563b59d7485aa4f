package rehearse_test

import (
	"testing"

	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/signer/event"
	"github.com/countersign-ota/countersign/signer/rehearse"
)

// Whatever a plan says, the report is whole, and a plan that may be carried out has no faults.
func FuzzPlan(f *testing.F) {
	f.Add(basicPlan, "chen")
	f.Add(replaced(f, basicPlan, "{holder: 2}", "{holder: 3}"), "")
	f.Add(replaced(f, basicPlan, "[chen, okafor]}}", "[chen, adeyemi]}, stop: []}"), "")
	f.Add(replaced(f, basicPlan, "rivera.pub", "rivera@2.pub", "{holder: 2}", "{holder: 65}"), "rivera")
	w := newWorld(f)
	files := map[string][]byte{}
	for _, name := range []string{"online.pub", "rivera.pub", "rivera@2.pub", "chen.pub", "chen.image.pub", "okafor.pub", "silva.pub"} {
		data, err := w.read(name)
		if err != nil {
			f.Fatal(err)
		}
		files[name] = data
	}
	read := func(file string) ([]byte, error) {
		if files[file] == nil {
			return nil, reason.Errorf(reason.Plan, "no file %q", file)
		}
		return files[file], nil
	}
	w.found(basicPlan)
	empty := newWorld(f)
	f.Fuzz(func(t *testing.T, text, lost string) {
		p, err := event.ParsePlanToRehearse("plan.yaml", []byte(text), read)
		_, strict := event.ParsePlan("plan.yaml", []byte(text), read)
		if err != nil {
			if !reason.Is(err, reason.Plan) || strict == nil {
				t.Errorf("%v; strictly %v", err, strict)
			}
			return
		}
		if (strict == nil) != (len(p.Faults()) == 0) {
			t.Errorf("%d faults, strictly %v", len(p.Faults()), strict)
		}
		if p.Deployment != "acme" {
			return
		}
		for _, files := range []*world{w, empty} {
			state, err := event.StateOf(files, "acme")
			if err != nil {
				t.Fatal(err)
			}
			o := rehearse.Options{Now: now}
			if lost != "" {
				o.Lost = []string{lost}
			}
			r, err := rehearse.Plan(p, state, o)
			if err != nil {
				if !reason.Is(err, reason.UsageError) {
					t.Errorf("%v [%s]", err, reason.Of(err))
				}
				continue
			}
			complete(t, r)
			if (len(p.Faults()) > 0 || r.Result == "stuck") != (len(r.Stuck()) > 0) {
				t.Errorf("result %s, %d faults, %+v", r.Result, len(p.Faults()), r.Findings)
			}
		}
	})
}

// Whatever stands in an event, it is rehearsed or refused with a reason.
func FuzzEvent(f *testing.F) {
	w := newWorld(f)
	w.found(basicPlan)
	for _, text := range []string{
		replaced(f, basicPlan, "rivera.pub", "rivera@2.pub"),
		replaced(f, basicPlan, "products:\n", "products:\n  lamp: {require: {quality: 1}, people: {quality: [chen, okafor]}}\n"),
	} {
		data, err := w.change(text).Bytes()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := event.Parse(data)
		if err != nil || e.Proposal.Deployment != "acme" {
			return
		}
		state, err := event.StateOf(w, "acme")
		if err != nil {
			t.Fatal(err)
		}
		r, err := rehearse.Event(e, state, rehearse.Options{Now: now})
		if err != nil {
			if !reason.Of(err).Known() {
				t.Errorf("no reason: %v", err)
			}
			return
		}
		complete(t, r)
	})
}
