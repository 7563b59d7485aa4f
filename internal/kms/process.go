//go:build unix

package kms

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/sigstore/sigstore/pkg/signature/kms/cliplugin/common"
)

// Bounds of what a plug-in prints, in bytes: an answer is a key or a signature; of stderr the rest is
// read and dropped.
const (
	maxAnswer = 64 << 10
	maxStderr = 4 << 10
)

// grace is how long pipes are read after the process group was ended. It only matters when a process
// left the group and holds a pipe open.
const grace = 5 * time.Second

// output is what a process left behind.
type output struct {
	stdout, stderr []byte
	exit           error // nil, or how it ended
}

// run runs the program once and returns when it and all of its process group are gone: ended by
// itself, or killed after ctx ended or after it printed too much.
func (p *plugin) run(ctx context.Context, args string, message, pin []byte) (*output, error) {
	cmd := exec.Command(p.program, common.ProtocolVersion, args)
	// A group of its own, so that children die with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	pipes, err := connect(cmd, pin)
	if err != nil {
		return nil, p.failed("%v", err)
	}
	defer pipes.close()
	if err := cmd.Start(); err != nil {
		return nil, p.failed("%v", err)
	}
	pipes.closeTheirs()

	var all sync.WaitGroup
	all.Go(func() {
		_, _ = pipes.stdin.Write(message) // a plug-in need not read it
		_ = pipes.stdin.Close()
	})
	var out output
	var outErr, errErr error
	flood := make(chan struct{})
	all.Go(func() {
		out.stdout, outErr = io.ReadAll(io.LimitReader(pipes.stdout, maxAnswer+1))
		if len(out.stdout) > maxAnswer {
			close(flood)
		}
	})
	all.Go(func() {
		if out.stderr, errErr = io.ReadAll(io.LimitReader(pipes.stderr, maxStderr)); errErr == nil {
			_, errErr = io.Copy(io.Discard, pipes.stderr)
		}
	})
	ended, reap := watch(cmd)
	flooded := false
	select {
	case <-ended:
	case <-flood:
		flooded = true
	case <-ctx.Done():
	}
	killGroup(cmd, ended)
	out.exit = reap()
	pipes.stopIn(grace)
	all.Wait()
	switch {
	case flooded:
		return nil, p.failed("it printed more than %d bytes and was ended", maxAnswer)
	case ctx.Err() != nil && out.exit != nil:
		return nil, p.late(ctx, out.stderr)
	case errors.Is(outErr, os.ErrDeadlineExceeded):
		return nil, p.failed("it ended, and a process that it left behind holds its output open")
	case outErr != nil:
		return nil, p.failed("%v", outErr)
	}
	return &out, nil
}

// late says why a plug-in was ended.
func (p *plugin) late(ctx context.Context, stderr []byte) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return p.failed("no answer in time (at most %s), and it was ended%s: %w", p.timeout, said(stderr), ctx.Err())
	}
	return p.failed("ended with the command that called it: %w", context.Cause(ctx))
}

// ends are the two sides of a plug-in's pipes.
type ends struct {
	stdin, stdout, stderr *os.File
	theirs                []*os.File
}

// connect makes the pipes of cmd; descriptor 3 holds the PIN and a newline where there is one.
func connect(cmd *exec.Cmd, pin []byte) (_ *ends, err error) {
	e := &ends{}
	defer func() {
		if err != nil {
			e.close()
		}
	}()
	pipe := func() (r, w *os.File) {
		if err == nil {
			r, w, err = os.Pipe()
		}
		return r, w
	}
	in, inW := pipe()
	outR, out := pipe()
	errR, errW := pipe()
	e.stdin, e.stdout, e.stderr = inW, outR, errR
	e.theirs = []*os.File{in, out, errW}
	if err != nil {
		return e, err
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, out, errW
	if pin == nil {
		return e, nil
	}
	r, w := pipe()
	if err != nil {
		return e, err
	}
	e.theirs = append(e.theirs, r)
	cmd.ExtraFiles = []*os.File{r}
	_, err = w.Write(append(append(make([]byte, 0, maxPIN+1), pin...), '\n')) // smaller than any pipe
	return e, errors.Join(err, w.Close())
}

func (e *ends) closeTheirs() {
	for _, f := range e.theirs {
		if f != nil {
			_ = f.Close()
		}
	}
	e.theirs = nil
}

// stopIn ends all reading and writing after d.
func (e *ends) stopIn(d time.Duration) {
	end := time.Now().Add(d)
	for _, f := range []*os.File{e.stdin, e.stdout, e.stderr} {
		_ = f.SetDeadline(end)
	}
}

func (e *ends) close() {
	e.closeTheirs()
	for _, f := range []*os.File{e.stdin, e.stdout, e.stderr} {
		if f != nil {
			_ = f.Close()
		}
	}
}
