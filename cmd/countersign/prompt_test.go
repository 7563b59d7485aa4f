package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/countersign-ota/countersign/cmd/internal/cli"
	"github.com/countersign-ota/countersign/internal/ptytest"
)

// atTerminal starts the program in a new folder with p as its controlling terminal.
func atTerminal(t *testing.T, p *ptytest.PTY, args ...string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	dir := t.TempDir()
	tty := p.Program()
	defer tty.Close()
	cmd := exec.Command("countersign", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "COUNTERSIGN_HOME="+filepath.Join(dir, "home"))
	cmd.Stdin = tty
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, &stderr
}

func code(err error) int {
	var e *exec.ExitError
	if errors.As(err, &e) {
		return e.ExitCode()
	}
	return 0
}

// Control-C at a hidden prompt ends with 130 and gives the terminal its echo back.
func TestInterruptAtAPassphrase(t *testing.T) {
	p := ptytest.Open(t)
	cmd, stderr := atTerminal(t, p, "key", "new", "--person", "rivera")
	p.WaitFor("New passphrase for rivera (empty: make one): ")
	p.WaitEcho(false)
	p.Type("\x03")
	if got := code(cmd.Wait()); got != cli.ExitInterrupted || stderr.Len() != 0 {
		t.Errorf("exit %d, stderr %s", got, stderr)
	}
	if !p.Echo() {
		t.Error("the terminal does not echo any more")
	}
	for _, name := range []string{"rivera.pub", "home/keys/rivera.key"} {
		if _, err := os.Stat(filepath.Join(cmd.Dir, name)); err == nil {
			t.Errorf("%s was written", name)
		}
	}
}

func TestPassphraseIsTypedTwice(t *testing.T) {
	p := ptytest.Open(t)
	cmd, stderr := atTerminal(t, p, "key", "new", "--person", "rivera")
	p.WaitFor("(empty: make one): ")
	p.WaitEcho(false)
	p.Type("one\n")
	p.WaitFor("The same again: ")
	p.WaitEcho(false)
	p.Type("another\n")
	if got := code(cmd.Wait()); got != 7 || stderr.String() != "countersign: error: the two passphrases for rivera differ [wrong-passphrase]\n" {
		t.Errorf("exit %d, stderr %s", got, stderr)
	}
	if _, err := os.Stat(filepath.Join(cmd.Dir, "rivera.pub")); err == nil {
		t.Error("rivera.pub was written")
	}
}
