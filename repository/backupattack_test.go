package repository_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/repository"
)

// Beside the name of a copy or a restored directory others may have put something in the way, where the
// folder is everybody's: nothing of theirs is used, nothing behind their links is removed.
func TestUnfinishedOfOthersIsNotUsed(t *testing.T) {
	b := newBed(t)
	copied := b.backup()
	for what, make := range map[string]func(dest string) error{
		"backup": func(dest string) error {
			_, err := repository.Backup(ctx, b.cfg, b.config(), dest)
			return err
		},
		"restore": func(dest string) error {
			_, err := repository.Restore(ctx, repository.RestoreOptions{Source: copied, Dir: dest})
			return err
		},
	} {
		t.Run(what, func(t *testing.T) {
			shared := t.TempDir()
			victim := filepath.Join(t.TempDir(), "victim")
			if err := os.MkdirAll(victim, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(victim, "precious"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(victim, filepath.Join(shared, ".new.unfinished")); err != nil {
				t.Fatal(err)
			}
			err := make(filepath.Join(shared, "new"))
			wantReason(t, err, reason.SecretExposed)
			if err == nil || !strings.Contains(err.Error(), ".new.unfinished") {
				t.Errorf("%v", err)
			}
			if _, err := os.Stat(filepath.Join(victim, "precious")); err != nil {
				t.Errorf("behind the link: %v", err)
			}
			if os.Geteuid() != 0 {
				return // only root can make a folder of somebody else's
			}
			theirs := filepath.Join(shared, ".other.unfinished")
			if err := os.Mkdir(theirs, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.Chown(theirs, 65534, 65534); err != nil {
				t.Fatal(err)
			}
			wantReason(t, make(filepath.Join(shared, "other")), reason.SecretExposed)
			ours := filepath.Join(shared, ".third.unfinished") // as a killed process leaves it, opened up since
			if err := os.Mkdir(ours, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(ours, 0o777); err != nil {
				t.Fatal(err)
			}
			if err := make(filepath.Join(shared, "third")); err != nil {
				t.Fatal(err)
			}
			if info, err := os.Stat(filepath.Join(shared, "third")); err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("%v, %v", info, err)
			}
		})
	}
}

// The server's directory may be a link, as systemd makes one; a key in it may be one too. The copy holds
// what is behind the first, and says that it lacks what is behind the second.
func TestBackupBehindLinks(t *testing.T) {
	b := newBed(t)
	b.stop()
	elsewhere := t.TempDir()
	for from, to := range map[string]string{
		filepath.Join(b.dir, "online", "image.key"): filepath.Join(elsewhere, "image.key"),
		b.dir: filepath.Join(elsewhere, "server"),
	} {
		if _, err := os.Lstat(from); err != nil {
			continue
		}
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(elsewhere, "server"), b.dir); err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(b.dir, "online", "image.key")
	if _, err := os.Lstat(key); err == nil { // the directory was moved first
		if err := os.Rename(key, filepath.Join(elsewhere, "image.key")); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(elsewhere, "image.key"), key); err != nil {
		t.Fatal(err)
	}
	b.start()
	dest := filepath.Join(t.TempDir(), "copy")
	m, err := repository.Backup(ctx, b.cfg, b.config(), dest)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"online/director.key", "identity/intermediate.key", "online.pub"} {
		if _, err := os.Stat(filepath.Join(dest, name)); err != nil {
			t.Errorf("the copy: %v", err)
		}
	}
	if !strings.Contains(strings.Join(m.Outside, "\n"), "online/image.key") {
		t.Errorf("outside: %q", m.Outside)
	}
}

// A backup that somebody copies into place by hand is not a restored server, and would sign versions that
// the field has with other content: it does not start.
func TestBackupIsNoServer(t *testing.T) {
	b := newBed(t)
	copied := b.backup()
	b.stop()
	if err := os.RemoveAll(b.dir); err != nil {
		t.Fatal(err)
	}
	copyDir(t, copied, b.dir)
	s, err := repository.Open(ctx, b.cfg)
	wantReason(t, err, reason.RecoverFirst)
	if err == nil {
		s.Close()
	}
	if err == nil || !strings.Contains(reason.HintOf(err), "countersignd restore") {
		t.Errorf("%v, hint %q", err, reason.HintOf(err))
	}
	if r, err := repository.Check(ctx, b.dir, b.clock.now()); err != nil || len(r.Problems) > 0 {
		t.Errorf("check of a copy: %v, %v", r, err)
	}
}
