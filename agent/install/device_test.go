package install

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/countersign-ota/countersign/proto/reason"
)

// Slots as block devices: the image fits or is refused, a mounted slot is never written.
func TestSlotOnABlockDevice(t *testing.T) {
	m := newMachine(t)
	backing := m.path("backing")
	check(t, os.WriteFile(backing, make([]byte, 1<<20), 0o600))
	out, err := exec.Command("losetup", "--find", "--show", backing).Output()
	if err != nil {
		t.Skipf("no loop device: %v", err)
	}
	device := strings.TrimSpace(string(out))
	t.Cleanup(func() {
		if err := exec.Command("losetup", "--detach", device).Run(); err != nil {
			t.Error(err)
		}
	})
	s := NewSlot(SlotConfig{A: m.path("a"), B: device, Boot: m.boot, State: m.path("slots")})
	img := m.image(big(3))
	check(t, s.Install(t.Context(), img))
	check(t, s.Activate(t.Context(), img))
	if got, err := os.ReadFile(backing); err != nil || !bytes.HasPrefix(got, []byte(big(3))) || m.read("state.b") != "trial" {
		t.Errorf("device holds something else (%v), slot b %s", err, m.read("state.b"))
	}
	check(t, s.Revert(t.Context()))

	large := m.image(strings.Repeat("x", 1<<20+1))
	if err := s.Install(t.Context(), large); !reason.Is(err, reason.DiskFull) {
		t.Errorf("too large: %v [%s], want [disk-full]", err, reason.Of(err))
	}

	if err := exec.Command("mkfs.ext4", "-q", device).Run(); err != nil {
		t.Skipf("no file system to mount: %v", err)
	}
	mount := t.TempDir()
	if err := exec.Command("mount", device, mount).Run(); err != nil {
		t.Skipf("cannot mount: %v", err)
	}
	defer func() { _ = exec.Command("umount", mount).Run() }()
	if err := s.Install(t.Context(), img); !reason.Is(err, reason.InstallFailed) {
		t.Errorf("mounted: %v [%s], want [install-failed]", err, reason.Of(err))
	}
}
