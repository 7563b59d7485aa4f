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
	os.Exit(m.Run())
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
