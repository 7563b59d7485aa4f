package kms_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sigstore/sigstore/pkg/signature/kms/cliplugin/common"
	"github.com/sigstore/sigstore/pkg/signature/kms/cliplugin/handler"
)

// The test's own program is the plug-in too: under a name sigstore-kms-NAME it plays what the URI asks.
func TestMain(m *testing.M) {
	if name, ok := strings.CutPrefix(filepath.Base(os.Args[0]), "sigstore-kms-"); ok {
		if name == "stock" {
			stock()
		}
		hostile()
	}
	os.Exit(m.Run())
}

// plugins puts the programs sigstore-kms-evil and sigstore-kms-stock first on PATH, and returns the
// folder in which they write what they saw.
func plugins(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, n := range []string{"sigstore-kms-evil", "sigstore-kms-stock"} {
		if err := os.Symlink(self, filepath.Join(dir, n)); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	t.Setenv("KMS_TEST_DIR", dir)
	t.Setenv("GORACE", "atexit_sleep_ms=0") // a process under the race detector waits a second at its end
	return dir
}

// seeded returns a key that every process derives alike.
func seeded(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed([]byte(strings.Repeat(string(rune('a'+n)), ed25519.SeedSize)))
}

func pemOf(pub crypto.PublicKey) []byte {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// count returns how often it was called with name, over all processes.
func count(name string) int {
	f, err := os.OpenFile(filepath.Join(os.Getenv("KMS_TEST_DIR"), name), os.O_APPEND|os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		panic(err)
	}
	defer f.Close()
	if _, err := f.WriteString("x"); err != nil {
		panic(err)
	}
	info, err := f.Stat()
	if err != nil {
		panic(err)
	}
	return int(info.Size())
}

func note(name, text string) {
	path := filepath.Join(os.Getenv("KMS_TEST_DIR"), name)
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		panic(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		panic(err)
	}
}

func say(resp *common.PluginResp) {
	if err := handler.WriteResponse(os.Stdout, resp); err != nil {
		panic(err)
	}
}

func key(k ed25519.PrivateKey) *common.PluginResp {
	return &common.PluginResp{PublicKey: &common.PublicKeyResp{PublicKeyPEM: pemOf(k.Public())}}
}

func signed(k ed25519.PrivateKey) *common.PluginResp {
	message, err := io.ReadAll(os.Stdin)
	if err != nil {
		panic(err)
	}
	return &common.PluginResp{SignMessage: &common.SignMessageResp{Signature: ed25519.Sign(k, message)}}
}

func refuse(text string) {
	say(&common.PluginResp{ErrorMessage: text})
	os.Exit(1)
}

// hostile behaves as the URI says until it is asked for a key or signature in earnest. "late-X" is
// honest about the key and misbehaves when it signs.
func hostile() {
	args, err := handler.GetPluginArgs(os.Args)
	if err != nil {
		panic(err)
	}
	rest := args.InitOptions.KeyResourceID
	how, query, _ := strings.Cut(rest, "?")
	late, isLate := strings.CutPrefix(how, "late-")
	if isLate {
		if args.MethodName == common.PublicKeyMethodName {
			say(key(seeded(0)))
			os.Exit(0)
		}
		how = late
	}
	misbehave(how, query, args)
	if args.MethodName == common.SignMessageMethodName {
		say(signed(seeded(0)))
	} else {
		say(key(seeded(0)))
	}
	os.Exit(0)
}

func misbehave(how, query string, args *common.PluginArgs) {
	switch how {
	case "hang":
		note("leader", strconv.Itoa(os.Getpid()))
		child("sleeper")
		time.Sleep(time.Hour)
	case "deaf": // to every signal that can be ignored
		ignoreAll()
		time.Sleep(time.Hour)
	case "silent":
		os.Exit(0)
	case "status":
		os.Exit(3)
	case "stderr-status":
		fmt.Fprint(os.Stderr, "reader \x1b[2J gone\nnow")
		os.Exit(3)
	case "killed":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	case "rubbish":
		fmt.Print("\x00\x1b]0;owned\x07{{{{")
		os.Exit(0)
	case "flood":
		flood(os.Stdout)
		os.Exit(0)
	case "flood-stderr": // and a good answer
		flood(os.Stderr)
	case "twice":
		say(key(seeded(0)))
	case "array":
		fmt.Print(`[]`)
		os.Exit(0)
	case "null":
		fmt.Print(`null`)
		os.Exit(0)
	case "empty-object":
		fmt.Print(`{}`)
		os.Exit(0)
	case "null-member":
		fmt.Printf(`{%q:null}`, args.MethodName)
		os.Exit(0)
	case "number":
		fmt.Printf(`{%q:{"publicKeyPEM":7,"signature":7}}`, args.MethodName)
		os.Exit(0)
	case "no-base64":
		fmt.Printf(`{%q:{"publicKeyPEM":"%%%%","signature":"%%%%"}}`, args.MethodName)
		os.Exit(0)
	case "error-number":
		fmt.Print(`{"errorMessage":7}`)
		os.Exit(0)
	case "other-member":
		fmt.Print(`{"defaultAlgorithm":{"defaultAlgorithm":"x"}}`)
		os.Exit(0)
	case "folded":
		fmt.Print(`{"PUBLICKEY":{"publicKeyPEM":"QQ=="},"SIGNMESSAGE":{"signature":"QQ=="}}`)
		os.Exit(0)
	case "long-signature":
		say(&common.PluginResp{SignMessage: &common.SignMessageResp{Signature: make([]byte, 2000)}})
		os.Exit(0)
	case "status-and-answer":
		say(key(seeded(0)))
		os.Exit(1)
	case "status-and-signature":
		say(signed(seeded(0)))
		os.Exit(1)
	case "another-signs":
		say(signed(seeded(1)))
		os.Exit(0)
	case "another-message":
		say(&common.PluginResp{SignMessage: &common.SignMessageResp{Signature: ed25519.Sign(seeded(0), []byte("x"))}})
		os.Exit(0)
	case "child-holds": // the pipe, in the group
		child("sleeper")
	case "escaped-child-holds":
		child("sleeper-in-its-own-session")
	case "long-error":
		fmt.Printf(`{"errorMessage":"%s"}`, strings.Repeat("\\u001b[31m\u202e\xffbad ", 2_000))
		os.Exit(1)
	case "huge-error":
		refuse(strings.Repeat("\x1b[31mbad ", 10_000))
	case "pem-rsa", "pem-text", "pem-two", "pem-weak", "pem-p384":
		say(&common.PluginResp{PublicKey: &common.PublicKeyResp{PublicKeyPEM: badPEM(how)}})
		os.Exit(0)
	case "says":
		word, err := hex.DecodeString(query)
		if err != nil {
			panic(err)
		}
		refuse(string(word))
	case "pin":
		wantPIN(query)
	case "create-swaps", "create-exists", "create-other-type", "create":
		create(how, args)
	}
}

// flood prints a gigabyte, unless nobody wants it.
func flood(f *os.File) {
	line := []byte(strings.Repeat("a", 1<<20))
	for range 1 << 10 {
		if _, err := f.Write(line); err != nil {
			return
		}
	}
}

// child starts a process that holds this one's stdout and stderr.
func child(how string) {
	cmd := exec.Command("sleep", "3600")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if how == "sleeper-in-its-own-session" {
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	}
	if err := cmd.Start(); err != nil {
		panic(err)
	}
	note("child", strconv.Itoa(cmd.Process.Pid))
}

func badPEM(how string) []byte {
	switch how {
	case "pem-rsa":
		return []byte("-----BEGIN RSA PUBLIC KEY-----\nAAAA\n-----END RSA PUBLIC KEY-----\n")
	case "pem-two":
		return append(pemOf(seeded(0).Public()), pemOf(seeded(1).Public())...)
	case "pem-weak":
		return pemOf(ed25519.PublicKey(make([]byte, 32)))
	case "pem-p384":
		k, err := ecdsa.GenerateKey(elliptic.P384(), nil)
		if err != nil {
			panic(err)
		}
		return pemOf(k.Public())
	}
	return []byte("a key")
}

// wantPIN wants the PIN that the query begins with and notes how often it was tried.
func wantPIN(query string) {
	want, source, ok := strings.Cut(query, "&")
	if !ok {
		refuse("this token wants its PIN [pin-wanted]")
	}
	path, ok := strings.CutPrefix(source, "pin-source=file:")
	if !ok || path != "/dev/fd/3" {
		refuse("a strange pin-source")
	}
	got, err := os.ReadFile(path)
	if err != nil {
		refuse(err.Error())
	}
	for _, place := range append(os.Environ(), os.Args...) {
		if strings.Contains(place, "PIN-OF-") {
			refuse("the PIN stands in argv or in the environment")
		}
	}
	if string(got) != "PIN-OF-"+want+"\n" {
		count("wrong")
		refuse(`token "x" refused the PIN, 1 try left [wrong-pin]`)
	}
	count("right")
}

// create plays a plug-in whose key is not there before createKey.
func create(how string, args *common.PluginArgs) {
	switch args.MethodName {
	case common.SupportedAlgorithmsMethodName:
		say(&common.PluginResp{SupportedAlgorithms: &common.SupportedAlgorithmsResp{SupportedAlgorithms: []string{"rsa-2048", "ED25519"}}})
		os.Exit(0)
	case common.PublicKeyMethodName:
		if how != "create-exists" && count("looked") == 1 {
			refuse("key does not exist")
		}
		if how == "create-swaps" {
			say(key(seeded(1)))
			os.Exit(0)
		}
		if how == "create-other-type" {
			say(&common.PluginResp{PublicKey: &common.PublicKeyResp{PublicKeyPEM: pemOf(seededP256().Public())}})
			os.Exit(0)
		}
	case common.CreateKeyMethodName:
		note("created", args.CreateKey.Algorithm)
		pub := seeded(0).Public()
		if how == "create-other-type" {
			pub = seededP256().Public()
		}
		say(&common.PluginResp{CreateKey: &common.CreateKeyResp{PublicKeyPEM: pemOf(pub)}})
		os.Exit(0)
	}
}

func seededP256() *ecdsa.PrivateKey {
	k, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), []byte(strings.Repeat("p", 32)))
	if err != nil {
		panic(err)
	}
	return k
}
