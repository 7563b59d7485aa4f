package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/countersign-ota/countersign/integration/world"
	"github.com/countersign-ota/countersign/proto/metadata"
)

// The two large products.
const (
	imagers      = "imager"
	imagerBits   = 8 // 256 bins
	imagerCount  = 10_000
	monitors     = "monitor"
	monitorBits  = 9 // 512 bins
	monitorCount = 100_000
	// aRelease is how many targets one release of the filling has; at most 256 can be stopped.
	aRelease = 250
)

// large adds the two products, fills them and measures one more target: its review and signature on a
// person's machine, and its publication on the server.
func large(ctx context.Context, w *world.World, products map[string]string, rounds int) (bool, error) {
	for id, bits := range map[string]int{imagers: imagerBits, monitors: monitorBits} {
		products[id] = fmt.Sprintf("{require: {engineering: 1, quality: 1}, people: {engineering: [rivera], quality: [chen, okafor]}, bins: %d, sbom: none}", 1<<bits)
	}
	if err := w.AddProducts(products); err != nil {
		return false, err
	}
	if err := fill(ctx, w, imagers, imagerBits, imagerCount); err != nil {
		return false, err
	}
	signed, err := signing(w, rounds)
	if err != nil {
		return false, err
	}
	if err := fill(ctx, w, monitors, monitorBits, monitorCount); err != nil {
		return false, err
	}
	cpu, err := releasesInto(ctx, w, monitors, rounds)
	if err != nil {
		return false, err
	}
	fmt.Printf("\none release into a product of %d targets in %d bins: open, two signatures, publish\n", monitorCount, 1<<monitorBits)
	published := report("server CPU, median", median(cpu) <= barLarge, "%.1f ms (bar %.0f ms)",
		median(cpu).Seconds()*1000, barLarge.Seconds()*1000)
	return signed && published, nil
}

// fill releases n targets of a product, a range of bins at a time, so that events stay small. All have the
// same few bytes, since only metadata is measured.
func fill(ctx context.Context, w *world.World, product string, bits, n int) error {
	p, err := meet(w)
	if err != nil {
		return err
	}
	defer p.Close()
	releases := n / aRelease
	bins := 1 << bits
	succinct := &tuf.SuccinctRoles{BitLength: bits, NamePrefix: metadata.BinPrefix(product)}
	place := map[string]int{}
	for i, bin := range metadata.Bins(succinct) {
		place[bin] = i
	}
	for r := range releases {
		version := fmt.Sprintf("1.%d.0", r)
		var targets strings.Builder
		for i, found := 0, 0; found < aRelease; i++ {
			name := fmt.Sprintf("%06d.img", i)
			if place[metadata.BinOf(succinct, product+"/"+version+"/"+name)]*releases/bins != r {
				continue
			}
			if err := w.Put(world.Engineer, "fill/"+name, "the same bytes for all"); err != nil {
				return err
			}
			fmt.Fprintf(&targets, "- {file: fill/%s, component: main, hardware: [hw-%d], installer: slot, installer_args: {}}\n", name, i)
			found++
		}
		if _, err := p.release(ctx, product, version, targets.String()); err != nil {
			return fmt.Errorf("fill %s/%s: %w", product, version, err)
		}
	}
	return nil
}

// signing measures the whole process of a person who reviews and signs a release with a key in a file,
// its passphrase included.
func signing(w *world.World, rounds int) (bool, error) {
	var cpu []time.Duration
	var memory []float64
	for round := range rounds {
		if err := w.Put(world.Engineer, "new.img", fmt.Sprint("round ", round)); err != nil {
			return false, err
		}
		id, err := w.OpenRelease(fmt.Sprintf("%s/2.%d.0", imagers, round), "new.img")
		if err != nil {
			return false, err
		}
		for _, p := range []string{world.Engineer, world.Quality} {
			r := w.Sign(p, id, id, "--reason", "measured", "--artifact", w.Desk(world.Engineer)+"/new.img")
			if err := r.Err(); err != nil {
				return false, err
			}
			cpu, memory = append(cpu, r.CPU), append(memory, float64(r.PeakMemory)/1e6)
		}
		if err := w.As(world.Engineer, "publish", id, "--no-input", "--yes").Err(); err != nil {
			return false, err
		}
	}
	fmt.Printf("\nreview and signature of a release into a product of %d targets in %d bins, key in a file\n", imagerCount, 1<<imagerBits)
	fast := report("CPU of the process, median", median(cpu) <= barSign, "%.2f s (bar %.1f s)", median(cpu).Seconds(), barSign.Seconds())
	small := report("peak memory, median", median(memory) <= barSignMemory, "%.1f MB (bar %.0f MB)", median(memory), barSignMemory)
	return fast && small, nil
}
