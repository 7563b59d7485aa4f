package key_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign-ota/countersign/integration/softhsm"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/signer/key"
)

// atToken are Options that give the PIN and count how often it was asked for.
func atToken(pin string, asked *int) key.Options {
	return key.Options{Stores: []string{"pkcs11"}, PIN: func(context.Context, string) ([]byte, error) {
		*asked++
		return []byte(pin), nil
	}}
}

var chen = key.Public{Person: "chen", Name: "Chen", Class: "quality"}

func TestKeysOnAToken(t *testing.T) {
	softhsm.Plugin(t)
	token := softhsm.New(t)
	for object, algorithm := range map[string]string{"old": softhsm.P256, "image": softhsm.Ed25519} {
		if err := token.Make(object, map[string]string{"old": "01", "image": "02"}[object], algorithm); err != nil {
			t.Fatal(err)
		}
	}
	asked := 0
	o := atToken(softhsm.PIN, &asked)
	save := func(t *testing.T, stores map[metadata.Repository]string, typ key.Type) (string, *key.Adopted) {
		t.Helper()
		a, err := key.InStore(t.Context(), chen, stores, typ, o)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "chen.key")
		if err := a.Reference.Save(path); err != nil {
			t.Fatal(err)
		}
		return path, a
	}

	t.Run("one is found, the other made", func(t *testing.T) {
		path, a := save(t, map[metadata.Repository]string{metadata.Image: token.URI("image"), metadata.Director: token.URI("director")}, "")
		if !a.Found[metadata.Image] || a.Found[metadata.Director] {
			t.Errorf("found %v", a.Found)
		}
		p, err := key.Open(t.Context(), path, o)
		if err != nil {
			t.Fatal(err)
		}
		signers, err := p.Signers()
		if err != nil || len(signers) != 2 {
			t.Fatalf("%d signers, %v", len(signers), err)
		}
		for r, public := range p.Public.Keys() {
			if _, err := metadata.Sign([]byte("message"), signers[r], public); err != nil {
				t.Errorf("%s: %v", r, err)
			}
		}
		if p.Public.Class != "quality" || p.Public.Image.Type != "ed25519" || p.Public.Director.Type != "ed25519" {
			t.Errorf("got %+v", p.Public)
		}
	})
	t.Run("found without a PIN, whatever its type", func(t *testing.T) {
		asked = 0
		_, a := save(t, map[metadata.Repository]string{metadata.Image: token.URI("old")}, "")
		if asked != 0 || a.Reference.Public.Image.Type != "ecdsa" {
			t.Errorf("asked %d times; %+v", asked, a.Reference.Public.Image)
		}
	})
	t.Run("a token that is not wanted need not be there", func(t *testing.T) {
		path, _ := save(t, map[metadata.Repository]string{metadata.Image: token.URI("image"), metadata.Director: token.URI("second")}, "")
		if err := token.Drop("second"); err != nil {
			t.Fatal(err)
		}
		only := o
		only.Repositories = []metadata.Repository{metadata.Image}
		p, err := key.Open(t.Context(), path, only)
		if err != nil {
			t.Fatal(err)
		}
		if signers, err := p.Signers(); err != nil || len(signers) != 1 {
			t.Errorf("%d signers, %v", len(signers), err)
		}
		_, err = key.Open(t.Context(), path, o)
		wantReason(t, err, reason.NotFound)
	})
	t.Run("another key of that name", func(t *testing.T) {
		path, _ := save(t, map[metadata.Repository]string{metadata.Image: token.URI("swapped")}, key.P256)
		if err := token.Drop("swapped"); err != nil {
			t.Fatal(err)
		}
		if err := token.Make("swapped", "09", softhsm.P256); err != nil {
			t.Fatal(err)
		}
		p, err := key.Open(t.Context(), path, o)
		wantReason(t, err, reason.Malformed)
		if p != nil || err == nil || !strings.Contains(err.Error(), "this file was made for") {
			t.Errorf("got %v, %v", p, err)
		}
	})
	t.Run("a wrong PIN", func(t *testing.T) {
		path, _ := save(t, map[metadata.Repository]string{metadata.Image: token.URI("image")}, "")
		wrong := 0
		p, err := key.Open(t.Context(), path, atToken("000000", &wrong))
		if err != nil {
			t.Fatal(err)
		}
		signers, err := p.Signers()
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			_, err = metadata.Sign([]byte("message"), signers[metadata.Image], p.Public.Image)
			wantReason(t, err, reason.WrongPIN)
		}
		if wrong != 1 {
			t.Errorf("asked %d times", wrong)
		}
	})
	t.Run("by its URI alone", func(t *testing.T) {
		s, err := key.OpenURI(t.Context(), token.URI("old"), o)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := metadata.Sign([]byte("message"), s.Signer(t.Context()), s.Key); err != nil {
			t.Error(err)
		}
	})
	for _, c := range []struct {
		name   string
		stores map[metadata.Repository]string
		typ    key.Type
		want   reason.Reason
	}{
		{"no image key", map[metadata.Repository]string{metadata.Director: token.URI("old")}, "", reason.Config},
		{"a file", map[metadata.Repository]string{metadata.Image: "chen.key"}, "", reason.Config},
		{"another scheme", map[metadata.Repository]string{metadata.Image: "awskms://x"}, "", reason.Config},
		{"another type", map[metadata.Repository]string{metadata.Image: token.URI("old")}, key.Ed25519, reason.Exists},
		{"one URI twice", map[metadata.Repository]string{metadata.Image: token.URI("old"), metadata.Director: token.URI("old")}, "", reason.KeyTwice},
		{"one key by two URIs", map[metadata.Repository]string{metadata.Image: token.URI("old"), metadata.Director: strings.Replace(token.URI("old"), "object=old", "id=%01", 1)}, "", reason.KeyTwice},
		{"an unknown token", map[metadata.Repository]string{metadata.Image: strings.Replace(token.URI("old"), "chen-yubi", "nobody", 1)}, "", reason.NotFound},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, err := key.InStore(t.Context(), chen, c.stores, c.typ, o)
			wantReason(t, err, c.want)
			if a != nil {
				t.Error("keys in spite of the error")
			}
		})
	}
}
