package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/countersign-ota/countersign/signer/remote"
)

// silence is how long a server of these tests may say nothing.
const silence = 5 * time.Second

// runAt runs the tool of a person in this process at a moment of the test's choosing.
func runAt(t *testing.T, home string, now time.Time, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	env := func(k string) string { return map[string]string{"COUNTERSIGN_HOME": home}[k] }
	p := newTool(env, func() time.Time { return now })
	p.silence = silence
	var out, err strings.Builder
	p.Out.Stdout, p.Out.Stderr = &out, &err
	code = p.Run(t.Context(), args)
	return code, out.String(), err.String()
}

// The connection key is short-lived and renews by itself, at any command once a quarter of the
// certificate's life is over; after its end there is no grace (DESIGN 4.3).
func TestConnectionKeyRenewsByItself(t *testing.T) {
	dir := t.TempDir()
	if err := found(dir, "acme", lifetime); err != nil {
		t.Fatal(err)
	}
	stop, err := startServer(filepath.Join(dir, "acme.server"))
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	home := filepath.Join(dir, "rivera", "countersign")
	read := func() []byte {
		t.Helper()
		data, err := os.ReadFile(filepath.Join(home, "state", "acme", "identity.pem"))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	first := read()
	id, err := remote.ParseIdentity(first)
	if err != nil {
		t.Fatal(err)
	}
	life := time.Until(id.Expires())
	for _, tt := range []struct {
		name    string
		after   time.Duration
		code    int
		renewed bool
		stderr  string
	}{
		{"young", life / 10, 0, false, ""},
		{"a quarter is over", life / 2, 0, true, ""},
		{"over", 2 * life, 4, false, "[expired]\ncountersign: hint: have another operator run: countersign operator invite ID --role IDS -o FILE; then: countersign login --token-file FILE\n"},
	} {
		code, stdout, stderr := runAt(t, home, time.Now().Add(tt.after), "operator", "list")
		if code != tt.code || !strings.HasSuffix(stderr, tt.stderr) || tt.stderr == "" && stderr != "" {
			t.Fatalf("%s: exit %d\n%s%s", tt.name, code, stdout, stderr)
		}
		if now := read(); bytes.Equal(now, first) == tt.renewed {
			t.Errorf("%s: renewed %t, want %t", tt.name, !tt.renewed, tt.renewed)
		} else if tt.renewed {
			first = now
		}
	}
	// The new key is in force: the server takes it, the first command after it needs no renewal.
	if code, stdout, stderr := runAt(t, home, time.Now().Add(life/10), "operator", "list"); code != 0 || !strings.Contains(stdout, "rivera") {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
}
