package main

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign-ota/countersign/repository"
)

// cable carries bytes to a server, and goes dead after so many of them.
type cable struct {
	net.Listener
	to   string
	left atomic.Int64
}

func newCable(t *testing.T, to string) *cable {
	t.Helper()
	l, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	c := &cable{Listener: l, to: to}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go c.carry(conn)
		}
	}()
	return c
}

func (c *cable) carry(conn net.Conn) {
	server, err := net.Dial("tcp", c.to)
	if err != nil {
		conn.Close()
		return
	}
	go func() {
		_, _ = io.Copy(conn, server)
		conn.Close()
	}()
	buf := make([]byte, 32<<10)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			server.Close()
			return
		}
		if c.left.Add(-int64(n)) < 0 {
			continue // read and lost, as by a dead link behind a router
		}
		_, _ = server.Write(buf[:n])
	}
}

// Row of the table of errors: a server that falls silent in mid-upload. The same command goes on.
func TestServerFallsSilent(t *testing.T) {
	dir := t.TempDir()
	if err := found(dir, "acme", lifetime); err != nil {
		t.Fatal(err)
	}
	server := filepath.Join(dir, "acme.server")
	stop, err := startServer(server)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	cfg, err := repository.LoadConfig(filepath.Join(server, repository.ConfigFile))
	if err != nil {
		t.Fatal(err)
	}
	c := newCable(t, cfg.GRPC)
	home := filepath.Join(dir, "rivera", "countersign")
	config := filepath.Join(home, "config.yaml")
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(c.Addr().String())
	text = []byte(strings.ReplaceAll(string(text), cfg.GRPC, "localhost:"+port))
	if err := os.WriteFile(config, text, 0o600); err != nil {
		t.Fatal(err)
	}
	const megabytes = 9
	for name, data := range map[string][]byte{
		"gw.img":      make([]byte, megabytes*1000*1000),
		"gw.cdx.json": []byte(`{"bomFormat":"CycloneDX","specVersion":"1.6","version":1,"components":[]}`),
		"release.yaml": []byte("class: maintenance\nevidence: {sbom: gw.cdx.json}\ntargets:\n" +
			"- {file: gw.img, component: main, hardware: [gw-100-c], installer: slot, installer_args: {}}\n"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	release := []string{"release", "gw-100/2.4.1", "--spec", filepath.Join(dir, "release.yaml")}

	c.left.Store(6 * 1000 * 1000)
	code, stdout, stderr := runAt(t, home, time.Now(), release...)
	want := regexp.MustCompile(`^countersign: error: localhost silent for 5s; ([1-9]) of 9 MB uploaded, nothing opened \[unreachable\]
countersign: hint: the same command goes on at ([1-9]) MB
$`)
	if m := want.FindStringSubmatch(stderr); code != 5 || stdout != "" || m == nil || m[1] != m[2] {
		t.Fatalf("exit %d\n%s%s", code, stdout, stderr)
	}

	// Less than the whole file is enough now: what was acknowledged is there.
	c.left.Store(6 * 1000 * 1000)
	code, stdout, stderr = runAt(t, home, time.Now(), release...)
	if code != 0 || !strings.HasPrefix(stdout, "opened ") {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
}
