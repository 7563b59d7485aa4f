package repository

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/countersign-ota/countersign/proto/reason"
)

var quiet = slog.New(slog.DiscardHandler)

// A socket that a killed server left is replaced; what is no socket is left alone; a folder whose name is
// longer than the address of a socket works too.
func TestControlSocket(t *testing.T) {
	long := filepath.Join(t.TempDir(), strings.Repeat("d", 100))
	for name, dir := range map[string]string{"short": t.TempDir(), "long": long} {
		t.Run(name, func(t *testing.T) {
			if err := os.MkdirAll(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			if c, err := dialControl(context.Background(), dir); c != nil || err != nil {
				t.Fatalf("before: %v, %v", c, err)
			}
			first, err := listenControl(dir, quiet)
			if err != nil {
				t.Fatal(err)
			}
			first.(*ownListener).UnixListener.Close() // as if it was killed: the file stays
			if c, err := dialControl(context.Background(), dir); c != nil || err != nil {
				t.Fatalf("a socket that nobody serves: %v, %v", c, err)
			}
			l, err := listenControl(dir, quiet)
			if err != nil {
				t.Fatal(err)
			}
			info, err := os.Lstat(filepath.Join(dir, socketFile))
			if err != nil || info.Mode() != os.ModeSocket|0o600 {
				t.Errorf("%v, %v", info, err)
			}
			go func() {
				if c, err := l.Accept(); err == nil {
					io.WriteString(c, "hello")
					c.Close()
				}
			}()
			c, err := dialControl(context.Background(), dir)
			if err != nil || c == nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(c); string(got) != "hello" || err != nil {
				t.Errorf("%q, %v", got, err)
			}
			if err := l.Close(); err != nil {
				t.Error(err)
			}
			if _, err := os.Lstat(filepath.Join(dir, socketFile)); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("after close: %v", err)
			}
			if err := os.WriteFile(filepath.Join(dir, socketFile), []byte("precious"), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := listenControl(dir, quiet); reason.Of(err) != reason.Config {
				t.Errorf("a file in its place: %v", err)
			}
			if data, err := os.ReadFile(filepath.Join(dir, socketFile)); string(data) != "precious" || err != nil {
				t.Errorf("%q, %v", data, err)
			}
		})
	}
}

// strangerDir makes this test binary a stranger who knocks at the socket in the folder that it names.
const strangerDir = "COUNTERSIGN_TEST_STRANGER"

// Another user is not let in, even where all modes would let them.
func TestControlSocketRefusesOtherUsers(t *testing.T) {
	if dir := os.Getenv(strangerDir); dir != "" {
		c, err := net.Dial("unix", filepath.Join(dir, socketFile))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(c); len(got) > 0 {
			t.Fatalf("the server said %q, %v", got, err)
		}
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("becoming another user needs root")
	}
	dir, err := os.MkdirTemp("/tmp", "countersign-socket-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	l, err := listenControl(dir, quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, path := range []string{dir, filepath.Join(dir, socketFile)} {
		if err := os.Chmod(path, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	let := make(chan net.Conn, 1)
	go func() {
		if c, err := l.Accept(); err == nil {
			io.WriteString(c, "hello")
			let <- c
		}
	}()
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "stranger") // where the other user may read it
	if err := os.WriteFile(program, self, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-test.run", "^TestControlSocketRefusesOtherUsers$")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), strangerDir+"="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	select {
	case <-let:
		t.Error("another user was let in")
	default:
	}
}
