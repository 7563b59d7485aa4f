package gate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/countersign-ota/countersign/proto/metadata"
)

// Bounds of a program.
const (
	// DefaultDeadline is how long a program may take, with everything that it started.
	DefaultDeadline = 10 * time.Second
	// MaxAnswer bounds its standard output, in bytes.
	MaxAnswer = 4 << 10
	// maxPrograms bounds how many there may be.
	maxPrograms = 32
)

// question is what a program reads from standard input, as one JSON object. Members are only added.
type question struct {
	V          int                  `json:"v"`
	Step       Step                 `json:"step"`
	Device     string               `json:"device"`
	Component  string               `json:"component"`
	Product    string               `json:"product"`
	Version    string               `json:"version"`
	Counter    int64                `json:"counter"`
	Class      string               `json:"class,omitempty"`
	Conditions *metadata.Conditions `json:"conditions,omitempty"`
}

// checkPrograms asks every program in Dir and returns how many there were.
func (g *Gates) checkPrograms(ctx context.Context, r Request) (int, *Deferral) {
	if g.Dir == "" {
		return 0, nil
	}
	names, err := programs(g.Dir)
	if err != nil {
		return 0, closed(filepath.Base(g.Dir), CodeProgram, "%v", err)
	}
	input, err := json.Marshal(question{
		V: 1, Step: r.Step, Device: r.Device, Component: r.Component, Product: r.Product,
		Version: r.Version, Counter: r.Counter, Class: r.Class, Conditions: r.Conditions,
	})
	if err != nil {
		return 0, closed(filepath.Base(g.Dir), CodeProgram, "%v", err)
	}
	for _, name := range names {
		out, err := g.run(ctx, filepath.Join(g.Dir, name), input)
		if err != nil {
			return 0, closed(name, CodeProgram, "%v", err)
		}
		a, err := parseAnswer(out)
		if err != nil {
			return 0, closed(name, CodeProgram, "answer: %v", err)
		}
		if !a.Go {
			return 0, &Deferral{Gate: name, Code: a.Reason}
		}
	}
	return len(names), nil
}

// programs lists the programs in dir by name. Whatever somebody else could have put or changed
// there is an error, and so is a file that cannot be run: a gate whose mode bits were lost must not
// become an open one.
func programs(dir string) ([]string, error) {
	if err := onlyOurs(dir, os.FileMode.IsDir); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		path := filepath.Join(dir, e.Name())
		if err := onlyOurs(path, os.FileMode.IsRegular); err != nil {
			return nil, err
		}
		names = append(names, e.Name())
	}
	if len(names) > maxPrograms {
		return nil, fmt.Errorf("%d programs, at most %d", len(names), maxPrograms)
	}
	return names, nil
}

// onlyOurs refuses a path that another user than root and the agent's own owns or can write.
func onlyOurs(path string, kind func(os.FileMode) bool) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if !kind(info.Mode()) {
		return fmt.Errorf("%s is of another kind: %s", path, info.Mode())
	}
	if info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%s can be written by others, mode %#o", path, info.Mode().Perm())
	}
	if info.Mode().Perm()&0o100 == 0 {
		return fmt.Errorf("%s cannot be run, mode %#o", path, info.Mode().Perm())
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || (st.Uid != 0 && int(st.Uid) != os.Geteuid()) {
		return fmt.Errorf("%s belongs to another user", path)
	}
	return nil
}

// run starts one program in a process group of its own and returns its output. Whatever it leaves
// behind is killed with it.
func (g *Gates) run(ctx context.Context, path string, input []byte) ([]byte, error) {
	deadline := g.Deadline
	if deadline == 0 {
		deadline = DefaultDeadline
	}
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	var out bounded
	cmd := exec.CommandContext(ctx, path)
	cmd.Stdin = bytes.NewReader(input)
	cmd.Stdout = &out
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	kill := func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.Cancel = kill
	// A child that keeps the pipe open does not keep us waiting.
	cmd.WaitDelay = time.Second
	err := cmd.Start()
	if err != nil {
		return nil, err
	}
	err = cmd.Wait()
	_ = kill() // what is left of the group; usually nothing
	switch {
	case out.over:
		return nil, fmt.Errorf("answered more than %d bytes", MaxAnswer)
	case ctx.Err() != nil:
		return nil, fmt.Errorf("no answer within %s: %w", deadline, ctx.Err())
	case errors.Is(err, exec.ErrWaitDelay):
		return nil, errors.New("left a process behind that holds its output open")
	case err != nil:
		return nil, err
	}
	return out.buf, nil
}

// bounded keeps at most MaxAnswer bytes and then fails, which ends the program by SIGPIPE. The buffer
// is not embedded: io.Copy would find its ReadFrom and read past the bound.
type bounded struct {
	buf  []byte
	over bool
}

func (b *bounded) Write(p []byte) (int, error) {
	if len(b.buf)+len(p) > MaxAnswer {
		b.over = true
		return 0, io.ErrShortWrite
	}
	b.buf = append(b.buf, p...)
	return len(p), nil
}
