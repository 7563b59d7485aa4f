// Package ptytest opens pseudo-terminals for tests of prompts: the test is the person who reads and
// types. Linux only, as the tools' own prompts are tested there.
package ptytest

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long a test waits for something to be shown before it fails.
const patience = 20 * time.Second

// PTY is a pseudo-terminal. Its methods may be called from several goroutines.
type PTY struct {
	// Name is the path of the side that a program opens.
	Name string

	t      testing.TB
	person *os.File
	mu     sync.Mutex
	shown  bytes.Buffer // all that was written to the terminal; guarded by mu
}

// Open returns a terminal that is closed when the test ends. The test is skipped where there are none.
func Open(t testing.TB) *PTY {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no pseudo-terminals: %v", err)
	}
	fd := int(person.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	p := &PTY{Name: fmt.Sprintf("/dev/pts/%d", n), t: t, person: person}
	hold := p.Program() // keeps the line open between the questions of one test
	go p.watch()
	t.Cleanup(func() { _, _ = hold.Close(), person.Close() })
	return p
}

func (p *PTY) watch() {
	buf := make([]byte, 1024)
	for {
		n, err := p.person.Read(buf)
		p.mu.Lock()
		p.shown.Write(buf[:n])
		p.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// Program opens the side of a program, without making it its controlling terminal.
func (p *PTY) Program() *os.File {
	f, err := os.OpenFile(p.Name, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		p.t.Fatal(err)
	}
	return f
}

// Type types.
func (p *PTY) Type(s string) {
	p.t.Helper()
	if _, err := p.person.WriteString(s); err != nil {
		p.t.Fatal(err)
	}
}

// Shown returns all that was shown so far.
func (p *PTY) Shown() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.shown.String()
}

// WaitFor waits until s was shown.
func (p *PTY) WaitFor(s string) {
	p.t.Helper()
	p.wait(func() bool { return strings.Contains(p.Shown(), s) }, "%q to be shown", s)
}

// Echo reports whether the terminal shows what is typed.
func (p *PTY) Echo() bool {
	s, err := unix.IoctlGetTermios(int(p.person.Fd()), unix.TCGETS)
	if err != nil {
		p.t.Fatal(err)
	}
	return s.Lflag&unix.ECHO != 0
}

// WaitEcho waits until the terminal shows what is typed, or no longer does.
func (p *PTY) WaitEcho(on bool) {
	p.t.Helper()
	p.wait(func() bool { return p.Echo() == on }, "echo %t", on)
}

func (p *PTY) wait(done func() bool, format string, args ...any) {
	p.t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			p.t.Fatalf("waited in vain for "+format+"; shown: %q", append(args, p.Shown())...)
		}
	}
}
