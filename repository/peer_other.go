//go:build !linux

package repository

import "net"

// checkPeer relies on the modes of socket and folder where the kernel does not say who calls.
func checkPeer(*net.UnixConn) error { return nil }
