package bolt

import (
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"
)

// BenchmarkAcknowledged compares durable small writes from 64 callers that share commits with the
// same writes that each have their own, in turns within one run. It reports the median of the
// rounds' ratios, which is what to compare between machines and changes, and writes a second.
func BenchmarkAcknowledged(b *testing.B) {
	const callers, shared, single = 64, 2048, 128
	rates := func(o Options, writes int) func() float64 {
		s, err := Create(filepath.Join(b.TempDir(), "store.db"), o)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { s.Close() })
		round := 0
		return func() float64 {
			round++
			start := time.Now()
			var wg sync.WaitGroup
			for c := range callers {
				wg.Go(func() {
					for i := range writes / callers {
						if err := put(s, fmt.Sprintf("%d-%d-%d", round, c, i), "x"); err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
			return float64(writes) / time.Since(start).Seconds()
		}
	}
	group, alone := rates(Options{}, shared), rates(Options{MaxBatch: 1}, single)
	var ratios, groups, alones []float64
	for b.Loop() {
		g, a := group(), alone()
		groups, alones, ratios = append(groups, g), append(alones, a), append(ratios, g/a)
	}
	b.ReportMetric(median(groups), "shared/s")
	b.ReportMetric(median(alones), "single/s")
	b.ReportMetric(median(ratios), "ratio")
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}
