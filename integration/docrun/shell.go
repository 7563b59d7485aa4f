package docrun

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/countersign-ota/countersign/internal/ptytest"
)

// patience bounds one command, and the wait for one prompt or one line of a server. It is far above what
// any of them takes, for machines that do much at once.
const patience = 3 * time.Minute

// script runs a command and stays after it as the terminal's owner, so that the terminal is not hung up
// before all that was shown is read; then it waits for a newline.
const script = `sh -c "$1"; printf '\036%d\036\n' $?; read -r x`

var ended = regexp.MustCompile("\x1e([0-9]+)\x1e\r?\n")

// run runs one command at a terminal and compares.
func (r *runner) run(s step, dir string) error {
	p := ptytest.Open(r.t)
	tty := p.Program()
	defer tty.Close()
	cmd := exec.Command("sh", "-c", script, "sh", r.real(r.match.Real(s.command)))
	cmd.Dir = dir
	cmd.Env = r.environment(dir)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	end := func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); _ = cmd.Wait() }
	defer end()
	if err := r.answer(p, s); err != nil {
		return err
	}
	if !wait(func() bool { return ended.MatchString(p.Shown()) }) {
		return fmt.Errorf("it did not end; it showed:\n%s", r.shown(p.Shown()))
	}
	shown := p.Shown()
	at := ended.FindStringSubmatchIndex(shown)
	code, err := strconv.Atoi(shown[at[2]:at[3]])
	if err != nil {
		return err
	}
	lines := screen(r.shown(shown[:at[0]]))
	if code != s.exit {
		return fmt.Errorf("it ended with exit %d, the document says %d:\n%s", code, s.exit, strings.Join(lines, "\n"))
	}
	return r.match.Lines(s.output, lines)
}

// answer types what the document says is typed, each when its prompt is shown.
func (r *runner) answer(p *ptytest.PTY, s step) error {
	answered := -1 // the line of the prompt before
	for _, line := range s.output {
		q, ok := promptOf(line)
		if !ok {
			continue
		}
		asked := func() bool {
			lines := screen(r.shown(p.Shown()))
			last := len(lines) - 1
			known := r.match.known
			if last > answered && r.match.line(q.text, lines[last], &known) {
				answered = last
				return true
			}
			return false
		}
		other := waitsForOther(p)
		over := func() bool { return ended.MatchString(p.Shown()) || other() }
		if !wait(func() bool { return asked() || over() }) || over() {
			return fmt.Errorf("it did not ask %q; it showed:\n%s", q.text, r.shown(p.Shown()))
		}
		if q.secret {
			if r.o.Secret == nil {
				return fmt.Errorf("nobody knows what to type at %q", q.text)
			}
			if q.answer = r.o.Secret(s.who, q.text); q.wrong {
				q.answer += "x"
			}
			if !wait(func() bool { return !p.Echo() }) {
				return fmt.Errorf("%q shows what is typed", q.text)
			}
		}
		p.Type(q.answer + "\n")
	}
	return nil
}

// waitsForOther tells, so that nobody waits for long, that the program waits at a prompt: a last line that
// ends in a colon and did not change for a long while. Asked after asked, it is another prompt.
func waitsForOther(p *ptytest.PTY) func() bool {
	const while = 20 * time.Second
	shown, since := p.Shown(), time.Now()
	return func() bool {
		if now := p.Shown(); now != shown {
			shown, since = now, time.Now()
		}
		return strings.HasSuffix(strings.TrimRight(shown, " "), ":") && time.Since(since) > while
	}
}

func wait(done func() bool) bool {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if done() {
			return true
		}
	}
	return done()
}

// environment is ours without any setting of Countersign's, and with the person's home.
func (r *runner) environment(home string) []string {
	var env []string
	path := os.Getenv("PATH")
	for _, e := range os.Environ() {
		name, _, _ := strings.Cut(e, "=")
		if !strings.HasPrefix(name, "COUNTERSIGN_") && !strings.HasPrefix(name, "XDG_") {
			env = append(env, e)
		}
	}
	env = append(env, "HOME="+home, "PATH="+strings.Join(append(append([]string{}, r.o.Path...), path), ":"),
		"NO_COLOR=1", "LC_ALL=C.UTF-8", "TZ=UTC", "TERM=dumb")
	return append(env, r.o.Env...)
}

// server is a command that runs in the background.
type server struct {
	cmd  *exec.Cmd
	log  string // the file that it writes
	done chan error
}

// serve starts a server and waits until it showed what the document says.
func (r *runner) serve(s step, dir string) error {
	if r.servers[s.who] != nil {
		return fmt.Errorf("%s runs something already", s.who)
	}
	log, err := os.CreateTemp(r.t.TempDir(), "log")
	if err != nil {
		return err
	}
	defer log.Close()
	command := "exec env " + strings.TrimSpace(strings.TrimSuffix(s.command, "&"))
	cmd := exec.Command("sh", "-c", r.real(r.match.Real(command)))
	cmd.Dir, cmd.Env = dir, r.environment(dir)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	v := &server{cmd: cmd, log: log.Name(), done: make(chan error, 1)}
	r.servers[s.who] = v
	go func() { v.done <- cmd.Wait() }()
	var last error
	want := []string{"…"}
	for _, line := range s.output {
		want = append(want, line, "…")
	}
	over := false
	wait(func() bool {
		text, err := os.ReadFile(v.log)
		if err != nil {
			last = err
			return false
		}
		if last = r.match.Lines(want, screen(r.shown(string(text)))); last == nil || over {
			return true
		}
		select {
		case err := <-v.done: // one more look at what it showed
			v.done <- err
			over = true
		default:
		}
		return false
	})
	return last
}

// stop ends WHO's server as kill does; it has to end well.
func (r *runner) stop(who string) error {
	v := r.servers[who]
	if v == nil {
		return fmt.Errorf("%s runs nothing in the background", who)
	}
	delete(r.servers, who)
	if err := v.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case err := <-v.done:
		if err != nil {
			text, rerr := os.ReadFile(v.log)
			return errors.Join(fmt.Errorf("%s in the background: %w\n%s", who, err, text), rerr)
		}
		return nil
	case <-time.After(patience):
		return errors.Join(fmt.Errorf("%s in the background does not end", who), v.cmd.Process.Kill())
	}
}

func (r *runner) stopAll() error {
	var all []error
	for who := range r.servers {
		all = append(all, r.stop(who))
	}
	return errors.Join(all...)
}
