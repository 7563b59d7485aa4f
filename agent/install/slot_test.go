package install

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/countersign-ota/countersign/proto/reason"
)

// bootScript is a boot loader in a folder: which slot runs and the state of each, one file each, and
// a log of all calls. It refuses what a real one would have to refuse.
const bootScript = `#!/bin/sh
set -e
cd "$(dirname "$0")"
echo "$*" >>log
[ -e broken ] && { echo "flash says no" >&2; exit 3; }
case "$1" in
current) cat current ;;
state) cat "state.$2" ;;
mark)
	[ "$2" != "$(cat current)" ] || [ "$3" = unbootable ] || exit 4
	printf %s "$3" >state.new; sync state.new 2>/dev/null; mv state.new "state.$2" ;;
good) printf good >state.new; mv state.new "state.$2" ;;
*) exit 2 ;;
esac
`

type machine struct {
	t    *testing.T
	dir  string
	boot Boot
	slot *Slot
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{t: t, dir: t.TempDir()}
	m.write("boot", bootScript)
	if err := os.Chmod(m.path("boot"), 0o755); err != nil {
		t.Fatal(err)
	}
	m.write("current", "a")
	m.write("state.a", "good")
	m.write("state.b", "unbootable")
	m.write("a", "factory image")
	m.write("b", "")
	m.boot = NewBoot(m.path("boot"))
	m.slot = m.restart()
	return m
}

func (m *machine) path(name string) string { return filepath.Join(m.dir, name) }

func (m *machine) write(name, content string) {
	m.t.Helper()
	if err := os.WriteFile(m.path(name), []byte(content), 0o600); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) read(name string) string {
	m.t.Helper()
	b, err := os.ReadFile(m.path(name))
	if err != nil {
		m.t.Fatal(err)
	}
	return string(b)
}

// restart is what a new process of the agent has.
func (m *machine) restart() *Slot {
	return NewSlot(SlotConfig{A: m.path("a"), B: m.path("b"), Boot: m.boot, State: m.path("slots")})
}

// reboot is the boot loader's part: a slot on trial is tried once.
func (m *machine) reboot() {
	m.t.Helper()
	current := m.read("current")
	other := map[string]string{"a": "b", "b": "a"}[current]
	switch {
	case m.read("state."+other) == "trial" && m.read("state."+current) == "good":
		m.write("current", other)
	case m.read("state."+current) == "trial": // it was tried and not confirmed
		m.write("state."+current, "unbootable")
		m.write("current", other)
	case m.read("state."+current) == "unbootable":
		m.write("current", other)
	}
	if m.read("state."+m.read("current")) == "unbootable" {
		m.t.Fatal("the machine does not boot")
	}
}

func (m *machine) image(content string) Image {
	m.t.Helper()
	name := fmt.Sprintf("staged-%x", sha256.Sum256([]byte(content)))[:20]
	m.write(name, content)
	return Image{
		Component: "main", Path: "gw-100/2.4.1/gw.img", Counter: 17, Length: int64(len(content)),
		SHA256: sha256.Sum256([]byte(content)), File: m.path(name),
	}
}

func (m *machine) running() Running {
	m.t.Helper()
	run, err := m.restart().Running(m.t.Context())
	if err != nil {
		m.t.Fatal(err)
	}
	return run
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// big is content of several buffers and no whole number of blocks.
func big(seed byte) string {
	b := make([]byte, 3*copySize+777)
	for i := range b {
		b[i] = byte(i*31+i>>9) ^ seed
	}
	return string(b)
}

// Each step is done three times, each time as if the agent had started anew: the second and third
// change nothing.
func TestSlotTrial(t *testing.T) {
	for _, end := range []string{"confirm", "revert", "no confirmation"} {
		t.Run(end, func(t *testing.T) {
			m := newMachine(t)
			img := m.image(big(1))
			factory := m.read("a")
			step := func(f func(*Slot) error) {
				t.Helper()
				for range 3 {
					check(t, f(m.restart()))
				}
			}
			step(func(s *Slot) error { return s.Install(t.Context(), img) })
			if m.read("state.b") != "unbootable" || m.read("b") != big(1) {
				t.Fatal("slot b is bootable or not written after Install")
			}
			step(func(s *Slot) error { return s.Activate(t.Context(), img) })
			if run := m.running(); run != (Running{Slot: "a", Next: "b", NeedsReboot: true}) {
				t.Errorf("activated: %+v", run)
			}
			step(func(s *Slot) error { return s.Install(t.Context(), img) })
			if m.read("state.b") != "trial" {
				t.Fatal("a repeated Install took the trial back")
			}
			m.reboot()
			if run := m.running(); run != (Running{SHA256: img.SHA256, Slot: "b", Trial: true}) {
				t.Errorf("on trial: %+v", run)
			}
			// An agent that does not know that it got this far repeats what it did; the way back stays.
			step(func(s *Slot) error { return s.Install(t.Context(), img) })
			step(func(s *Slot) error { return s.Activate(t.Context(), img) })
			if m.read("a") != factory || m.read("state.a") != "good" {
				t.Fatal("the way back was touched")
			}
			switch end {
			case "confirm":
				step(func(s *Slot) error { return s.Confirm(t.Context()) })
				m.reboot()
				if run := m.running(); run != (Running{SHA256: img.SHA256, Slot: "b"}) {
					t.Errorf("confirmed: %+v", run)
				}
				// The next one goes into the slot that the factory filled.
				next := m.image(big(2))
				check(t, m.slot.Install(t.Context(), next))
				check(t, m.slot.Activate(t.Context(), next))
				m.reboot()
				if run := m.running(); run.SHA256 != next.SHA256 || run.Slot != "a" {
					t.Errorf("next: %+v", run)
				}
			case "revert":
				step(func(s *Slot) error { return s.Revert(t.Context()) })
				if run := m.running(); run != (Running{SHA256: img.SHA256, Slot: "b", Next: "a", NeedsReboot: true}) {
					t.Errorf("reverting: %+v", run)
				}
				m.reboot()
				step(func(s *Slot) error { return s.Revert(t.Context()) })
				if run := m.running(); run != (Running{Slot: "a"}) || m.read("state.b") != "unbootable" {
					t.Errorf("reverted: %+v", run)
				}
			case "no confirmation":
				m.reboot()
				if run := m.running(); run != (Running{Slot: "a"}) {
					t.Errorf("boot loader went back: %+v", run)
				}
			}
		})
	}
}

func TestSlotRevertBeforeTheReboot(t *testing.T) {
	m := newMachine(t)
	img := m.image("new")
	check(t, m.slot.Install(t.Context(), img))
	check(t, m.slot.Activate(t.Context(), img))
	check(t, m.slot.Revert(t.Context()))
	m.reboot()
	if run := m.running(); run != (Running{Slot: "a"}) || m.read("state.b") != "unbootable" {
		t.Errorf("%+v, slot b %s", run, m.read("state.b"))
	}
}

// From before the first byte until the read-back, the slot cannot boot.
func TestSlotIsUnbootableWhileItIsNotWhole(t *testing.T) {
	m := newMachine(t)
	m.write("state.b", "good")
	img := m.image("new")
	missing := img
	missing.File = m.path("nothing")
	if err := m.slot.Install(t.Context(), missing); !reason.Is(err, reason.InstallFailed) {
		t.Fatalf("%v [%s]", err, reason.Of(err))
	}
	if m.read("state.b") != "unbootable" {
		t.Error("slot b is bootable after a failed Install")
	}
	if err := m.slot.Activate(t.Context(), img); !reason.Is(err, reason.InstallFailed) || m.read("state.b") != "unbootable" {
		t.Errorf("activated what is not there: %v [%s]", err, reason.Of(err))
	}
}

func TestSlotRefusesOtherBytes(t *testing.T) {
	cases := []struct {
		name  string
		spoil func(m *machine, img *Image)
		after func(m *machine)
		want  reason.Reason
	}{
		{"staged file changed", func(m *machine, img *Image) { m.write(filepath.Base(img.File), "evil") }, nil, reason.HashMismatch},
		{"staged file longer", func(m *machine, img *Image) { img.Length--; img.SHA256[0] ^= 1 }, nil, reason.LengthMismatch},
		{"staged file shorter", func(m *machine, img *Image) { img.Length++ }, nil, reason.LengthMismatch},
		{"slot changed before activation", nil, func(m *machine) { m.write("b", "eviL") }, reason.HashMismatch},
		{"slot shorter", nil, func(m *machine) { m.write("b", "goo") }, reason.LengthMismatch},
		{"slot gone", nil, func(m *machine) { _ = os.Remove(m.path("b")) }, reason.InstallFailed},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m := newMachine(t)
			img := m.image("good")
			if c.spoil != nil {
				c.spoil(m, &img)
			}
			err := m.slot.Install(t.Context(), img)
			if err == nil && c.after != nil {
				c.after(m)
				err = m.slot.Activate(t.Context(), img)
			}
			if !reason.Is(err, c.want) {
				t.Errorf("%v [%s], want [%s]", err, reason.Of(err), c.want)
			}
			if m.read("state.b") != "unbootable" {
				t.Error("slot b is bootable")
			}
			m.reboot()
			if run := m.running(); run != (Running{Slot: "a"}) || m.read("a") != "factory image" {
				t.Errorf("%+v", run)
			}
		})
	}
}

func TestSlotIsStuckRatherThanDead(t *testing.T) {
	m := newMachine(t)
	m.write("current", "b")
	m.write("state.a", "unbootable")
	m.write("state.b", "trial")
	if err := m.slot.Revert(t.Context()); !reason.Is(err, reason.Stuck) || m.read("state.b") != "trial" {
		t.Errorf("revert without a way back: %v [%s], slot b %s", err, reason.Of(err), m.read("state.b"))
	}
	if err := m.slot.Install(t.Context(), m.image("x")); !reason.Is(err, reason.InstallFailed) {
		t.Errorf("install during a trial: %v [%s]", err, reason.Of(err))
	}
	m.write("state.a", "good")
	if err := m.slot.MarkUnbootable(t.Context(), [32]byte{}); !reason.Is(err, reason.Stuck) || m.read("state.a") != "good" {
		t.Errorf("the way back was taken: %v [%s]", err, reason.Of(err))
	}
	if err := m.slot.Install(t.Context(), m.image("x")); !reason.Is(err, reason.InstallFailed) || m.read("a") != "factory image" {
		t.Errorf("install during a trial: %v [%s]", err, reason.Of(err))
	}
}

func TestFallbackAndMarkUnbootable(t *testing.T) {
	m := newMachine(t)
	if _, ok, err := m.slot.Fallback(t.Context()); ok || err != nil {
		t.Errorf("fallback of a new machine: %v, %v", ok, err)
	}
	one, two := m.image("one"), m.image("two")
	for _, img := range []Image{one, two} {
		check(t, m.slot.Install(t.Context(), img))
		check(t, m.slot.Activate(t.Context(), img))
		m.reboot()
		check(t, m.slot.Confirm(t.Context()))
	}
	if sha, ok, err := m.slot.Fallback(t.Context()); sha != one.SHA256 || !ok || err != nil {
		t.Errorf("fallback %x, %v, %v", sha, ok, err)
	}
	if err := m.slot.MarkUnbootable(t.Context(), two.SHA256); !reason.Is(err, reason.Stuck) {
		t.Errorf("what runs: %v [%s]", err, reason.Of(err))
	}
	check(t, m.slot.MarkUnbootable(t.Context(), [32]byte{9}))
	if m.read("state.b") != "good" {
		t.Error("another image's slot was marked")
	}
	for range 2 {
		check(t, m.slot.MarkUnbootable(t.Context(), one.SHA256))
	}
	if m.read("state.b") != "unbootable" || m.read("state.a") != "good" {
		t.Errorf("a %s, b %s", m.read("state.a"), m.read("state.b"))
	}
	if _, ok, _ := m.slot.Fallback(t.Context()); ok {
		t.Error("an unbootable slot is a fallback")
	}
}

// A damaged record says nothing, and the next installation begins a new one.
func TestDamagedSlotRecord(t *testing.T) {
	for name, damage := range map[string]func([]byte) []byte{
		"empty":     func([]byte) []byte { return nil },
		"truncated": func(b []byte) []byte { return b[:len(b)-2] },
		"zeroed":    func(b []byte) []byte { clear(b); return b },
		"flipped":   func(b []byte) []byte { b[30] ^= 1; return b },
		"huge":      func(b []byte) []byte { return append(b, make([]byte, maxRecord)...) },
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			img := m.image("one")
			check(t, m.slot.Install(t.Context(), img))
			check(t, m.slot.Activate(t.Context(), img))
			m.reboot()
			check(t, m.slot.Confirm(t.Context()))
			m.write("slots", string(damage([]byte(m.read("slots")))))
			if run := m.running(); run != (Running{Slot: "b"}) {
				t.Errorf("%+v", run)
			}
			next := m.image("two")
			check(t, m.slot.Install(t.Context(), next))
			check(t, m.slot.Activate(t.Context(), next))
			m.reboot()
			if run := m.running(); run.SHA256 != next.SHA256 {
				t.Errorf("%+v", run)
			}
		})
	}
}

func TestOneSlotTwice(t *testing.T) {
	m := newMachine(t)
	if err := os.Remove(m.path("b")); err != nil {
		t.Fatal(err)
	}
	check(t, os.Link(m.path("a"), m.path("b")))
	if err := m.slot.Install(t.Context(), m.image("x")); !reason.Is(err, reason.Config) || m.read("a") != "factory image" {
		t.Errorf("%v [%s]", err, reason.Of(err))
	}
}

func TestCancelledInstallLeavesTheSlotUnbootable(t *testing.T) {
	m := newMachine(t)
	m.write("state.b", "good")
	ctx, cancel := context.WithCancel(t.Context())
	img := m.image(big(1))
	check(t, m.boot.Mark(ctx, "b", Unbootable))
	cancel()
	if err := write(ctx, m.path("b"), img); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if err := m.slot.Install(ctx, img); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
