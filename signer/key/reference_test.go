package key_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/signer/key"
)

// reference returns a file that names two keys in a store.
func reference(t testing.TB, kind key.Type, director bool) []byte {
	t.Helper()
	ref := &key.Reference{Version: 1, Public: generate(t, kind, director).Public, Image: "pkcs11://token=chen;object=image"}
	if director {
		ref.Director = "pkcs11://token=chen;object=director"
	}
	data, err := ref.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestParseReference(t *testing.T) {
	data, short := string(reference(t, key.Ed25519, true)), string(reference(t, key.P256, false))
	if strings.Count(data, "\n") != 1 || !strings.HasSuffix(data, "\n") {
		t.Errorf("not one line: %q", data)
	}
	for _, c := range []struct {
		name string
		data string
		want reason.Reason
	}{
		{"none", data, ""},
		{"without director", short, ""},
		{"spread over lines", strings.ReplaceAll(data, ",", ",\n"), ""},
		{"empty", "", reason.Malformed},
		{"an empty object", "{}", reason.NotCanonical},
		{"another form", strings.Replace(data, `"countersign_key":1`, `"countersign_key":2`, 1), reason.Malformed},
		{"no form", strings.Replace(data, `"countersign_key":1,`, ``, 1), reason.NotCanonical},
		{"a form in words", strings.Replace(data, `"countersign_key":1`, `"countersign_key":"1"`, 1), reason.Malformed},
		{"unknown member", strings.Replace(data, `"image":"pkcs11`, `"pin":"1","image":"pkcs11`, 1), reason.UnknownMember},
		{"member twice", strings.Replace(data, `"image":"pkcs11`, `"image":"x","image":"pkcs11`, 1), reason.DuplicateName},
		{"folded name", strings.Replace(data, `"image":"pkcs11`, `"Image":"pkcs11`, 1), reason.FoldedName},
		{"public is null", `{"countersign_key":1,"public":null,"image":"pkcs11://token=chen"}`, reason.NotCanonical},
		{"public is malformed", strings.Replace(data, `"person":"rivera"`, `"person":"Rivera"`, 1), reason.Malformed},
		{"URI without a key", strings.Replace(short, `"image":"pkcs11`, `"director":"pkcs11://token=b","image":"pkcs11`, 1), reason.Malformed},
		{"key without a URI", strings.Replace(data, `"director":"pkcs11://token=chen;object=director",`, ``, 1), reason.Malformed},
		{"a path", strings.Replace(data, `pkcs11://token=chen;object=image`, `/dev/sda`, 1), reason.Config},
		{"no image URI", strings.Replace(data, `pkcs11://token=chen;object=image`, ``, 1), reason.Config},
		{"a PIN", strings.Replace(data, `object=image`, `object=image?pin-value=1234`, 1), reason.Config},
		{"escape sequence", strings.Replace(data, `object=image`, `object=\u001b[2J`, 1), reason.Config},
		{"long URI", strings.Replace(data, `object=image`, `object=`+strings.Repeat("i", 5000), 1), reason.Config},
		{"one URI for both", strings.Replace(data, `object=director`, `object=image`, 1), reason.KeyTwice},
		{"something follows", data + "{}", reason.Malformed},
		{"too large", data + strings.Repeat(" ", 70<<10), reason.TooLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			ref, err := key.ParseReference([]byte(c.data))
			wantReason(t, err, c.want)
			if err != nil && ref != nil {
				t.Error("a reference in spite of the error")
			}
			if c.name == "a PIN" && strings.Contains(err.Error(), "1234") {
				t.Errorf("the error shows the PIN: %v", err)
			}
		})
	}
}

// A file that names keys is as private as one that holds them, and is not taken for one.
func TestReferenceFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "chen.key")
	ref, err := key.ParseReference(reference(t, key.Ed25519, true))
	if err != nil {
		t.Fatal(err)
	}
	if err := ref.Save(path); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	wantReason(t, ref.Save(path), reason.Exists)
	f, err := key.Read(path)
	if err != nil || f.Stores[metadata.Image] != ref.Image || f.Stores[metadata.Director] != ref.Director {
		t.Errorf("got %+v, %v", f, err)
	}
	// No store is allowed by itself.
	_, err = key.Load(path, answer("x"))
	wantReason(t, err, reason.Config)
	_, err = key.Open(t.Context(), path, key.Options{Stores: []string{"awskms"}})
	wantReason(t, err, reason.Config)
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = key.Read(path)
	wantReason(t, err, reason.SecretExposed)
}

// An encrypted file is refused where nobody can say its passphrase.
func TestOpenWithoutAPassphrase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rivera.key")
	if err := generate(t, key.Ed25519, false).Save(path, []byte("secret")); err != nil {
		t.Fatal(err)
	}
	_, err := key.Open(t.Context(), path, key.Options{})
	wantReason(t, err, reason.WrongPassphrase)
}

func FuzzParseReference(f *testing.F) {
	for _, kind := range []key.Type{key.Ed25519, key.P256} {
		f.Add(reference(f, kind, true))
		f.Add(reference(f, kind, false))
	}
	f.Add([]byte(`{"countersign_key":1,"public":{},"image":"pkcs11://x"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		ref, err := key.ParseReference(data)
		if err != nil {
			if !reason.Of(err).Known() {
				t.Errorf("no reason: %v", err)
			}
			return
		}
		written, err := ref.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		again, err := key.ParseReference(written)
		if err != nil {
			t.Fatalf("written, but cannot be read: %v", err)
		}
		if second, err := again.Bytes(); err != nil || !bytes.Equal(second, written) {
			t.Errorf("written twice it differs: %v", err)
		}
		if (ref.Director == "") != (ref.Public.Director == nil) || strings.Contains(ref.Image, "pin-value") {
			t.Errorf("let through: %s", data)
		}
	})
}
