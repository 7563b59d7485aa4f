package kms_test

import (
	"testing"
	"time"

	"github.com/sigstore/sigstore/pkg/signature"
	tuf "github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"

	"github.com/countersign-ota/countersign/integration/softhsm"
	"github.com/countersign-ota/countersign/internal/kms"
	"github.com/countersign-ota/countersign/proto/metadata"
)

// A stock TUF client takes a root that two keys of a token signed, and the next one that the token's
// Ed25519 key alone signs.
func TestStockClientTakesARootOfAToken(t *testing.T) {
	token := softhsm.New(t)
	softhsm.Plugin(t)
	signers := map[string]signature.Signer{}
	keys := map[string]*metadata.Key{}
	for name, algorithm := range map[string]string{"p256": "p256", "ed25519": "ed25519"} {
		k, err := kms.Create(t.Context(), token.URI(name), algorithm, pkcs11(softhsm.PIN))
		if err != nil {
			t.Fatal(err)
		}
		signers[name] = k.Signer(t.Context())
		if keys[name], err = metadata.NewKey(k.Public()); err != nil {
			t.Fatal(err)
		}
	}
	root := tuf.Root(time.Now().Add(time.Hour))
	for _, k := range keys {
		for _, role := range []string{"root", "targets", "snapshot", "timestamp"} {
			if err := root.Signed.AddKey(k, role); err != nil {
				t.Fatal(err)
			}
		}
	}
	root.Signed.Roles["root"].Threshold = 2
	sign := func(names ...string) []byte {
		root.ClearSignatures()
		canonical, err := metadata.Canonical(root.Signed)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range names {
			s, err := metadata.Sign(canonical, signers[n], keys[n])
			if err != nil {
				t.Fatal(err)
			}
			root.Signatures = append(root.Signatures, s)
		}
		data, err := root.ToBytes(false)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	if _, err := trustedmetadata.New(sign("p256")); err == nil {
		t.Error("one signature of two was enough")
	}
	client, err := trustedmetadata.New(sign("p256", "ed25519"))
	if err != nil {
		t.Fatal(err)
	}
	root.Signed.Version = 2
	root.Signed.Roles["root"].Threshold = 1
	if _, err := client.UpdateRoot(sign("p256", "ed25519")); err != nil {
		t.Error(err)
	}
	root.Signed.Version = 3
	if _, err := client.UpdateRoot(sign("ed25519")); err != nil {
		t.Error(err)
	}
	if got := client.Root.Signed.Version; got != 3 {
		t.Errorf("the client is at root %d, want 3", got)
	}
}
