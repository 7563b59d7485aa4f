package event_test

import (
	"strings"
	"testing"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/signer/event"
)

const pumpSpec = "class: feature\ntargets: [{file: build/pump.img, component: main, hardware: [pump-a], installer: file}]\n"

// A release into a product with bins signs the product's file and the touched bin, and reads no other.
func TestBins(t *testing.T) {
	w := newWorld(t)
	w.found(twoProducts)
	w.pumpReleased("1.0")
	w.write("build/pump.img", "pump 1.1")
	e, err := event.NewRelease("pump-9", "1.1", w.spec(pumpSpec), w.state(), w.opening())
	if err != nil {
		t.Fatal(err)
	}
	bin := w.binOf("pump-9/1.1/pump.img")
	if want := "image/pump-9 image/" + bin; roles(e) != want {
		t.Fatalf("files %s, want %s", roles(e), want)
	}
	counting := &counter{Source: w, read: map[string]int{}}
	s, err := event.StateOf(counting, "acme")
	if err != nil {
		t.Fatal(err)
	}
	j, err := event.Judge(w.carry(e), s, event.Options{Now: now, Online: w.online, Opening: true})
	if err != nil {
		t.Fatal(err)
	}
	for role, n := range counting.read {
		if n != 1 || strings.HasPrefix(role, "image/pump-9.bin") && role != "image/"+bin {
			t.Errorf("%s was read %d times", role, n)
		}
	}
	if j.Review().Subject != "pump-9/1.1" {
		t.Errorf("subject %q", j.Review().Subject)
	}
	for _, c := range []struct {
		name  string
		fault func(e *event.Event)
		want  reason.Reason
	}{
		{"lower counter", func(e *event.Event) {
			edit(t, e, image, bin, func(s object) { firmware(s, "pump-9/1.1/pump.img")["counter"] = 1 })
		}, reason.CounterLow},
		{"without the product's file", func(e *event.Event) { drop(e, image, "pump-9") }, reason.Profile},
		{"without the bin", func(e *event.Event) { drop(e, image, bin) }, reason.Profile},
		{"target in another bin", func(e *event.Event) {
			edit(t, e, image, bin, func(s object) {
				targets := s["targets"].(object)
				other := clone(t, targets["pump-9/1.1/pump.img"])
				for _, name := range []string{"a", "b", "c", "d"} {
					path := "pump-9/1.1/" + name + ".img"
					if w.binOf(path) != bin {
						set(other, []any{"pump-b"}, "custom", "countersign", "hardware")
						targets[path] = other
						e.Proposal.Blobs = append([]event.Blob{{Path: path, Length: e.Proposal.Blobs[0].Length, SHA256: e.Proposal.Blobs[0].SHA256}}, e.Proposal.Blobs...)
						return
					}
				}
				t.Fatal("all paths fall into one bin")
			})
		}, reason.Profile},
		{"the bins' people differ", func(e *event.Event) {
			edit(t, e, image, "pump-9", func(s object) {
				set(s, 1, "delegations", "succinct_roles", "threshold")
			})
		}, reason.Profile},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := w.carry(e)
			c.fault(e)
			_, err := w.opened(e)
			wantReason(t, err, c.want)
		})
	}
}

// counter counts what is read.
type counter struct {
	event.Source
	read map[string]int
}

func (c *counter) Current(r metadata.Repository, role string) ([]byte, error) {
	c.read[string(r)+"/"+role]++
	return c.Source.Current(r, role)
}

func TestTooManyBins(t *testing.T) {
	w := newWorld(t)
	plan := strings.Replace(twoProducts, "bins: 16", "bins: 1024", 1)
	w.found(plan)
	more := strings.Replace(plan, "  gw-100:", "  lamp: {require: {engineering: 1}, people: {engineering: [rivera]}, bins: 16}\n  gw-100:", 1)
	_, err := event.NewChange(w.plan(more), w.state(), w.opening())
	wantReason(t, err, reason.Limit)
}

func TestTooManyProducts(t *testing.T) {
	w := newWorld(t)
	plan := basicPlan + "products:\n"
	for i := range 65 {
		plan += "  p" + string(rune('a'+i/26)) + string(rune('a'+i%26)) + ": {require: {engineering: 1}, people: {engineering: [rivera]}}\n"
	}
	_, err := event.NewInit(w.plan(plan), w.opening())
	wantReason(t, err, reason.Limit)
}

// A flat product that grows beyond its bound is refused before anybody signs.
func TestFlatProductTooLarge(t *testing.T) {
	w := newWorld(t)
	w.found(twoProducts)
	args := strings.Repeat("x", 240<<10)
	e := w.release("1.0", strings.Replace(basicSpec, "installer_args: {}", "installer_args: {note: "+args+"}", 1))
	j, err := w.opened(e)
	if err != nil {
		t.Fatal(err)
	}
	if len(j.Files) != 1 {
		t.Fatal("not one file")
	}
	w.write("build/gw.img", "firmware 2")
	w.publish(w.sign(e, "rivera", nil), w.sign(e, "chen", nil))
	args = strings.Repeat("x", 20<<10)
	_, err = event.NewRelease("gw-100", "1.1", w.spec(strings.Replace(basicSpec, "installer_args: {}", "installer_args: {note: "+args+"}", 1)), w.state(), w.opening())
	if r := reason.Of(err); r != reason.Limit && r != reason.TooLarge {
		t.Errorf("reason %q: %v", r, err)
	}
}
