// Package softhsm gives tests tokens that are real as far as software can be: SoftHSM2 behind PKCS#11,
// spoken to by the real plug-in sigstore-kms-pkcs11. Start with New and Build.
//
// A test that needs it fails where SoftHSM2 is missing; integration/setup.sh installs it.
package softhsm

import (
	"bytes"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// PIN is the user's PIN of every token that this package makes, and officerPIN the other one.
const (
	PIN        = "482913"
	officerPIN = "73918264"
)

// Algorithms of Make, as pkcs11-tool spells them.
const (
	P256    = "EC:prime256v1"
	Ed25519 = "EC:edwards25519"
)

// modules are where distributions put SoftHSM2.
var modules = []string{
	"/usr/lib/softhsm/libsofthsm2.so",
	"/usr/lib64/pkcs11/libsofthsm2.so",
	"/usr/lib/pkcs11/libsofthsm2.so",
	"/usr/local/lib/softhsm/libsofthsm2.so",
	"/opt/homebrew/lib/softhsm/libsofthsm2.so",
}

// Token is one token. Tokens in one folder are seen together, like two in one machine.
type Token struct {
	// Label is the token's name.
	Label string
	// Serial is its number, which SoftHSM2 draws.
	Serial string
	// Dir is the folder of the configuration and of what the tokens hold.
	Dir string
	// Module is the absolute path of SoftHSM2's PKCS#11 module.
	Module string
}

// New returns a fresh token, labelled chen-yubi, in a folder of its own, and sets SOFTHSM2_CONF for
// the test's process and its children.
func New(t testing.TB) *Token {
	t.Helper()
	k, err := In(t.TempDir(), "chen-yubi")
	if err != nil {
		t.Fatal(err)
	}
	name, value, _ := strings.Cut(k.Env(), "=")
	t.Setenv(name, value)
	return k
}

// In makes a token in the folder dir, beside those that are there. Nobody sees it without Env.
func In(dir, label string) (*Token, error) {
	k := &Token{Label: label, Dir: dir}
	for _, m := range modules {
		if _, err := os.Stat(m); err == nil {
			k.Module = m
			break
		}
	}
	if k.Module == "" {
		return nil, fmt.Errorf("SoftHSM2 is not installed, none of %s exists: run bash integration/setup.sh", strings.Join(modules, ", "))
	}
	if err := os.MkdirAll(filepath.Join(dir, "tokens"), 0o700); err != nil {
		return nil, err
	}
	conf := fmt.Sprintf("directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n", filepath.Join(dir, "tokens"))
	if err := os.WriteFile(k.conf(), []byte(conf), 0o600); err != nil {
		return nil, err
	}
	before, err := k.serials()
	if err != nil {
		return nil, err
	}
	if _, err := k.run("softhsm2-util", "--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", officerPIN); err != nil {
		return nil, err
	}
	after, err := k.serials()
	if err != nil {
		return nil, err
	}
	for _, s := range after {
		if !slices.Contains(before, s) {
			k.Serial = s
		}
	}
	return k, nil
}

// serials returns the numbers of the tokens in the folder.
func (k *Token) serials() ([]string, error) {
	out, err := k.run("softhsm2-util", "--show-slots")
	if err != nil {
		return nil, err
	}
	var all []string
	for line := range strings.Lines(out) {
		if _, serial, ok := strings.Cut(line, "Serial number:"); ok {
			all = append(all, strings.TrimSpace(serial))
		}
	}
	return all, nil
}

func (k *Token) conf() string { return filepath.Join(k.Dir, "softhsm2.conf") }

// Env returns the setting that shows the tokens to a program, NAME=VALUE.
func (k *Token) Env() string { return "SOFTHSM2_CONF=" + k.conf() }

// URI names the key object of the token; a PIN is not part of it.
func (k *Token) URI(object string) string {
	return fmt.Sprintf("pkcs11://token=%s;object=%s?module-path=%s", url.PathEscape(k.Label), url.PathEscape(object), k.Module)
}

// Make makes a key pair called object with the id (hexadecimal), as a person would with pkcs11-tool.
func (k *Token) Make(object, id, algorithm string, more ...string) error {
	return k.tool(append([]string{"--keypairgen", "--key-type", algorithm, "--label", object, "--id", id}, more...)...)
}

// Drop removes both halves of the key pair object.
func (k *Token) Drop(object string) error {
	for _, half := range []string{"privkey", "pubkey"} {
		if err := k.DropHalf(object, half); err != nil {
			return err
		}
	}
	return nil
}

// DropHalf removes the half privkey or pubkey of the key pair object.
func (k *Token) DropHalf(object, half string) error {
	return k.tool("--delete-object", "--type", half, "--label", object)
}

func (k *Token) tool(args ...string) error {
	_, err := k.run("pkcs11-tool", append([]string{"--module", k.Module, "--token-label", k.Label, "--login", "--pin", PIN}, args...)...)
	return err
}

func (k *Token) run(name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), k.Env())
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s(run bash integration/setup.sh if it is missing)", name, strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

// Build builds the plug-in into the folder dir, which a caller then puts on PATH.
func Build(dir string) error {
	cmd := exec.Command("go", "build", "-o", dir+string(filepath.Separator), "github.com/countersign-ota/countersign/cmd/sigstore-kms-pkcs11")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build of the plug-in: %w\n%s", err, bytes.TrimSpace(out))
	}
	return nil
}

// Plugin builds the plug-in and puts it first on PATH for the test's process and its children.
func Plugin(t testing.TB) {
	t.Helper()
	dir := t.TempDir()
	if err := Build(dir); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
}
