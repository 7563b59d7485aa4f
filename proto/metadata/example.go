package metadata

import (
	"slices"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/countersign-ota/countersign/proto/reason"
)

// exampleKeys are the raw Ed25519 public keys of keys-example, whose private halves everybody knows:
// the seed of each is SHA-256("countersign example key: <who> <repository>"). Server and agent always
// refuse them; there is no flag (DESIGN 1.4).
var exampleKeys = [][2]string{
	{"rivera image", "c6dff8e82c673c1fd3b77780c8339e07e8520d15f77703ec9a2677e24c88946b"},
	{"rivera director", "04e32d207a54a5bd11513b712af05c868e860087639f152e6bbd4e3b5d9e7b58"},
	{"chen image", "970a63180172e41770602d79481fdafcc20ea2698a0f590fdcaba1d63377f7ed"},
	{"chen director", "96f560d2af709037728f8211f11c441ef77fe17356f108cf92147454f8feca14"},
	{"okafor image", "915ac4d74dd2b0114a1baec6bab0903a261a7904defa3582fa74138a2ea679d1"},
	{"okafor director", "27eff527403562641c89d18563f9504bc114a6814667079273a91a1e5f501649"},
	{"online image", "5abb4532575084a1ecc1d096794de939db9de605570cc097081034bfd00c5afc"},
	{"online director", "68cec23b13f2b96abfea2e92b2f7ce212915a7bedf36cd9b6128ae8c7c800498"},
}

// ExampleKey reports whether k is one of the keys of keys-example, whatever its key object looks like.
func ExampleKey(k *Key) bool {
	raw, err := RawKey(k)
	return err == nil && slices.ContainsFunc(exampleKeys, func(e [2]string) bool { return raw == "ed25519:"+e[1] })
}

// CheckNoExampleKeys refuses a root or targets file that lists a key of keys-example (key-example).
func CheckNoExampleKeys[T metadata.Roles](f *File[T]) error {
	keys := keysOf(&f.Signed)
	for _, id := range sortedKeys(keys) {
		if ExampleKey(keys[id]) {
			return reason.Errorf(reason.KeyExample, "key %s is one of keys-example, with which everybody can sign", short(id)).
				WithHint("make keys of your own with `countersign key new`")
		}
	}
	return nil
}
