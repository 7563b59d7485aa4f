package stage

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/countersign-ota/countersign/proto/reason"
)

// small mounts a file system of 2 MiB and returns a directory on it.
func small(t *testing.T) *Dir {
	t.Helper()
	mount := t.TempDir()
	if err := unix.Mount("tmpfs", mount, "tmpfs", 0, "size=2m"); err != nil {
		t.Skipf("cannot mount a small file system: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(mount, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	d, err := Open(mount+"/stage", quick())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestSmallDisk(t *testing.T) {
	t.Run("too large from the start", func(t *testing.T) {
		d, s := small(t), &serve{data: image(3 << 20)}
		if _, err := d.Stage(t.Context(), fileOf(s.data), s.open, nil); !reason.Is(err, reason.DiskFull) || len(s.offsets) != 0 {
			t.Errorf("got %v, asked %v", err, s.offsets)
		}
	})
	// Somebody else takes the space in the middle: what was staged gives its own back.
	t.Run("full in the middle", func(t *testing.T) {
		d, data := small(t), image(1<<20)
		hog := d.path + "/../hog"
		s := &serve{data: data}
		_, err := d.Stage(t.Context(), fileOf(data), s.open, func(done, _ int64) {
			if done == bufferSize {
				_ = os.WriteFile(hog, make([]byte, 2<<20), 0o600)
			}
		})
		if !reason.Is(err, reason.DiskFull) {
			t.Fatalf("got %v [%s], want [disk-full]", err, reason.Of(err))
		}
		if got := names(t, d); len(got) != 0 {
			t.Errorf("left behind: %q", got)
		}
		if err := os.Remove(hog); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Stage(t.Context(), fileOf(data), s.open, nil); err != nil {
			t.Fatal(err)
		}
		whole(t, d, data)
	})
}
