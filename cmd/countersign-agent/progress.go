package main

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/term"

	"github.com/countersign-ota/countersign/agent"
	"github.com/countersign-ota/countersign/cmd/internal/cli"
)

// redraw is how often the line of progress changes.
const redraw = 200 * time.Millisecond

// progress returns what shows a transfer as one line on a terminal (bytes, total, percent, rate), and
// what ends it. Elsewhere both are silent, but for a line at the end with -v.
func (p *program) progress() (agent.Progress, func()) {
	f, ok := p.out.Stderr.(*os.File)
	drawn := ok && !p.out.JSON && !p.out.Quiet && term.IsTerminal(int(f.Fd()))
	var target string
	var first, done, total int64
	began, last := time.Now(), time.Time{}
	show := func(t string, d, n int64) {
		if target == "" {
			target, first = t, d
		}
		done, total = d, n
		if !drawn || time.Since(last) < redraw {
			return
		}
		last = time.Now()
		rate := int64(float64(done-first) / max(time.Since(began).Seconds(), 0.001))
		_, _ = fmt.Fprintf(f, "\r\x1b[K%s  %s of %s  %d %%  %s/s", cli.Safe(target), cli.Size(done), cli.Size(total),
			100*done/max(total, 1), cli.Size(rate))
	}
	end := func() {
		if drawn && target != "" {
			_, _ = fmt.Fprint(f, "\r\x1b[K")
		}
		if target != "" {
			p.out.Note("%s: %s of %s", cli.Safe(target), cli.Grouped(done), cli.Bytes(total))
		}
	}
	return show, end
}
