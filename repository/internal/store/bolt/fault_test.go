//go:build faults

package bolt

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Killed before and after each commit, and at each step of Create, the store is not there or sound,
// with all that was acknowledged.
func TestKilledAtEachStep(t *testing.T) {
	count := filepath.Join(t.TempDir(), "count")
	err := writer(t, filepath.Join(t.TempDir(), "store.db"), -1, map[string]bool{}, "COUNTERSIGN_FAULT_COUNT="+count)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := os.ReadFile(count)
	if err != nil {
		t.Fatal(err)
	}
	steps := strings.Split(strings.TrimSpace(string(lines)), "\n")
	for at := range min(len(steps), 12) {
		kind := strings.Fields(steps[at])[1]
		for _, drop := range []string{"", "1"} {
			t.Run(fmt.Sprintf("step %d %s/drop %q", at+1, kind, drop), func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "store.db")
				acknowledged := map[string]bool{}
				err := writer(t, path, -1, acknowledged, fmt.Sprintf("COUNTERSIGN_FAULT_AT=%d", at+1), "COUNTERSIGN_FAULT_DROP="+drop)
				if err == nil {
					t.Fatal("the writer was not killed")
				}
				if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) || len(acknowledged) > 0 {
					wantTokens(t, path, acknowledged)
				}
				if err := writer(t, path, -1, acknowledged); err != nil {
					t.Fatalf("going on: %v", err)
				}
				wantTokens(t, path, acknowledged)
			})
		}
	}
}
