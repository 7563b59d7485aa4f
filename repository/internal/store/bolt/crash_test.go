package bolt

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/countersign-ota/countersign/internal/durable"
)

// TestMain turns the test program into a writer, which prints each id that was acknowledged to it.
func TestMain(m *testing.M) {
	if path := os.Getenv("BOLT_TEST_PATH"); path != "" {
		if err := writeTokens(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

const (
	crashWriters = 8
	crashTokens  = 40
)

func writeTokens(path string) error {
	s, err := Open(path, Options{})
	if errors.Is(err, fs.ErrNotExist) {
		s, err = Create(path, Options{})
	}
	if err != nil {
		return err
	}
	fmt.Println("open")
	run := time.Now().UnixNano()
	var wg sync.WaitGroup
	errs := make([]error, crashWriters)
	for w := range crashWriters {
		wg.Go(func() {
			for i := range crashTokens {
				id := fmt.Sprintf("%d-%d-%d", run, w, i)
				if errs[w] = put(s, id, fmt.Sprintf("%01000d", i)); errs[w] != nil {
					return
				}
				fmt.Println(id)
			}
		})
	}
	wg.Wait()
	return errors.Join(append(errs, s.Close())...)
}

// writer runs a child until it ends or until killAfter acknowledged changes, and adds what it
// acknowledged.
func writer(t *testing.T, path string, killAfter int, acknowledged map[string]bool, env ...string) error {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(append(os.Environ(), "BOLT_TEST_PATH="+path), env...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for n := 0; lines.Scan(); n++ {
		if lines.Text() != "open" {
			acknowledged[lines.Text()] = true
		}
		if n == killAfter {
			_ = cmd.Process.Kill()
		}
	}
	return cmd.Wait()
}

// A server that is killed at any moment has all that it acknowledged, and a sound file.
func TestKilledWriter(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 2))
	path := filepath.Join(t.TempDir(), "store.db")
	acknowledged := map[string]bool{}
	for range 8 {
		after := r.IntN(crashWriters * crashTokens / 2)
		if err := writer(t, path, after, acknowledged); err == nil {
			t.Errorf("the writer ended by itself after %d", after)
		}
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) && len(acknowledged) == 0 {
			continue
		}
		wantTokens(t, path, acknowledged)
	}
	if len(acknowledged) < crashWriters {
		t.Errorf("only %d changes", len(acknowledged))
	}
	if err := durable.Sweep(filepath.Dir(path)); err != nil {
		t.Error(err)
	}
}
