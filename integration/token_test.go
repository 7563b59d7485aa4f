package integration

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/countersign-ota/countersign/integration/softhsm"
	"github.com/countersign-ota/countersign/integration/world"
)

// Roots, products and releases that only SoftHSM2 tokens signed, one with P-256 and one with Ed25519 keys,
// are accepted by a stock go-tuf client and by a device.
func TestTokenKeysAndAStockTUFClient(t *testing.T) {
	dir := t.TempDir()
	w, err := world.New(filepath.Join(dir, "world"), "acme", programs)
	must(t, err)
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	pin := filepath.Join(dir, "pin")
	must(t, os.WriteFile(pin, []byte(softhsm.PIN+"\n"), 0o600))
	w.KeyFlags, w.Secrets = map[string][]string{}, map[string]string{}
	for person, algorithm := range map[string]string{world.Engineer: "p256", world.Quality: "ed25519"} {
		token, err := softhsm.In(filepath.Join(dir, "tokens"), person+"-token")
		must(t, err)
		w.KeyFlags[person] = []string{"--type", algorithm, "--store", token.URI("image"), "--director-store", token.URI("director")}
		w.Secrets[person] = pin
		w.Env = []string{token.Env(), "PATH=" + programs.Dir + string(os.PathListSeparator) + os.Getenv("PATH")}
	}
	must(t, w.Start())
	must(t, w.AddProduct("gw-100", world.TwoClasses))
	want := image(t, w, "gw.img", 300_000, 3)
	must(t, w.Release("gw-100/1.0.0", "gw.img"))

	// Without the third holder's signature the root's threshold hangs on both tokens.
	file, err := w.Root()
	must(t, err)
	var root metadata.Metadata[metadata.RootType]
	_, err = root.FromBytes(file)
	must(t, err)
	types := map[string]int{}
	root.Signatures = slices.DeleteFunc(root.Signatures, func(s metadata.Signature) bool {
		k := root.Signed.Keys[s.KeyID]
		if personOf(t, w, s.KeyID) == world.Regulator {
			return true
		}
		types[k.Type]++
		return false
	})
	if types["ecdsa"] != 1 || types["ed25519"] != 1 {
		t.Fatalf("the root is signed by keys of types %v, wanted one token of each", types)
	}
	only, err := root.ToBytes(false)
	must(t, err)
	client := stockClient(t, w)
	u := stockRefresh(t, w, only, client, filepath.Join(dir, "client"))
	stockDownload(t, u, "gw-100/1.0.0/gw.img", want)

	d, err := w.EnrolledDevice("gw-0001", world.DeviceOptions{Root: string(only)})
	must(t, err)
	must(t, d.Update())
	runs(t, d, want)
}

// personOf returns whose image key it is.
func personOf(t *testing.T, w *world.World, keyid string) string {
	t.Helper()
	for _, p := range world.People {
		var shown struct {
			Keys []struct{ ID, Repository string }
		}
		must(t, w.As(p, "key", "show", "--json").JSON(&shown))
		for _, k := range shown.Keys {
			if k.ID == keyid {
				return p
			}
		}
	}
	return ""
}
