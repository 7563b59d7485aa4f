package bolt

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/countersign-ota/countersign/proto/reason"
)

// A full disk refuses changes and harms nothing; with room it goes on.
func TestDiskFull(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("a full disk needs a small tmpfs, and mounting one needs root")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=2m"); err != nil {
		t.Skipf("cannot mount a tmpfs: %v", err)
	}
	defer func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	}()
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "store.db")
	s, err := Create(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	acknowledged := map[string]bool{}
	large := strings.Repeat("x", 50_000)
	var full error
	for i := 0; i < 100 && full == nil; i++ {
		id := fmt.Sprint(i)
		if full = put(s, id, large); full == nil {
			acknowledged[id] = true
		}
	}
	wantReason(t, full, reason.DiskFull)
	// More than the disk has: another large one may fit, into pages that bbolt found free since.
	wantReason(t, put(s, "still", strings.Repeat("x", 2<<20)), reason.DiskFull)
	if len(acknowledged) < 5 {
		t.Errorf("only %d changes fitted", len(acknowledged))
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if err := put(s, "again", large); err != nil {
		t.Errorf("with room: %v", err)
	}
	acknowledged["again"] = true
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wantTokens(t, path, acknowledged)
}
