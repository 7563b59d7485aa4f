// Package world runs a whole deployment as a person would: the three real programs as processes, one
// folder a person, a server and devices on loopback addresses. The end-to-end tests, the demonstration
// and the benchmarks share it.
//
// Start with Build, then New, Found and Serve. Every process ends with its World's Close; nothing here
// outlives the program that made it.
package world

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/countersign-ota/countersign/integration/loopback"
)

// Passphrase is what every key of a World is encrypted with.
const Passphrase = "a passphrase for tests only"

// commandTimeout bounds one command of a person or device.
const commandTimeout = 2 * time.Minute

// Programs is a folder with the three programs.
type Programs struct{ Dir string }

// Build compiles the three programs from the module at root into dir, as they are shipped.
func Build(ctx context.Context, root, dir string) (Programs, error) {
	if out, err := exec.CommandContext(ctx, "bash", filepath.Join(root, "tools", "build.sh"), dir).CombinedOutput(); err != nil {
		return Programs{}, fmt.Errorf("build programs: %w\n%s", err, out)
	}
	return Programs{Dir: dir}, nil
}

// Root returns the folder of the module that holds the working directory.
func Root() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOMOD: %w", err)
	}
	return filepath.Dir(strings.TrimSpace(string(out))), nil
}

// World is one deployment in one folder.
type World struct {
	// Dir holds all of it: people/ID, devices/ID, server.
	Dir        string
	Deployment string
	Programs   Programs
	// GRPC and HTTPS are the server's listen addresses.
	GRPC, HTTPS string
	// Env is added to the environment of every process.
	Env []string
	// KeyFlags are flags of `key new` by person, in place of --director, and Secrets the files with what
	// opens their keys, in place of PassphraseFile: for keys that are on tokens.
	KeyFlags map[string][]string
	Secrets  map[string]string
	// Trace is called with each command before it runs; nil is silent.
	Trace func(who string, args []string)
	// Traced is called with its result.
	Traced func(Result)

	server *Server
}

// New makes the folders of a deployment. It starts nothing.
func New(dir, deployment string, p Programs) (*World, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	w := &World{Dir: dir, Deployment: deployment, Programs: p}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := os.WriteFile(w.PassphraseFile(), []byte(Passphrase+"\n"), 0o600); err != nil {
		return nil, err
	}
	if w.GRPC, err = loopback.Address(); err != nil {
		return nil, err
	}
	w.HTTPS, err = loopback.Address()
	return w, err
}

// PassphraseFile holds Passphrase.
func (w *World) PassphraseFile() string { return filepath.Join(w.Dir, "passphrase") }

// Close ends the server, if one runs.
func (w *World) Close() error {
	if w.server == nil {
		return nil
	}
	return w.server.Stop()
}

// Result is what a process did.
type Result struct {
	Args           []string
	Stdout, Stderr string
	Exit           int
	// PeakMemory is the largest resident size in bytes (VmHWM), CPU the time on processors.
	PeakMemory int64
	CPU        time.Duration
}

// Reason returns the reason in brackets at the end of the first error line; "" if there is none.
func (r Result) Reason() string {
	for line := range strings.Lines(r.Stderr) {
		_, text, ok := strings.Cut(line, "error: ")
		if !ok {
			continue
		}
		text = strings.TrimSpace(text)
		if i := strings.LastIndex(text, "["); i >= 0 && strings.HasSuffix(text, "]") {
			return text[i+1 : len(text)-1]
		}
	}
	return ""
}

// JSON decodes stdout into v.
func (r Result) JSON(v any) error {
	if err := json.Unmarshal([]byte(r.Stdout), v); err != nil {
		return fmt.Errorf("%s: stdout is no JSON: %w\n%s", strings.Join(r.Args, " "), err, r)
	}
	return nil
}

// String shows all of it.
func (r Result) String() string {
	return fmt.Sprintf("$ %s\n%s%s(exit %d)", strings.Join(r.Args, " "), r.Stdout, r.Stderr, r.Exit)
}

// Err returns nil for exit 0, else an error that shows all of it.
func (r Result) Err() error {
	if r.Exit == 0 {
		return nil
	}
	return errors.New(r.String())
}

// Want returns an error unless the process ended with that exit code and reason.
func (r Result) Want(exit int, reason string) error {
	if r.Exit == exit && r.Reason() == reason {
		return nil
	}
	return fmt.Errorf("want exit %d [%s], got exit %d [%s]\n%s", exit, reason, r.Exit, r.Reason(), r)
}

// command runs one process to its end.
func (w *World) command(who, dir string, env []string, program string, args ...string) Result {
	if w.Trace != nil {
		w.Trace(who, append([]string{program}, args...))
	}
	ctx, cancel := context.WithTimeout(context.Background(), commandTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(w.Programs.Dir, program), args...)
	cmd.Dir = dir
	cmd.Env = append(append(cleanEnvironment(), w.Env...), env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Start()
	peak := func() int64 { return 0 }
	if err == nil {
		peak = watchMemory(cmd.Process.Pid)
		err = cmd.Wait()
	}
	r := Result{Args: append([]string{program}, args...), Stdout: stdout.String(), Stderr: stderr.String()}
	if s := cmd.ProcessState; s != nil {
		r.CPU, r.PeakMemory = s.UserTime()+s.SystemTime(), peak()
	}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		r.Exit = exit.ExitCode()
	case err != nil:
		r.Exit, r.Stderr = -1, err.Error()
	}
	if w.Traced != nil {
		w.Traced(r)
	}
	return r
}

// cleanEnvironment is ours without any setting of Countersign's.
func cleanEnvironment() []string {
	var env []string
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "COUNTERSIGN_") {
			env = append(env, e)
		}
	}
	return env
}
