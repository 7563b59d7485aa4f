package tree

import (
	"os"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"github.com/countersign-ota/countersign/cmd/internal/cli"
)

// Progress returns how this run shows transfers: as bars with bytes, total, percent and rate when
// stderr is a terminal, as a line at the end with -v, else not at all.
func (p *Program) Progress() cli.Progress {
	f, ok := p.Out.Stderr.(*os.File)
	switch {
	case p.Out.Quiet:
		return cli.NoProgress{}
	case ok && term.IsTerminal(int(f.Fd())) && !p.Out.JSON:
		return bars{f}
	case p.Out.Verbose:
		return lines{p.Out}
	}
	return cli.NoProgress{}
}

type bars struct{ w *os.File }

type bar struct {
	all *mpb.Progress
	one *mpb.Bar
}

// Start draws one bar that is removed when it ends.
func (b bars) Start(name string, done, total int64) cli.Bar {
	all := mpb.New(mpb.WithOutput(b.w), mpb.WithWidth(72))
	one := all.AddBar(total, mpb.BarRemoveOnComplete(),
		mpb.PrependDecorators(decor.Name(cli.Safe(name)+" "), decor.CountersKiloByte("% .1f / % .1f")),
		mpb.AppendDecorators(decor.Percentage(), decor.Name(" "), decor.AverageSpeed(decor.SizeB1000(0), "% .1f")))
	one.SetRefill(done)
	one.SetCurrent(done)
	return bar{all, one}
}

// Add moves the bar.
func (b bar) Add(n int64) { b.one.IncrInt64(n) }

// End removes the bar.
func (b bar) End() {
	b.one.Abort(true)
	b.all.Wait()
}

type lines struct{ out *cli.Output }

type line struct {
	out         *cli.Output
	name        string
	done, total int64
}

// Start prints nothing yet.
func (l lines) Start(name string, done, total int64) cli.Bar { return &line{l.out, name, done, total} }

// Add counts.
func (l *line) Add(n int64) { l.done += n }

// End prints how far the transfer came.
func (l *line) End() {
	l.out.Note("%s: %s of %s", cli.Safe(l.name), cli.Grouped(l.done), cli.Bytes(l.total))
}
