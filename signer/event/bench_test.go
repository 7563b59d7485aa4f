package event_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/countersign-ota/countersign/signer/event"
)

// BenchmarkRelease is what a server computes for one release into a product of 1,000 targets in 64
// bins: it is opened, two people sign it one after the other, it is published. The bar of the whole
// release, store and online signatures included, is 10 ms of CPU.
func BenchmarkRelease(b *testing.B) {
	w := newWorld(b)
	w.found(strings.Replace(twoProducts, "bins: 16", "bins: 64", 1))
	const head = "class: feature\nspread_hours: 24\nconditions: {battery_percent_min: 40, idle: true, downtime_seconds: 180}\ncomponent: main\ninstaller: slot\ntargets:\n"
	for r := range 4 {
		spec := head
		for i := range 250 {
			w.write(fmt.Sprintf("build/pump-%d.img", i), fmt.Sprint("pump ", r, i))
			spec += fmt.Sprintf("- {file: build/pump-%d.img, hardware: [x%d-%d]}\n", i, r, i)
		}
		e, err := event.NewRelease("pump-9", fmt.Sprintf("1.0.%d", r), w.spec(spec), w.state(), w.opening())
		if err != nil {
			b.Fatal(err)
		}
		w.publish(w.sign(e, "rivera", nil), w.sign(e, "chen", nil))
	}

	w.write("build/pump.img", "pump 1.1")
	e, err := event.NewRelease("pump-9", "1.1", w.spec(pumpSpec), w.state(), w.opening())
	if err != nil {
		b.Fatal(err)
	}
	rivera, chen := w.sign(e, "rivera", nil), w.sign(e, "chen", nil)
	data, err := e.Bytes()
	if err != nil {
		b.Fatal(err)
	}
	var cache *event.Cache
	judge := func(data []byte, opening bool) *event.Judgement {
		read, err := event.Parse(data)
		if err != nil {
			b.Fatal(err)
		}
		read.Base = nil
		s, err := cache.StateOf(w, "acme")
		if err != nil {
			b.Fatal(err)
		}
		j, err := event.Judge(read, s, event.Options{Now: now, Online: w.online, Opening: opening})
		if err != nil {
			b.Fatal(err)
		}
		return j
	}
	b.ReportMetric(float64(len(data)), "event-bytes")
	b.ReportAllocs()
	for b.Loop() {
		// A fresh cache each round: the next release is another event on other files.
		cache = &event.Cache{}
		stored := data
		for step := range 4 {
			j := judge(stored, step == 0)
			switch step {
			case 1:
				j.Add(rivera.Signatures, rivera.Approvals)
			case 2:
				j.Add(chen.Signatures, chen.Approvals)
			case 3:
				if err := j.Publishable(); err != nil {
					b.Fatal(err)
				}
				for i := range j.Files {
					if _, err := j.PublishedFile(i); err != nil {
						b.Fatal(err)
					}
				}
			}
			if stored, err = j.Event.Bytes(); err != nil {
				b.Fatal(err)
			}
		}
	}
}
