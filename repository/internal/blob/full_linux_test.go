package blob

import (
	"bytes"
	"crypto/sha256"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/countersign-ota/countersign/proto/reason"
)

// A full disk leaves the part as it was at the last sync, and nothing else; with room it goes on.
func TestDiskFull(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("a full disk needs a small tmpfs, and mounting one needs root")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("cannot mount a tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	d, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	d.syncEvery = 100_000
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 512<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	data := content(800_000)
	sum := sha256.Sum256(data)

	w := writer(t, d, sum, int64(len(data)), 0)
	var full error
	for at := 0; at < len(data) && full == nil; at += 30_000 {
		_, full = w.Write(data[at:min(at+30_000, len(data))])
	}
	wantReason(t, full, reason.DiskFull)
	wantReason(t, w.Commit(), reason.DiskFull)
	if err := w.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	// 120,000 bytes are four writes, after which 100,000 were exceeded; 480,000 fit.
	wantStatus(t, d, sum, 480_000, false)
	wantFiles(t, d, rel(t, d, d.partName(sum)))

	// A new upload on a disk with no room at all leaves nothing.
	fill(t, filepath.Join(dir, "filler"))
	w, err = d.Writer(ctx, sha256.Sum256([]byte("other")), 5, 0)
	if err == nil {
		_, err = w.Write([]byte("other"))
	}
	wantReason(t, err, reason.DiskFull)
	wantFiles(t, d, rel(t, d, d.partName(sum)))

	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	w = writer(t, d, sum, int64(len(data)), 480_000)
	if _, err := w.Write(data[480_000:]); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, d, sum, int64(len(data)), true)
}

// fill writes a file until the disk is full.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := io.Copy(f, io.LimitReader(endless{}, 1<<30)); err == nil {
		t.Fatal("the disk does not fill")
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return copy(p, bytes.Repeat([]byte{1}, len(p))), nil }
