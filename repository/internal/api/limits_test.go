package api

import (
	"errors"
	"net"
	"testing"
	"time"
)

func listen(t *testing.T, n int) (net.Listener, func() net.Conn) {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := limitConns(inner, n)
	t.Cleanup(func() { l.Close() })
	return l, func() net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
}

// Beyond its limit a listener takes a connection only when another one ends.
func TestLimitConns(t *testing.T) {
	l, dial := listen(t, 2)
	var open []net.Conn
	for range 2 {
		dial()
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
	}
	dial()
	third := make(chan net.Conn)
	go func() {
		c, _ := l.Accept()
		third <- c
	}()
	select {
	case <-third:
		t.Fatal("a third connection was taken")
	case <-time.After(50 * time.Millisecond):
	}
	for range 2 { // a second Close frees no second place
		_ = open[0].Close()
	}
	c := <-third
	defer c.Close()
	if l := l.(*limitListener); len(l.free) != 2 {
		t.Errorf("%d places taken, want 2", len(l.free))
	}
	open[1].Close()
}

// Close ends an Accept that waits for a place.
func TestLimitConnsClose(t *testing.T) {
	l, dial := listen(t, 1)
	dial()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ended := make(chan error)
	go func() {
		_, err := l.Accept()
		ended <- err
	}()
	l.Close()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept after close: %v", err)
	}
}

func TestTargetPath(t *testing.T) {
	const sum = "98c57c3a984e3f028670f5061b38cb58079d9889e168a45cf16728170cf99739"
	for path, want := range map[string]string{
		"/targets/gw-100/2.4.1/" + sum + ".gw.img":      "gw-100/2.4.1/gw.img",
		"/targets/gw-100/2.4.1/" + sum + ".a":           "gw-100/2.4.1/a",
		"/targets/gw-100/2.4.1/" + sum:                  "",
		"/targets/gw-100/2.4.1/" + sum + ".":            "",
		"/targets/gw-100/2.4.1/" + sum[1:] + ".gw.img":  "",
		"/targets/gw-100/2.4.1/gw.img":                  "",
		"/targets/gw-100/" + sum + ".gw.img":            "",
		"/targets/a/b/c/" + sum + ".gw.img":             "",
		"/targets/gw-100/2.4.1/" + sum + ".../x":        "",
		"/targets/gw-100/../" + sum + ".gw.img":         "",
		"/targets//2.4.1/" + sum + ".gw.img":            "",
		"/targets/" + sum + ".gw.img":                   "",
		"/targets/gw-100/2.4.1/x/../" + sum + ".gw.img": "",
	} {
		got, digest, ok := targetPath(path)
		if got != want && ok || ok != (want != "") || ok && digest[0] != 0x98 {
			t.Errorf("%s: %q, %v; want %q", path, got, ok, want)
		}
	}
}

func FuzzPaths(f *testing.F) {
	f.Add("/1.root.json")
	f.Add("/timestamp.json")
	f.Add("/targets/gw-100/2.4.1/98c57c3a984e3f028670f5061b38cb58079d9889e168a45cf16728170cf99739.gw.img")
	f.Fuzz(func(t *testing.T, path string) {
		if role, version, ok := metadataPath(path); ok && (version < 0 || role == "") {
			t.Errorf("%q: role %q, version %d", path, role, version)
		}
		if target, _, ok := targetPath(path); ok && len(target) > len(path) {
			t.Errorf("%q: target %q", path, target)
		}
	})
}
