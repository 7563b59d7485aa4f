// Package loopback finds addresses for servers under test.
package loopback

import (
	"fmt"
	"math/rand/v2"
	"net"
)

// Ports below the range from which Linux takes ports for outgoing connections, so that no client of a
// test that runs beside takes one between Address and the server's start.
const (
	firstPort = 20_000
	ports     = 12_000
)

// Address returns a loopback address that nobody listens on at this moment.
func Address() (string, error) {
	var err error
	for range 100 {
		var l net.Listener
		if l, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", firstPort+rand.IntN(ports))); err == nil {
			return l.Addr().String(), l.Close()
		}
	}
	return "", fmt.Errorf("no free port on 127.0.0.1: %w", err)
}
