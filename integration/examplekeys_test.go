package integration

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign-ota/countersign/integration/world"
	vectors "github.com/countersign-ota/countersign/keys-example"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/signer/event"
)

// exampleDesk copies keys-example onto a person's desk, private, as its README says.
func exampleDesk(t *testing.T, w *world.World, person string) {
	t.Helper()
	must(t, fs.WalkDir(vectors.Files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := vectors.Files.ReadFile(name)
		if err != nil {
			return err
		}
		return w.Put(person, name, string(data))
	}))
	must(t, w.Put(person, "passphrase", vectors.Passphrase+"\n"))
}

// A newcomer signs the example event as keys-example/README.md says; the tool warns. Its bytes are fixed
// vectors: the id of the event is that of the files in the repository.
func TestNewcomerSignsTheExample(t *testing.T) {
	w, err := world.New(filepath.Join(t.TempDir(), "world"), "example", programs)
	must(t, err)
	exampleDesk(t, w, "newcomer")
	data, err := vectors.Files.ReadFile("example.event")
	must(t, err)
	e, err := event.Parse(data)
	must(t, err)
	again, err := e.Bytes()
	must(t, err)
	if string(again) != string(data) {
		t.Error("example.event does not write back the same")
	}
	must(t, w.As("newcomer", "event", "show", "example.event").Err())
	passphrase := filepath.Join(w.Desk("newcomer"), "passphrase")
	for i, who := range []string{"rivera", "chen"} {
		r := w.As("newcomer", "sign", "example.event", "--key", who+".key", "--expect", e.ID(), "--no-input",
			"--passphrase-file", passphrase, "--reason", "my first signature")
		must(t, r.Err())
		if !strings.Contains(r.Stderr, "warning: ") {
			t.Errorf("no warning that everybody knows the key\n%s", r)
		}
		if i == 1 && !strings.Contains(r.Stdout, "5 of 5 files") {
			t.Errorf("quorum is not complete\n%s", r)
		}
	}
	r := w.As("newcomer", "init", "plan.yaml", "-o", "mine.event")
	must(t, r.Err())
}

// Server and device refuse the example keys; there is no flag.
func TestExampleKeysAreRefused(t *testing.T) {
	w, err := world.New(filepath.Join(t.TempDir(), "world"), "example", programs)
	must(t, err)
	t.Cleanup(func() { must(t, w.Close()) })
	must(t, w.Found("rivera"))
	_, err = w.Serve()
	must(t, err)
	exampleDesk(t, w, "rivera")
	must(t, w.As("rivera", "login", "--token-file", filepath.Join(w.ServerDir(), "rivera.token"), "--no-input", "--yes").Err())
	// The example's people with this server's own online keys: only the people's keys are wrong with it.
	online, err := os.ReadFile(filepath.Join(w.ServerDir(), "online.pub"))
	must(t, err)
	must(t, w.Put("rivera", "online.pub", string(online)))
	id, err := w.Open("rivera", "init", "plan.yaml", "-o", "mine.event")
	must(t, err)
	for _, who := range []string{"rivera", "chen"} {
		must(t, w.As("rivera", "sign", "mine.event", "--key", who+".key", "--expect", id, "--no-input",
			"--passphrase-file", filepath.Join(w.Desk("rivera"), "passphrase"), "--reason", "a mistake").Err())
	}
	r := w.As("rivera", "publish", "mine.event", "--no-input", "--yes")
	must(t, r.Want(int(reason.KeyExample.Class()), string(reason.KeyExample)))
	if list := w.As("rivera", "event", "list", "--all"); strings.Contains(list.Stdout, "init") {
		t.Errorf("the server kept the event\n%s", list)
	}

	root, err := vectors.Files.ReadFile("image-root.json")
	must(t, err)
	d, err := w.NewDevice("gw-0001", world.DeviceOptions{Root: string(root)})
	must(t, err)
	ca, err := os.ReadFile(filepath.Join(w.ServerDir(), "identity", "root.pem"))
	must(t, err)
	state := filepath.Join(d.Dir, "state")
	must(t, os.MkdirAll(state, 0o700))
	must(t, os.WriteFile(filepath.Join(state, "ca.pem"), ca, 0o600))
	must(t, d.Run("once").Want(int(reason.KeyExample.Class()), string(reason.KeyExample)))
	if staged, err := d.Staged(); err != nil || len(staged) != 0 {
		t.Errorf("staged %v, %v", staged, err)
	}
}
