package home

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/countersign-ota/countersign/cmd/internal/cli"
	"github.com/countersign-ota/countersign/internal/durable"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/signer/event"
)

func open(t *testing.T, dir string) *Home {
	t.Helper()
	paths, err := cli.PathsFrom(func(k string) string { return map[string]string{"COUNTERSIGN_HOME": dir}[k] })
	if err != nil {
		t.Fatal(err)
	}
	h, err := Open(paths)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestConfigureIsReadAgain(t *testing.T) {
	dir := t.TempDir()
	h := open(t, dir)
	want := Settings{Server: "updates.example:8443", HTTPS: "https://updates.example", Operator: "rivera", Key: "/k/rivera.key"}
	if err := h.Configure("acme", want); err != nil {
		t.Fatal(err)
	}
	if err := h.Configure("beta", Settings{Operator: "chen"}); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "config.yaml"), "kms: []\n")
	h = open(t, dir)
	if err := h.Configure("acme", want); err != nil {
		t.Fatal(err)
	}
	if err := h.Configure("beta", Settings{Operator: "chen"}); err != nil {
		t.Fatal(err)
	}
	again := open(t, dir)
	if got := again.KMS(); len(got) != 0 {
		t.Errorf("a list of no stores became %q", got)
	}
	if got := again.Settings("acme"); got != want {
		t.Errorf("got %+v", got)
	}
	if got := again.Known(); !slices.Equal(got, []string{"acme", "beta"}) {
		t.Errorf("known: %q", got)
	}
}

func TestKMS(t *testing.T) {
	for text, want := range map[string][]string{
		"": {"pkcs11"}, "kms: []\n": nil, "kms: [awskms, pkcs11]\n": {"awskms", "pkcs11"},
	} {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "config.yaml"), text)
		if got := open(t, dir).KMS(); !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestOpenRefusesAConfiguration(t *testing.T) {
	for name, text := range map[string]string{
		"unknown member": "deployments:\n  acme:\n    sever: x\n", "not a mapping": "- a\n",
		"no plug-in": "kms: [../sh]\n", "plug-ins in words": "kms: pkcs11\n",
		"no id": "deployments:\n  ../acme: {server: x}\n", "too large": "# " + strings.Repeat("x", maxConfig),
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "config.yaml")
			write(t, path, text)
			if _, err := Open(cli.Paths{Config: path}); !reason.Is(err, reason.Config) {
				t.Errorf("got %v [%s]", err, reason.Of(err))
			}
		})
	}
}

func TestChoose(t *testing.T) {
	for _, tt := range []struct {
		name, known, asked, named string
		want                      string
		text                      string
	}{
		{"the flag", "acme beta", "beta", "", "beta", ""},
		{"the file", "acme beta", "", "acme", "acme", ""},
		{"a file of one that is not known", "", "", "gamma", "gamma", ""},
		{"both alike", "acme", "acme", "acme", "acme", ""},
		{"the only one", "acme", "", "", "acme", ""},
		{"flag against file", "acme beta", "beta", "acme", "", `the file is of deployment "acme", --deployment says "beta"`},
		{"several", "acme beta", "", "", "", "several deployments are known here: acme, beta"},
		{"none", "", "", "", "", "no deployment is known here"},
		{"no id", "", "../x", "", "", "--deployment: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			for _, id := range strings.Fields(tt.known) {
				write(t, filepath.Join(dir, "state", id, historyFile), "{}")
			}
			write(t, filepath.Join(dir, "state", "half", "login-1.pem"), "") // a login that never came through
			got, err := open(t, dir).Choose(tt.asked, tt.named)
			if got != tt.want || tt.text == "" && err != nil || tt.text != "" && (!reason.Is(err, reason.UsageError) || !strings.Contains(err.Error(), tt.text)) {
				t.Errorf("got %q, %v [%s]", got, err, reason.Of(err))
			}
		})
	}
}

// Two tools at the same time lose nothing, and a damaged history is not taken for an empty one.
func TestHistory(t *testing.T) {
	p := open(t, t.TempDir()).Place("acme")
	h, err := p.History()
	if err != nil || h.Pins() != (event.Pins{}) {
		t.Fatalf("a new place: %v, %v", h, err)
	}
	done := make(chan error, 8)
	for i := range 8 {
		go func() {
			done <- p.UpdateHistory(func(h *event.History) error {
				seen, _ := h.Seen(metadata.Image, metadata.Root)
				h.Pin(event.Pins{Image: event.Pin{Version: seen + 1, Digest: [32]byte{byte(i)}}})
				return nil
			})
		}()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	if h, err = p.History(); err != nil || h.Pins().Image.Version != 8 {
		t.Errorf("8 changes left version %d, %v", h.Pins().Image.Version, err)
	}
	refused := reason.Errorf(reason.VersionUsed, "no")
	if err := p.UpdateHistory(func(h *event.History) error {
		h.Pin(event.Pins{Image: event.Pin{Version: 99}})
		return refused
	}); !errors.Is(err, refused) {
		t.Errorf("got %v", err)
	}
	if h, err = p.History(); err != nil || h.Pins().Image.Version != 8 {
		t.Errorf("a change that failed was kept: %v", err)
	}
	for name, text := range map[string]string{"empty": "", "cut": `{"countersign_history":1,"se`, "zeroed": "\x00\x00\x00", "other": "{}"} {
		write(t, filepath.Join(p.dir, historyFile), text)
		if _, err := p.History(); !reason.Is(err, reason.StateDamaged) {
			t.Errorf("%s: %v [%s]", name, err, reason.Of(err))
		}
		if err := p.UpdateHistory(func(*event.History) error { return nil }); !reason.Is(err, reason.StateDamaged) {
			t.Errorf("%s: update: %v", name, err)
		}
	}
}

func TestLockedByAnother(t *testing.T) {
	p := open(t, t.TempDir()).Place("acme")
	write(t, filepath.Join(p.dir, lockFile), "")
	l, err := durable.Lock(filepath.Join(p.dir, lockFile))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- p.UpdateHistory(func(*event.History) error { return nil }) }()
	l.Close() // it waits for who is about to end
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestBaseStaysByteForByte(t *testing.T) {
	p := open(t, t.TempDir()).Place("acme")
	if base, err := p.Base(); base != nil || err != nil {
		t.Fatalf("got %v, %v", base, err)
	}
	want := []event.BaseFile{{Repository: metadata.Image, Role: "root", File: []byte("{ \"a\" : \"<b>\u2028\" }\n")}}
	if err := p.KeepBase(want); err != nil {
		t.Fatal(err)
	}
	got, err := p.Base()
	if err != nil || len(got) != 1 || string(got[0].File) != string(want[0].File) || got[0].Role != "root" {
		t.Errorf("got %q, %v", got, err)
	}
	write(t, filepath.Join(p.dir, baseFile), "[{")
	if _, err := p.Base(); !reason.Is(err, reason.StateDamaged) {
		t.Errorf("got %v", err)
	}
}

func TestSecretsOfAPlace(t *testing.T) {
	p := open(t, t.TempDir()).Place("acme")
	if id, err := p.Identity(); id != nil || err != nil {
		t.Fatalf("got %v, %v", id, err)
	}
	first, err := p.LoginKey("0123456789abcdef")
	if err != nil {
		t.Fatal(err)
	}
	second, err := p.LoginKey("0123456789abcdef")
	if err != nil {
		t.Fatal(err)
	}
	a, _ := first.Bytes()
	b, _ := second.Bytes()
	if string(a) != string(b) {
		t.Error("the same token got another key: its login cannot be repeated")
	}
	path := filepath.Join(p.dir, "login-0123456789abcdef.pem")
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := p.LoginKey("0123456789abcdef"); !reason.Is(err, reason.SecretExposed) {
		t.Errorf("got %v", err)
	}
	if err := p.DropLoginKey("0123456789abcdef"); err != nil {
		t.Error(err)
	}
	write(t, filepath.Join(p.dir, identityFile), "-----")
	if _, err := p.Identity(); !reason.Is(err, reason.StateDamaged) {
		t.Errorf("got %v", err)
	}
	write(t, filepath.Join(p.dir, caFile), "-----")
	if _, err := p.CA(); !reason.Is(err, reason.StateDamaged) {
		t.Errorf("got %v", err)
	}
}
