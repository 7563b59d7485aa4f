package world

import (
	"bufio"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// startTimeout bounds the start of a server, stopTimeout its shutdown.
const (
	startTimeout = 30 * time.Second
	stopTimeout  = 30 * time.Second
)

// ServerDir is the server's folder.
func (w *World) ServerDir() string { return filepath.Join(w.Dir, "server") }

// Found runs countersignd init: server.yaml, online keys, the identity CA and the first token, which
// is for operator.
func (w *World) Found(operator string) error {
	return w.command("server", w.Dir, nil, "countersignd", "init", "--deployment", w.Deployment,
		"--url", "https://"+w.HTTPS, "--grpc", w.GRPC, "--https", w.HTTPS,
		"--dir", w.ServerDir(), "--operator", operator, "--passphrase-file", w.PassphraseFile()).Err()
}

// Server runs another command of countersignd.
func (w *World) Server(args ...string) Result {
	return w.command("server", w.Dir, nil, "countersignd", args...)
}

// Server is a running countersignd.
type Server struct {
	cmd  *exec.Cmd
	done chan error

	mu  sync.Mutex
	log strings.Builder
}

// Serve starts the server and returns once both of its addresses take connections. env is added to
// its environment.
func (w *World) Serve(env ...string) (*Server, error) {
	cmd := exec.Command(filepath.Join(w.Programs.Dir, "countersignd"), "run", "--config", filepath.Join(w.ServerDir(), "server.yaml"))
	cmd.Dir = w.Dir
	cmd.Env = append(append(cleanEnvironment(), w.Env...), env...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start server: %w", err)
	}
	s := &Server{cmd: cmd, done: make(chan error, 1)}
	copied := make(chan struct{})
	go func() { s.keep(stderr); close(copied) }()
	go func() { <-copied; s.done <- cmd.Wait() }()
	for start := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		if reachable(w.GRPC) && reachable(w.HTTPS) {
			break
		}
		select {
		case err := <-s.done:
			return nil, fmt.Errorf("server ended while starting: %v\n%s", err, s.Log())
		default:
		}
		if time.Since(start) > startTimeout {
			return nil, errors.Join(fmt.Errorf("server does not listen after %v\n%s", startTimeout, s.Log()), s.Kill())
		}
	}
	w.server = s
	return s, nil
}

func (s *Server) keep(r io.Reader) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		s.mu.Lock()
		s.log.WriteString(lines.Text() + "\n")
		s.mu.Unlock()
	}
}

// Log returns what the server logged so far.
func (s *Server) Log() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

// PID returns the process id.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// PID returns the process id of the running server.
func (w *World) PID() int { return w.server.PID() }

// Stop asks the server to end and waits until it did; an exit code other than 0 is an error.
func (s *Server) Stop() error {
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		if errors.Is(err, os.ErrProcessDone) {
			return nil
		}
		return err
	}
	select {
	case err := <-s.done:
		s.done <- err
		if err != nil {
			return fmt.Errorf("server: %w\n%s", err, s.Log())
		}
		return nil
	case <-time.After(stopTimeout):
		return errors.Join(fmt.Errorf("server did not stop within %v\n%s", stopTimeout, s.Log()), s.Kill())
	}
}

// Kill ends the server at once, as a power cut would.
func (s *Server) Kill() error {
	if err := s.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	err := <-s.done
	s.done <- err
	return nil
}

// BlobFile is where a server keeps the bytes of a target or evidence file.
func BlobFile(serverDir string, data []byte) (string, error) {
	sum := sha256.Sum256(data)
	name := hex.EncodeToString(sum[:])
	path := filepath.Join(serverDir, "blobs", name[:2], name)
	_, err := os.Stat(path)
	return path, err
}

// Root fetches image root 1 as a device's maker would bake it in: from the server, over HTTPS. The
// caller vouches for it.
func (w *World) Root() ([]byte, error) { return w.RootVersion(1) }

// RootVersion is Root for another version.
func (w *World) RootVersion(version int) ([]byte, error) {
	name := fmt.Sprintf("%d.root.json", version)
	client := &http.Client{
		Timeout:   30 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
	}
	defer client.CloseIdleConnections()
	res, err := client.Get("https://" + w.HTTPS + "/" + name)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", name, res.Status)
	}
	return io.ReadAll(io.LimitReader(res.Body, 1<<20))
}

func reachable(addr string) bool {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return false
	}
	c.Close()
	return true
}
