package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/countersign-ota/countersign/cmd/internal/cli"
	"github.com/countersign-ota/countersign/internal/durable"
	"github.com/countersign-ota/countersign/internal/kms"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/signer/key"
)

func (t *tool) keyCommand() *cobra.Command {
	c := &cobra.Command{Use: "key", Short: "Make and show the keys with which people sign."}
	c.AddCommand(t.keyNewCommand(), t.keyShowCommand())
	return c
}

// signingFlags are the flags of commands that open a key.
func (t *tool) signingFlags(c *cobra.Command) {
	c.Flags().StringVar(&t.key, "key", "", "the key, `REF`: a person among your keys, a file, or the URI of one in a store")
	c.Flags().StringArrayVar(&t.expect, "expect", nil, "the full `ID` of the event that is meant, or the fingerprint of the root to pin, for scripts")
	t.passphraseFlags(c)
}

func (t *tool) passphraseFlags(c *cobra.Command) {
	c.Flags().StringVar(&t.Ask.PassphraseFile, "passphrase-file", "", "a `FILE` of mode 0600 with the passphrase")
	c.Flags().StringVar(&t.Ask.PassphraseFD, "passphrase-fd", "", "the open file descriptor `N` with the passphrase")
}

// newKey is the document of `key new`.
type newKey struct {
	Person   string `json:"person"`
	Key      string `json:"key"`
	Public   string `json:"public"`
	Type     string `json:"type"`
	Image    string `json:"image"`
	Director string `json:"director,omitempty"`
	// Made are the repositories whose key was not there before.
	Made []string `json:"made"`
}

// newKeyFlags are what `key new` is asked for.
type newKeyFlags struct {
	about           key.Public
	typ             string
	director        bool
	store, dirStore string
}

func (t *tool) keyNewCommand() *cobra.Command {
	var f newKeyFlags
	c := &cobra.Command{
		Use:   "new --person ID [--name TEXT --class ID --type ed25519|p256 --director --store URI --director-store URI]",
		Short: "Make the keys of a person: ID.key among your keys, and ./ID.pub for the plan.",
		Long: `A person who signs roots needs a second key for the director's root: --director. ID.key is encrypted; an empty answer to
the question for a passphrase makes one, which is shown once. With --store the keys are on a token, or in another store
with a plug-in: a key that is there is taken, else one is made there, and ID.key only says where it is.`,
		Example: `  countersign key new --person rivera --class engineering --director
  countersign key new --person chen --store "pkcs11://token=chen-yubi;object=image?module-path=/usr/lib/opensc-pkcs11.so"`,
		RunE: func(cmd *cobra.Command, _ []string) error { return t.newKey(cmd.Context(), f) },
	}
	c.Flags().StringVar(&f.about.Person, "person", "", "the person's `ID`")
	c.Flags().StringVar(&f.about.Name, "name", "", "the person's printed name, for approvals: `TEXT`; default the id")
	c.Flags().StringVar(&f.about.Class, "class", "", "what the person signs as by default: `ID`")
	c.Flags().StringVar(&f.typ, "type", "", "ed25519 or p256: `TYPE`; default ed25519, or what the store holds")
	c.Flags().BoolVar(&f.director, "director", false, "make a second key for the director's root")
	c.Flags().StringVar(&f.store, "store", "", "the `URI` of the key in its store")
	c.Flags().StringVar(&f.dirStore, "director-store", "", "the `URI` of the second key in its store")
	t.passphraseFlags(c)
	return c
}

// check judges the flags by themselves.
func (f *newKeyFlags) check() error {
	if f.about.Person == "" {
		return cli.Usagef("key new wants a person").WithHint("add --person ID")
	}
	if err := metadata.CheckID("person", f.about.Person); err != nil {
		return cli.Usagef("%v", err)
	}
	if f.about.Class != "" {
		if err := metadata.CheckID("class", f.about.Class); err != nil {
			return cli.Usagef("%v", err)
		}
	}
	if f.about.Name == "" {
		f.about.Name = f.about.Person
	}
	switch typ := key.Type(f.typ); {
	case typ != "" && typ != key.Ed25519 && typ != key.P256:
		return cli.Usagef("--type %s is neither ed25519 nor p256", cli.Quote(f.typ))
	case f.dirStore != "" && f.store == "":
		return cli.Usagef("--director-store without --store: both keys are in stores, or in one encrypted file").WithHint("add --store URI")
	case f.director && f.store != "" && f.dirStore == "":
		return cli.Usagef("--director with --store wants to know where the second key is").WithHint("add --director-store URI")
	}
	return nil
}

func (t *tool) newKey(ctx context.Context, f newKeyFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	h, err := t.home()
	if err != nil {
		return err
	}
	if err := durable.MkdirAll(h.Paths.Keys, 0o700); err != nil {
		return err
	}
	secret, public := filepath.Join(h.Paths.Keys, f.about.Person+".key"), f.about.Person+".pub"
	for _, path := range []string{secret, public} {
		if err := free(path); err != nil {
			return err
		}
	}
	var about key.Public
	found := map[metadata.Repository]bool{}
	if f.store != "" {
		about, found, err = t.keysInStore(ctx, f, secret)
	} else {
		about, err = t.keysInFile(ctx, f, secret)
	}
	if err != nil {
		return diskFull(err)
	}
	pub, err := about.Bytes()
	if err != nil {
		return err
	}
	if err := create(public, pub, 0o644); err != nil {
		return err
	}
	doc := newKey{Person: about.Person, Key: secret, Public: public, Type: typeOf(about.Image), Made: []string{}}
	var words []string
	for _, r := range []metadata.Repository{metadata.Image, metadata.Director} {
		k := about.Keys()[r]
		if k == nil {
			continue
		}
		id, err := metadata.KeyID(k)
		if err != nil {
			return err
		}
		word := string(r) + " " + short(id)
		if r == metadata.Image {
			doc.Image = id
		} else {
			doc.Director = id
		}
		if !found[r] {
			doc.Made = append(doc.Made, string(r))
		}
		if f.store != "" {
			word += " " + map[bool]string{true: "found", false: "made"}[found[r]]
		}
		words = append(words, word)
	}
	return t.Out.Result(doc, func() {
		t.Out.Line("wrote %s and ./%s: %s", t.tilde(secret), public, strings.Join(words, ", "))
	})
}

// typeOf names the type of a key as --type does.
func typeOf(k *metadata.Key) string {
	if k.Type == "ecdsa" {
		return string(key.P256)
	}
	return k.Type
}

// keysInFile makes keys in an encrypted file.
func (t *tool) keysInFile(ctx context.Context, f newKeyFlags, path string) (key.Public, error) {
	passphrase, err := t.Ask.NewPassphrase(ctx, f.about.Person)
	if err != nil {
		return key.Public{}, err
	}
	typ := key.Ed25519
	if f.typ != "" {
		typ = key.Type(f.typ)
	}
	private, err := key.Generate(typ, f.about, f.director)
	if err != nil {
		return key.Public{}, err
	}
	return private.Public, private.Save(path, passphrase)
}

// keysInStore takes or makes keys in their stores and writes the file that names them.
func (t *tool) keysInStore(ctx context.Context, f newKeyFlags, path string) (key.Public, map[metadata.Repository]bool, error) {
	h, err := t.home()
	if err != nil {
		return key.Public{}, nil, err
	}
	stores := map[metadata.Repository]string{metadata.Image: f.store}
	if f.dirStore != "" {
		stores[metadata.Director] = f.dirStore
	}
	adopted, err := key.InStore(ctx, f.about, stores, key.Type(f.typ), key.Options{
		Stores: h.KMS(),
		PIN: func(ctx context.Context, uri string) ([]byte, error) {
			return t.Ask.PIN(ctx, f.about.Person+", "+keysAt(uri, f.store, f.dirStore))
		},
	})
	if err != nil {
		return key.Public{}, nil, err
	}
	return adopted.Reference.Public, adopted.Found, adopted.Reference.Save(path)
}

// keysAt names the keys that are opened by the PIN of the store at uri: which they are is not known yet.
func keysAt(uri, image, director string) string {
	switch at := tokenOf(uri); {
	case director != "" && tokenOf(image) == tokenOf(director):
		return "image and director key"
	case director != "" && at == tokenOf(director):
		return "director key"
	}
	return "image key"
}

// findKey returns the path of a key: REF is a path, or a person among the keys of this machine.
func (t *tool) findKey(ref string) (string, error) {
	if err := kms.CheckPIN(ref); err != nil {
		return "", err
	}
	if strings.ContainsRune(ref, '/') || strings.HasSuffix(ref, ".key") {
		return ref, nil
	}
	h, err := t.home()
	if err != nil {
		return "", err
	}
	path := filepath.Join(h.Paths.Keys, ref+".key")
	if _, err := os.Stat(path); err != nil {
		e := cli.Usagef("there is no key %s in %s", cli.Quote(ref), t.tilde(h.Paths.Keys))
		own, lerr := t.ownKeys()
		if lerr != nil {
			return "", lerr
		}
		if near := cli.Nearest(ref, people(own)); near != "" {
			return "", e.WithHint("--key %s", near)
		}
		return "", e.WithHint("countersign key show")
	}
	return path, nil
}
