package repository

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"syscall"

	"github.com/countersign-ota/countersign/proto/reason"
)

// socketFile is the socket of a running server, mode 0600 in a folder of mode 0700. Only the server's
// user and root are let in, whatever the modes.
const socketFile = "control.sock"

// maxSocketPath is the longest name that the address of a Unix socket holds, in bytes; Linux has 107.
const maxSocketPath = 103

// socketName returns a name for the socket below dir that is short enough, and what to close once the
// socket is bound or reached.
func socketName(dir string) (name string, done func(), err error) {
	name = filepath.Join(dir, socketFile)
	if len(name) <= maxSocketPath {
		return name, func() {}, nil
	}
	f, err := os.Open(dir)
	if err != nil {
		return "", nil, err
	}
	short := fmt.Sprintf("/proc/self/fd/%d", f.Fd())
	if _, err := os.Stat(short + "/."); err != nil {
		_ = f.Close()
		return "", nil, reason.Errorf(reason.Config, "dir: the name of the control socket, %s, has %d bytes, and a system without /proc takes at most %d", name, len(name), maxSocketPath).
			WithHint("give the server a directory with a shorter name")
	}
	return filepath.Join(short, socketFile), func() { _ = f.Close() }, nil
}

// listenControl makes the socket of a server that holds the lock on dir. A socket that is there was left
// by a killed one.
func listenControl(dir string, log *slog.Logger) (net.Listener, error) {
	name, done, err := socketName(dir)
	if err != nil {
		return nil, err
	}
	defer done()
	info, err := os.Lstat(name)
	switch {
	case err == nil && info.Mode().Type() != fs.ModeSocket:
		return nil, reason.Errorf(reason.Config, "%s is there and is no socket", filepath.Join(dir, socketFile)).WithHint("move it elsewhere")
	case err == nil:
		if err := os.Remove(name); err != nil {
			return nil, err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})
	if err != nil {
		return nil, reason.Errorf(reason.Unreachable, "%s: %w", socketFile, err)
	}
	l.SetUnlinkOnClose(false) // its name may be that of an open folder, which is closed by then
	if err := os.Chmod(name, 0o600); err != nil {
		_ = l.Close()
		return nil, err
	}
	return &ownListener{l, filepath.Join(dir, socketFile), log}, nil
}

// ownListener hands out connections of the server's user and of root.
type ownListener struct {
	*net.UnixListener
	path string
	log  *slog.Logger
}

// Accept implements net.Listener.
func (l *ownListener) Accept() (net.Conn, error) {
	for {
		c, err := l.AcceptUnix()
		if err != nil {
			return nil, err
		}
		if err := checkPeer(c); err != nil {
			l.log.Warn("control socket: refused", "error", err)
			_ = c.Close()
			continue
		}
		return c, nil
	}
}

// Close removes the socket too.
func (l *ownListener) Close() error {
	err := l.UnixListener.Close()
	if rmErr := os.Remove(l.path); rmErr != nil && !errors.Is(rmErr, fs.ErrNotExist) {
		return errors.Join(err, rmErr)
	}
	return err
}

// dialControl connects to the server that runs in dir; nil and no error where none does.
func dialControl(ctx context.Context, dir string) (net.Conn, error) {
	name, done, err := socketName(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer done()
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", name)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOTSOCK), errors.Is(err, syscall.ENOTDIR):
		return nil, nil
	case errors.Is(err, fs.ErrPermission):
		return nil, reason.Errorf(reason.Permission, "%s: %w", filepath.Join(dir, socketFile), err).WithHint("run it as the server's user or as root")
	case err != nil:
		return nil, reason.Errorf(reason.Unreachable, "%s: %w", filepath.Join(dir, socketFile), err)
	}
	return c, nil
}
