package key_test

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/secure-systems-lab/go-securesystemslib/encrypted"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/signer/key"
)

func generate(t testing.TB, kind key.Type, director bool) *key.Private {
	t.Helper()
	k, err := key.Generate(kind, key.Public{Person: "rivera", Name: "Ana Rivera: \"ÿ\"", Class: "engineering"}, director)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func answer(s string) key.Passphrase {
	return func(key.Public) ([]byte, error) { return []byte(s), nil }
}

func wantReason(t *testing.T, err error, want reason.Reason) {
	t.Helper()
	if got := reason.Of(err); got != want {
		t.Errorf("reason %q, want %q: %v", got, want, err)
	}
}

func TestSaveAndLoad(t *testing.T) {
	for _, c := range []struct {
		kind     key.Type
		director bool
	}{{key.Ed25519, false}, {key.Ed25519, true}, {key.P256, false}, {key.P256, true}} {
		t.Run(fmt.Sprint(c.kind, " director ", c.director), func(t *testing.T) {
			k := generate(t, c.kind, c.director)
			path := filepath.Join(t.TempDir(), "rivera.key")
			if err := k.Save(path, []byte("correct horse")); err != nil {
				t.Fatal(err)
			}
			info, err := os.Stat(path)
			if err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("mode %v, %v", info.Mode(), err)
			}
			read, err := key.Read(path)
			if err != nil {
				t.Fatal(err)
			}
			loaded, err := key.Load(path, func(p key.Public) ([]byte, error) {
				if p.Person != "rivera" {
					t.Errorf("asked for the passphrase of %q", p.Person)
				}
				return []byte("correct horse"), nil
			})
			if err != nil {
				t.Fatal(err)
			}
			want, err := k.Public.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range []*key.Public{&read.Public, &loaded.Public} {
				if got, err := p.Bytes(); err != nil || !bytes.Equal(got, want) {
					t.Errorf("public half %s, want %s (%v)", got, want, err)
				}
			}
			signers, err := loaded.Signers()
			if err != nil {
				t.Fatal(err)
			}
			if len(signers) != len(k.Public.Keys()) {
				t.Errorf("%d signers for %d keys", len(signers), len(k.Public.Keys()))
			}
			for r, pub := range k.Public.Keys() {
				if _, err := metadata.Sign([]byte("message"), signers[r], pub); err != nil {
					t.Errorf("%s: %v", r, err)
				}
			}
			wantReason(t, k.Save(path, []byte("other")), reason.Exists)
		})
	}
}

// The steps of cosign's LoadPrivateKey: first PEM block, its type, decrypt, PKCS#8.
func TestCosignReadsTheFile(t *testing.T) {
	for _, kind := range []key.Type{key.Ed25519, key.P256} {
		k := generate(t, kind, true)
		data, err := k.Encrypt([]byte("correct horse"))
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(data)
		if block == nil || block.Type != "ENCRYPTED SIGSTORE PRIVATE KEY" {
			t.Fatalf("first block %+v", block)
		}
		der, err := encrypted.Decrypt(block.Bytes, []byte("correct horse"))
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := x509.ParsePKCS8PrivateKey(der)
		if err != nil {
			t.Fatal(err)
		}
		got, err := metadata.NewKey(parsed.(crypto.Signer).Public())
		if err != nil {
			t.Fatal(err)
		}
		if got.Value.PublicKey != k.Public.Image.Value.PublicKey {
			t.Error("another key")
		}
	}
}

func TestLoadRefuses(t *testing.T) {
	k, other := generate(t, key.Ed25519, true), generate(t, key.Ed25519, true)
	good, err := k.Encrypt([]byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	otherFile, err := other.Encrypt([]byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	first, rest := pem.Decode(good)
	second, _ := pem.Decode(rest)
	otherFirst, _ := pem.Decode(otherFile)
	block := func(b *pem.Block, change func(*pem.Block)) []byte {
		c := &pem.Block{Type: b.Type, Headers: map[string]string{}, Bytes: bytes.Clone(b.Bytes)}
		for name, v := range b.Headers {
			c.Headers[name] = v
		}
		if change != nil {
			change(c)
		}
		return pem.EncodeToMemory(c)
	}
	join := func(blocks ...[]byte) []byte { return bytes.Join(blocks, nil) }
	for _, c := range []struct {
		name string
		data []byte
		mode os.FileMode
		pass string
		want reason.Reason
	}{
		{"none", good, 0o600, "secret", ""},
		{"read-only", good, 0o400, "secret", ""},
		{"group may read", good, 0o640, "secret", reason.SecretExposed},
		{"all may read", good, 0o604, "secret", reason.SecretExposed},
		{"wrong passphrase", good, 0o600, "Secret", reason.WrongPassphrase},
		{"empty passphrase", good, 0o600, "", reason.WrongPassphrase},
		{"empty", nil, 0o600, "secret", reason.Malformed},
		{"no PEM", []byte("hello"), 0o600, "secret", reason.Malformed},
		{"something follows", append(bytes.Clone(good), "x"...), 0o600, "secret", reason.Malformed},
		{"too large", bytes.Repeat([]byte("\n"), 70<<10), 0o600, "secret", reason.Malformed},
		{"another type", join(block(first, func(b *pem.Block) { b.Type = "PRIVATE KEY" }), block(second, nil)), 0o600, "secret", reason.Malformed},
		{"another repository", join(block(first, nil), block(second, func(b *pem.Block) { b.Headers["Repository"] = "elsewhere" })), 0o600, "secret", reason.Malformed},
		{"image twice", join(block(first, nil), block(first, nil)), 0o600, "secret", reason.Malformed},
		{"no public half", join(block(first, func(b *pem.Block) { delete(b.Headers, "Public") }), block(second, nil)), 0o600, "secret", reason.Malformed},
		{"public half is no base64", join(block(first, func(b *pem.Block) { b.Headers["Public"] = "{}" }), block(second, nil)), 0o600, "secret", reason.Malformed},
		{"director key missing", block(first, nil), 0o600, "secret", reason.Malformed},
		{"only a director key", block(second, nil), 0o600, "secret", reason.Malformed},
		{"public half of another", join(block(first, func(b *pem.Block) { b.Headers["Public"] = otherFirst.Headers["Public"] }), block(second, nil)), 0o600, "secret", reason.Malformed},
		{"cipher text changed", join(block(first, func(b *pem.Block) {
			b.Bytes = bytes.Replace(b.Bytes, []byte(`"ciphertext":"`), []byte(`"ciphertext":"AAAA`), 1)
		}), block(second, nil)), 0o600, "secret", reason.WrongPassphrase},
		{"scrypt made cheap", join(block(first, func(b *pem.Block) {
			b.Bytes = bytes.Replace(b.Bytes, []byte(`"N":32768`), []byte(`"N":2`), 1)
		}), block(second, nil)), 0o600, "secret", reason.Malformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "rivera.key")
			if err := os.WriteFile(path, c.data, c.mode); err != nil {
				t.Fatal(err)
			}
			p, err := key.Load(path, answer(c.pass))
			wantReason(t, err, c.want)
			if err != nil && p != nil {
				t.Error("keys in spite of the error")
			}
		})
	}
	t.Run("no file", func(t *testing.T) {
		_, err := key.Load(filepath.Join(t.TempDir(), "none.key"), answer("x"))
		wantReason(t, err, reason.NotFound)
	})
	t.Run("empty passphrase on saving", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "rivera.key")
		wantReason(t, k.Save(path, nil), reason.WrongPassphrase)
		if _, err := os.Stat(path); err == nil {
			t.Error("a file was left")
		}
	})
	if _, err := key.Generate("rsa", key.Public{Person: "rivera"}, false); !reason.Is(err, reason.UsageError) {
		t.Errorf("rsa: %v", err)
	}
}

func TestParsePublic(t *testing.T) {
	k, p256 := generate(t, key.Ed25519, true), generate(t, key.P256, false)
	data, err := k.Public.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Count(data, []byte("\n")) != 1 {
		t.Errorf("not one line: %q", data)
	}
	withoutDirector, err := p256.Public.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	imageHex := k.Public.Image.Value.PublicKey
	for _, c := range []struct {
		name string
		data string
		want reason.Reason
	}{
		{"none", string(data), ""},
		{"without director", string(withoutDirector), ""},
		{"spread over lines", strings.ReplaceAll(string(data), ",", ",\n  "), ""},
		{"empty", "", reason.Malformed},
		{"unknown member", strings.Replace(string(data), `"name"`, `"age":7,"name"`, 1), reason.UnknownMember},
		{"name twice", strings.Replace(string(data), `"name"`, `"name":"x","name"`, 1), reason.DuplicateName},
		{"folded name", strings.Replace(string(data), `"class"`, `"Class"`, 1), reason.FoldedName},
		{"image is null", `{"class":"","image":null,"name":"","person":"rivera"}`, reason.Null},
		{"no image", `{"class":"","name":"","person":"rivera"}`, reason.NotCanonical},
		{"bad person", strings.Replace(string(data), `"rivera"`, `"Rivera"`, 1), reason.Malformed},
		{"bad class", strings.Replace(string(data), `"engineering"`, `"root"`, 1), reason.Malformed},
		{"long name", strings.Replace(string(data), "Ana", strings.Repeat("a", 300), 1), reason.Malformed},
		{"one key for both", strings.Replace(string(data), k.Public.Director.Value.PublicKey, imageHex, 1), reason.KeyTwice},
		{"short key", strings.Replace(string(data), imageHex, imageHex[2:], 1), reason.KeyMalformed},
		{"RSA", strings.Replace(string(data), `"keytype":"ed25519"`, `"keytype":"rsa"`, 1), reason.KeyMalformed},
		{"member too many in a key", strings.Replace(string(data), `"keytype"`, `"note":"x","keytype"`, 1), reason.KeyMalformed},
		{"something follows", string(data) + "{}", reason.Malformed},
		{"too large", string(data) + strings.Repeat(" ", key.MaxPublic), reason.TooLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := key.ParsePublic([]byte(c.data))
			wantReason(t, err, c.want)
		})
	}
}

func FuzzParsePublic(f *testing.F) {
	for _, kind := range []key.Type{key.Ed25519, key.P256} {
		data, err := generate(f, kind, true).Public.Bytes()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"class":"","image":{},"name":"","person":"rivera"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := key.ParsePublic(data)
		if err != nil {
			if !reason.Of(err).Known() {
				t.Errorf("no reason: %v", err)
			}
			return
		}
		written, err := p.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		again, err := key.ParsePublic(written)
		if err != nil {
			t.Fatalf("written, but cannot be read: %v", err)
		}
		if second, err := again.Bytes(); err != nil || !bytes.Equal(second, written) {
			t.Errorf("written twice it differs: %v", err)
		}
	})
}

// A key file from outside never makes the loader panic, or ask for a passphrase without keys.
func FuzzRead(f *testing.F) {
	data, err := generate(f, key.Ed25519, true).Encrypt([]byte("x"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte("-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\nPublic: " + base64.StdEncoding.EncodeToString([]byte("{}")) + "\nRepository: image\n\nAAAA\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n"))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(dir, "fuzz.key")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		read, err := key.Read(path)
		if err == nil && read.Public.Image == nil {
			t.Error("no image key")
		}
		if err != nil && !reason.Of(err).Known() {
			t.Errorf("no reason: %v", err)
		}
	})
}
