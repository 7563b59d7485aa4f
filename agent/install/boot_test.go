package install

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/countersign-ota/countersign/proto/reason"
)

func TestBoot(t *testing.T) {
	cases := []struct {
		name, script string
		want         string
	}{
		{"fails", "echo no flash >&2; exit 3", `exit status 3: "no flash"`},
		{"says nothing", "exit 0", `answered ""`},
		{"says two words", "echo a b", `answered "a b"`},
		{"says control characters", `printf 'a\033[31m'`, "answered"},
		{"floods", "yes", "printed more than"},
		{"floods errors", "yes >&2", "printed more than"},
		{"hangs", "sleep 1000", "took longer than"},
		{"leaves a child that holds the pipe", "sleep 1000 & sleep 1000", "took longer than"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "boot")
			check(t, os.WriteFile(path, []byte("#!/bin/sh\n"+c.script+"\n"), 0o755))
			b := Boot{Command: path, Timeout: 10 * time.Second}
			if strings.Contains(c.want, "longer") {
				b.Timeout = 100 * time.Millisecond
			}
			if c.want == "printed more than" {
				b.Timeout = time.Second
			}
			_, err := b.Current(t.Context())
			if !reason.Is(err, reason.InstallFailed) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v [%s], want %q", err, reason.Of(err), c.want)
			}
		})
	}
	t.Run("is missing", func(t *testing.T) {
		if _, err := NewBoot("/nowhere/boot").Current(t.Context()); !reason.Is(err, reason.InstallFailed) {
			t.Errorf("%v [%s]", err, reason.Of(err))
		}
	})
	t.Run("lies about a mark", func(t *testing.T) {
		m := newMachine(t)
		check(t, os.WriteFile(m.path("boot"), []byte("#!/bin/sh\ncase $1 in current) echo a;; state) echo good;; esac\n"), 0o755))
		err := m.slot.Install(t.Context(), m.image("x"))
		if !reason.Is(err, reason.InstallFailed) || m.read("b") != "" {
			t.Errorf("%v [%s], slot b %q", err, reason.Of(err), m.read("b"))
		}
	})
	t.Run("answers oddly", func(t *testing.T) {
		m := newMachine(t)
		m.write("current", "c")
		if _, err := m.slot.Running(t.Context()); !reason.Is(err, reason.InstallFailed) {
			t.Errorf("slot c: %v [%s]", err, reason.Of(err))
		}
		m.write("current", "a")
		m.write("state.a", "excellent")
		if _, err := m.slot.Running(t.Context()); !reason.Is(err, reason.InstallFailed) {
			t.Errorf("state excellent: %v [%s]", err, reason.Of(err))
		}
	})
}
