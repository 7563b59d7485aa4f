package agent

import (
	"os/exec"
	"strings"
	"testing"
)

// TestDependencies: what is too large for a device, or maps memory, stays out of it (DESIGN 2), and no
// package needs cgo.
func TestDependencies(t *testing.T) {
	cmd := exec.Command("go", "list", "-deps", "-tags", "grpcnotrace", "-f", "{{.ImportPath}} {{len .CgoFiles}}",
		".", "../cmd/countersign-agent")
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		path, cgo, _ := strings.Cut(strings.TrimSpace(line), " ")
		for _, not := range []string{
			"go.etcd.io/bbolt", "github.com/spf13/cobra", "github.com/prometheus", "github.com/transparency-dev/tessera",
			"html/template", "text/template", "golang.org/x/net/trace", "github.com/vbauerster/mpb",
		} {
			if path == not || strings.HasPrefix(path, not+"/") {
				t.Errorf("the agent imports %s", path)
			}
		}
		if strings.HasPrefix(path, "github.com/countersign-ota/countersign/repository") ||
			strings.HasPrefix(path, "github.com/countersign-ota/countersign/signer") {
			t.Errorf("the agent imports %s", path)
		}
		if cgo != "0" {
			t.Errorf("%s needs cgo", path)
		}
	}
}
