package repository

import (
	"net"
	"os"
	"syscall"

	"github.com/countersign-ota/countersign/proto/reason"
)

// checkPeer lets the user of this process and root through (SO_PEERCRED).
func checkPeer(c *net.UnixConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var cred *syscall.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	}); err != nil {
		return err
	}
	if credErr != nil {
		return credErr
	}
	if cred.Uid != 0 && int(cred.Uid) != os.Geteuid() {
		return reason.Errorf(reason.Permission, "user %d (process %d) is neither the server's user nor root", cred.Uid, cred.Pid)
	}
	return nil
}
