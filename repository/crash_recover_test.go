//go:build faults

package repository_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/repository"
)

// asChild runs this test binary for one piece of work. With n > 0 it kills itself at its n-th step.
func asChild(t *testing.T, n int, drop bool, env ...string) (killed bool) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), env...)
	if n > 0 {
		cmd.Env = append(cmd.Env, fmt.Sprintf("COUNTERSIGN_FAULT_AT=%d", n))
	}
	if drop {
		cmd.Env = append(cmd.Env, "COUNTERSIGN_FAULT_DROP=1")
	}
	out, err := cmd.CombinedOutput()
	if err == nil {
		return false
	}
	if n == 0 {
		t.Fatalf("%v: %s", err, out)
	}
	wantKilled(t, err)
	return true
}

// wantSound fails unless a server's directory is sound.
func (b *bed) wantSound(dir string, what string) {
	b.t.Helper()
	r, err := repository.Check(ctx, dir, b.clock.now())
	if err != nil || len(r.Problems) > 0 {
		b.t.Errorf("%s: check: %v, %v", what, err, r)
	}
}

// Backup is killed before each of its steps: there is a whole copy under its name, or none, and restore
// refuses what is left; the same command then makes it.
func TestPowerCutInBackup(t *testing.T) {
	b := newBed(t)
	b.found(basicPlan)
	b.released("2.4.0")
	b.stop()
	whole, half := 0, 0
	config := backupChild + "=" + filepath.Join(b.dir, repository.ConfigFile)
	rounds(t, 3, func(n int, drop bool) bool {
		dir := t.TempDir()
		dest := filepath.Join(dir, "copy")
		killed := asChild(t, n, drop, config, destChild+"="+dest)
		if _, err := os.Stat(dest); err == nil {
			whole++
		} else {
			half++
			_, err := repository.Restore(ctx, repository.RestoreOptions{Source: filepath.Join(dir, ".copy.unfinished"), Dir: filepath.Join(dir, "no")})
			// All of it may be there, and only its name be missing.
			if _, statErr := os.Stat(filepath.Join(dir, ".copy.unfinished", repository.ManifestFile)); statErr != nil {
				wantReason(t, err, reason.Malformed)
			}
			asChild(t, 0, false, config, destChild+"="+dest)
		}
		to := filepath.Join(dir, "restored")
		if _, err := repository.Restore(ctx, repository.RestoreOptions{Source: dest, Dir: to}); err != nil {
			t.Errorf("step %d: restore: %v", n, err)
		} else {
			b.wantSound(to, fmt.Sprintf("step %d", n))
		}
		return killed && !t.Failed()
	})
	if whole == 0 || half == 0 {
		t.Errorf("%d rounds ended with a copy, %d without: the kills do not surround its birth", whole, half)
	}
}

// Restore is killed before each of its steps: there is a whole server that must be recovered, or none, and
// the same command makes it.
func TestPowerCutInRestore(t *testing.T) {
	b := newBed(t)
	b.found(basicPlan)
	b.released("2.4.0")
	copied := b.backup()
	b.stop()
	whole, none := 0, 0
	rounds(t, 3, func(n int, drop bool) bool {
		if err := os.RemoveAll(b.dir); err != nil {
			t.Fatal(err)
		}
		killed := asChild(t, n, drop, restoreChild+"="+copied)
		if _, err := os.Stat(b.dir); err == nil {
			whole++
		} else {
			none++
			asChild(t, 0, false, restoreChild+"="+copied)
		}
		b.wantSound(b.dir, fmt.Sprintf("step %d", n))
		if plan, err := repository.PlanRecovery(ctx, b.cfg, nil); err != nil || plan.GetRestored() == "" {
			t.Errorf("step %d: a server without the mark: %v, %v", n, plan, err)
		}
		return killed && !t.Failed()
	})
	if whole == 0 || none == 0 {
		t.Errorf("%d rounds ended with a server, %d without: the kills do not surround its birth", whole, none)
	}
}

// Recover is killed before each of its steps: all of it happened or nothing, and the same command does the
// rest without skipping versions twice.
func TestPowerCutInRecover(t *testing.T) {
	b := newBed(t)
	b.found(basicPlan)
	b.released("2.4.0")
	copied := b.backup()
	b.released("2.4.1")
	kept := b.seen(everything...)
	b.lose(copied)
	b.start()
	b.offer(kept)
	b.sendFirmware("2.4.1")
	b.stop()
	restore := b.keep()
	config := recoverChild + "=" + filepath.Join(b.dir, repository.ConfigFile)
	before, after := 0, 0
	rounds(t, 1, func(n int, drop bool) bool {
		restore()
		killed := asChild(t, n, drop, config)
		plan, err := repository.PlanRecovery(ctx, b.cfg, nil)
		if err != nil {
			t.Fatalf("step %d: %v", n, err)
		}
		if l := roleOf(plan, "image", "gw-100"); plan.GetDue() {
			before++
			if l.GetHere() != 2 || l.GetNewest() != 3 || plan.GetRestored() == "" {
				t.Errorf("step %d: half recovered: %v", n, plan)
			}
		} else {
			after++
			if l.GetHere() != 3 {
				t.Errorf("step %d: recovered without the newer file: %v", n, plan)
			}
		}
		asChild(t, 0, false, config)
		b.wantSound(b.dir, fmt.Sprintf("step %d", n))
		b.start()
		b.login(b.token(filepath.Join(b.dir, "rivera.token"))) // whenever it died, the same command brings one
		if p, err := b.operators["rivera"].Published(ctx, "image", "gw-100", 0); err != nil || p.Version != 3+16 || p.Counter != 2+16 {
			t.Errorf("step %d: used up to %d and %d, %v", n, p.Version, p.Counter, err)
		}
		b.stop()
		return killed && !t.Failed()
	})
	if before == 0 || after == 0 {
		t.Errorf("%d rounds ended before recovery, %d after: the kills do not surround it", before, after)
	}
}
