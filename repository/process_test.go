package repository_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/countersign-ota/countersign/repository"
)

// child is the environment variable that makes this test binary a server: the value names its
// configuration.
const child = "COUNTERSIGN_TEST_SERVER"

// initChild makes this test binary make a server's directory, which the value names.
const initChild = "COUNTERSIGN_TEST_INIT"

func TestMain(m *testing.M) {
	if config := os.Getenv(child); config != "" {
		if err := serveChild(config); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if dir := os.Getenv(initChild); dir != "" {
		_, err := repository.Init(context.Background(), repository.InitOptions{
			Deployment: "acme", URL: "https://updates.example", Dir: dir, Operator: "rivera", Passphrase: []byte("secret"),
		})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if done, err := doChild(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	} else if done {
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// Work that this test binary does as a process of its own: the value is the configuration for backup and
// recover, which take destChild, and the backup for restore.
const (
	backupChild  = "COUNTERSIGN_TEST_BACKUP"
	restoreChild = "COUNTERSIGN_TEST_RESTORE"
	recoverChild = "COUNTERSIGN_TEST_RECOVER"
	destChild    = "COUNTERSIGN_TEST_DEST"
)

// doChild does the work that the environment asks for; done is false when it asks for none.
func doChild(ctx context.Context) (done bool, err error) {
	if source := os.Getenv(restoreChild); source != "" {
		_, err := repository.Restore(ctx, repository.RestoreOptions{Source: source})
		return true, err
	}
	for _, name := range []string{backupChild, recoverChild} {
		config := os.Getenv(name)
		if config == "" {
			continue
		}
		data, err := os.ReadFile(config)
		if err != nil {
			return true, err
		}
		cfg, err := repository.ParseConfig(config, data)
		if err != nil {
			return true, err
		}
		if name == backupChild {
			_, err = repository.Backup(ctx, *cfg, data, os.Getenv(destChild))
			return true, err
		}
		plan, err := repository.PlanRecovery(ctx, *cfg, nil)
		if err != nil {
			return true, err
		}
		_, err = repository.Recover(ctx, *cfg, &repository.Recovery{Plan: plan.GetId(), Invite: []string{"rivera"}})
		return true, err
	}
	return false, nil
}

func serveChild(config string) error {
	cfg, err := repository.LoadConfig(config)
	if err != nil {
		return err
	}
	cfg.Log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	s, err := repository.Open(ctx, *cfg)
	if err != nil {
		return err
	}
	return errors.Join(s.Serve(ctx), s.Close())
}

// startProcess starts the server as a process of its own, with more environment, and returns it. It
// is waited for by whoever kills it; stop ends it in good order.
func (b *bed) startProcess(env ...string) *exec.Cmd {
	b.t.Helper()
	self, err := os.Executable()
	if err != nil {
		b.t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(append(os.Environ(), "GOGC=300", child+"="+filepath.Join(b.dir, repository.ConfigFile)), env...)
	cmd.Stderr = b.log
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	b.end = func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			b.t.Errorf("server: %v", err)
		}
	}
	waitFor(b.t, b.cfg.GRPC)
	waitFor(b.t, b.webAddress())
	return cmd
}

// copyDir copies a folder with its modes.
func copyDir(t testing.TB, from, to string) {
	t.Helper()
	if out, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}
