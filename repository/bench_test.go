package repository_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const binnedPlan = `deployment: acme
online: online.pub
people: {rivera: rivera.pub, chen: chen.pub, okafor: okafor.pub}
meaning: {holder: approved, engineering: authored, quality: approved, stop: stopped}
roots: {require: {holder: 2}, people: {holder: [rivera, chen, okafor]}}
products:
  gw-100: {require: {engineering: 1, quality: 1}, people: {engineering: [rivera], quality: [chen, okafor]}, bins: 64}
`

// manyTargets is a spec of n targets, each for hardware of its own.
func manyTargets(b *bed, n int) string {
	var s strings.Builder
	s.WriteString("class: feature\nevidence: {sbom: gw.cdx.json}\ntargets:\n")
	for i := range n {
		name := fmt.Sprintf("gw-%03d.img", i)
		b.write("build/"+name, []byte(name))
		fmt.Fprintf(&s, "- {file: build/%s, component: main, hardware: [hw-%03d], installer: file, installer_args: {}}\n", name, i)
	}
	return s.String()
}

// cpu returns the processor time of a process, all threads.
func cpu(t testing.TB, pid int) time.Duration {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(files) == 0 {
		t.Skip("no processor time to be had: /proc has no schedstat")
	}
	var sum time.Duration
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			continue // the thread ended
		}
		var ns int64
		if _, err := fmt.Sscan(string(data), &ns); err != nil {
			t.Fatal(err)
		}
		sum += time.Duration(ns)
	}
	return sum
}

// BenchmarkRelease is one release of one target into a product of 1,000 targets in 64 bins: opened,
// signed by two people, published. The bar is 10 ms of the server's processor time.
func BenchmarkRelease(b *testing.B) {
	bed := newBed(b)
	bed.found(binnedPlan)
	for i := range 10 {
		bed.publishSpec(fmt.Sprintf("1.%d", i), manyTargets(bed, 100))
	}
	bed.stop()
	server := bed.startProcess().Process.Pid
	var spent time.Duration
	n := 0
	for b.Loop() {
		e, s := bed.release(fmt.Sprintf("2.%d", n), basicSpec)
		n++
		bed.upload(e, s)
		var signed []func() error
		before := cpu(b, server)
		id := bed.open("rivera", e)
		spent += cpu(b, server) - before
		for _, person := range []string{"rivera", "chen"} {
			sigs, approvals := bed.signed(id, person)
			signed = append(signed, func() error {
				_, err := bed.operators["rivera"].AddSignatures(ctx, id, sigs, approvals)
				return err
			})
		}
		before = cpu(b, server)
		for _, add := range signed {
			if err := add(); err != nil {
				b.Fatal(err)
			}
		}
		bed.publish(id)
		spent += cpu(b, server) - before
	}
	b.ReportMetric(float64(spent.Microseconds())/1000/float64(n), "ms-cpu/release")
}

// publishSpec publishes a release of gw-100 with this spec.
func (b *bed) publishSpec(version, spec string) {
	b.t.Helper()
	e, s := b.release(version, spec)
	b.upload(e, s)
	id := b.open("rivera", e)
	b.sign(id, "rivera", "chen")
	b.publish(id)
}
