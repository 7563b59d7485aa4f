package integration

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/countersign-ota/countersign/integration/world"
)

// programs are the three real programs, built once for all tests of this package.
var programs world.Programs

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "countersign-integration-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		defer cancel()
		root, err := world.Root()
		if err == nil {
			programs, err = world.Build(ctx, root, dir)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}())
}

// start returns a deployment with a running server, three people, and the product gw-100.
func start(t *testing.T) *world.World {
	t.Helper()
	w, err := world.New(filepath.Join(t.TempDir(), "world"), "acme", programs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	must(t, w.Start())
	must(t, w.AddProduct("gw-100", world.TwoClasses))
	return w
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// image puts firmware of n bytes onto Engineer's desk and returns its bytes.
func image(t *testing.T, w *world.World, name string, n int, fill byte) []byte {
	t.Helper()
	data := make([]byte, n)
	for i := range data {
		data[i] = fill + byte(i*i>>7)
	}
	must(t, w.Put(world.Engineer, name, string(data)))
	return data
}
