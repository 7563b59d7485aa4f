package agent_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/countersign-ota/countersign/agent"
	"github.com/countersign-ota/countersign/agent/gate"
	"github.com/countersign-ota/countersign/agent/install"
	"github.com/countersign-ota/countersign/agent/transport"
	"github.com/countersign-ota/countersign/agent/transport/rpc"
	"github.com/countersign-ota/countersign/agent/trust"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/metadata/metadatatest"
	"github.com/countersign-ota/countersign/proto/reason"
)

// gateway is the program of the package comment; TestPackageComment keeps the two the same.
func gateway(ctx context.Context, root, ca []byte, reboot func() error) error {
	server, err := rpc.New(rpc.Config{
		Address: "updates.example:8443", CA: ca,
		Certificate: transport.FromFiles("/data/agent/identity.pem", "/data/agent/identity.key"),
	})
	if err != nil {
		return err
	}
	defer server.Close()
	slots := install.NewSlot(install.SlotConfig{
		A: "/dev/mmcblk0p2", B: "/dev/mmcblk0p3",
		Boot: install.NewBoot("/usr/lib/gw/boot"), State: "/data/agent/installer.main",
	})
	a, err := agent.Open(ctx, agent.Config{
		Dir: "/data/agent", Transport: server, Root: root, // embedded: 1.root.json of the deployment
		Deployment: "acme", Device: "gw-0001", Hardware: "gw-100-c",
		Components: map[string]agent.Component{"main": {Product: "gw-100", Installer: slots, Counter: 17}},
	})
	if err != nil {
		return err
	}
	defer a.Close()
	err = a.Run(ctx)
	if errors.Is(err, agent.ErrReboot) {
		return reboot()
	}
	return err
}

// A program for a gateway with two slots, as it stands in the package comment.
func ExampleOpen() {
	var root, ca []byte // from files that are built into the image
	reboot := func() error { return exec.Command("reboot").Run() }
	if err := gateway(context.Background(), root, ca, reboot); err != nil {
		fmt.Println(reason.Of(err))
	}
	// Output: config
}

func TestPackageComment(t *testing.T) {
	comment, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(source), "func gateway(ctx context.Context, root, ca []byte, reboot func() error) error {\n")
	body, _, ok := strings.Cut(rest, "\n}\n")
	if !ok {
		t.Fatal("example_test.go has no function gateway")
	}
	for line := range strings.Lines(body) {
		if want := "//" + strings.TrimRight(line, "\n"); !strings.Contains(string(comment), want+"\n") {
			t.Errorf("the package comment lacks %q", want)
		}
	}
}

// A gateway whose firmware is one file. A device in the field has its root built into its image, and
// takes rpc.New or web.New for the transport.
func Example() {
	ctx := context.Background()
	server := newServer()
	defer server.close()
	server.release("2.4.1", 17)

	a, err := agent.Open(ctx, server.config())
	if err != nil {
		log.Fatal(err)
	}
	defer a.Close()

	update, err := a.Check(ctx)
	if err != nil {
		log.Fatal(err) // reason.Of(err) says why, and its Class what to do
	}
	if update == nil {
		fmt.Println("nothing to do")
		return
	}
	if err := a.Stage(ctx, update, nil); err != nil {
		log.Fatal(err) // call it again: it goes on where it stopped
	}
	if err := a.Install(ctx, update); err != nil {
		log.Fatal(err)
	}
	status := a.Status()
	if status.Update != nil && status.Update.Reboot {
		fmt.Println("reboot to try", update)
	}
	fmt.Println(status.Components[0].Version, "counter", status.Components[0].Counter)
	// Output: 2.4.1 counter 17
}

// Run does it all. This program ends when it is told to, or when only a reboot helps.
func ExampleAgent_Run() {
	server := newServer()
	defer server.close()
	server.release("2.4.1", 17)
	ctx, stop := context.WithCancel(context.Background()) // signal.NotifyContext in a real one
	config := server.config()
	config.Log = slog.New(slog.NewTextHandler(after{"installed", stop}, nil))

	a, err := agent.Open(ctx, config)
	if err != nil {
		log.Fatal(err)
	}
	defer a.Close()
	switch err := a.Run(ctx); {
	case errors.Is(err, agent.ErrReboot):
		fmt.Println("reboot now")
	case err != nil:
		log.Fatal(err)
	}
	fmt.Println(a.Status().Components[0].Path)
	// Output: gw-100/2.4.1/gw.img
}

// A closed gate defers; the device stays as it is and asks again.
func ExampleAgent_Install_gates() {
	ctx := context.Background()
	server := newServer()
	defer server.close()
	server.release("2.4.1", 17)
	charge := 35
	config := server.config()
	config.Gates = &gate.Gates{BatteryMin: 40, Battery: func() (int, error) { return charge, nil }}

	a, err := agent.Open(ctx, config)
	if err != nil {
		log.Fatal(err)
	}
	defer a.Close()
	_, err = a.Once(ctx, nil)
	fmt.Println(reason.Of(err), reason.Of(err).Class() == reason.NotYet)

	charge = 80
	_, err = a.Once(ctx, nil)
	fmt.Println(err, a.Status().Components[0].Counter)
	// Output:
	// gate true
	// <nil> 17
}

// With ConfirmManual a person, or the maker's own checks, decide on the trial.
func ExampleAgent_Revert() {
	ctx := context.Background()
	server := newServer()
	defer server.close()
	server.release("2.4.1", 17)
	config := server.config()
	config.Confirm = agent.ConfirmManual

	a, err := agent.Open(ctx, config)
	if err != nil {
		log.Fatal(err)
	}
	defer a.Close()
	if _, err := a.Once(ctx, nil); err != nil {
		log.Fatal(err)
	}
	fmt.Println(a.Status().Update.State)
	if err := a.Revert(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println(a.Status().Update.State, "counter", a.Status().Components[0].Counter)
	// Output:
	// trial
	// reverted counter 3
}

// ReadStatus needs neither lock nor network.
func ExampleReadStatus() {
	server := newServer()
	defer server.close()
	a, err := agent.Open(context.Background(), server.config())
	if err != nil {
		log.Fatal(err)
	}
	defer a.Close()
	status, err := agent.ReadStatus(server.config().Dir)
	if err != nil {
		log.Fatal(err)
	}
	for _, c := range status.Components {
		fmt.Println(c.ID, "counter", c.Counter, "floor", c.Floor)
	}
	// Output: main counter 3 floor 0
}

// server is a repository in memory, and the transport to it.
type server struct {
	*metadatatest.Deployment
	dir string
}

// after is a log that calls stop when a word comes.
type after struct {
	word string
	stop func()
}

func (a after) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte(a.word)) {
		a.stop()
	}
	return len(p), nil
}

// exampleTB lets the examples use a package that is made for tests.
type exampleTB struct{ testing.TB }

func (exampleTB) Helper()                           {}
func (exampleTB) Fatalf(format string, args ...any) { log.Fatalf(format, args...) }
func (exampleTB) Fatal(args ...any)                 { log.Fatal(args...) }

func newServer() *server {
	dir, err := os.MkdirTemp("", "agent-example")
	if err != nil {
		log.Fatal(err)
	}
	d := metadatatest.New(exampleTB{}, metadatatest.Options{})
	d.AddProduct("gw-100", metadatatest.Product{})
	return &server{Deployment: d, dir: dir}
}

func (s *server) close() { os.RemoveAll(s.dir) }

func (s *server) release(version string, counter int64) {
	s.Release("gw-100", version, counter, metadatatest.Target{Data: []byte("firmware " + version), Installer: "file"})
}

func (s *server) config() agent.Config {
	return agent.Config{
		Dir:        filepath.Join(s.dir, "agent"),
		Transport:  s,
		Root:       s.Root(metadata.Image, 1),
		Deployment: "acme",
		Device:     "gw-0001",
		Hardware:   "gw-100-c",
		Clock:      func() time.Time { return s.Now },
		Components: map[string]agent.Component{"main": {
			Product: "gw-100",
			Installer: install.NewFile(install.FileConfig{
				Path: filepath.Join(s.dir, "firmware"), State: filepath.Join(s.dir, "installer"),
			}),
			Counter: 3,
		}},
	}
}

func (s *server) Fetch(_ context.Context, role string, version, _ int64) ([]byte, error) {
	name := fmt.Sprintf("%d.%s.json", version, role)
	if version == 0 {
		name = role + ".json"
	}
	if data, ok := s.Files()[name]; ok {
		return data, nil
	}
	return nil, trust.ErrNotFound
}

func (s *server) Download(_ context.Context, path string, sha [32]byte, offset int64) (io.ReadCloser, error) {
	dir, file := filepath.Split(path)
	data := s.Files()[fmt.Sprintf("targets/%s%x.%s", dir, sha, file)]
	return io.NopCloser(bytes.NewReader(data[offset:])), nil
}
