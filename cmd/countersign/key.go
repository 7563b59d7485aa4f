package main

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/countersign-ota/countersign/cmd/internal/cli"
	"github.com/countersign-ota/countersign/internal/durable"
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
	c.Flags().StringVar(&t.key, "key", "", "the key: a file, or a person's `REF` among your keys")
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
}

func (t *tool) keyNewCommand() *cobra.Command {
	var about key.Public
	var typ string
	var director bool
	c := &cobra.Command{
		Use:   "new --person ID [--name TEXT --class ID --type ed25519|p256 --director]",
		Short: "Make the keys of a person: the encrypted ID.key among your keys, and ./ID.pub for the plan.",
		Long: `A person who signs roots needs a second key for the director's root: --director. An empty answer to the question for a
passphrase makes one, which is shown once.`,
		Example: "  countersign key new --person rivera --class engineering --director",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return t.newKey(cmd, about, key.Type(typ), director)
		},
	}
	c.Flags().StringVar(&about.Person, "person", "", "the person's `ID`")
	c.Flags().StringVar(&about.Name, "name", "", "the person's printed name, for approvals: `TEXT`; default the id")
	c.Flags().StringVar(&about.Class, "class", "", "what the person signs as by default: `ID`")
	c.Flags().StringVar(&typ, "type", string(key.Ed25519), "ed25519 or p256: `TYPE`")
	c.Flags().BoolVar(&director, "director", false, "make a second key for the director's root")
	t.passphraseFlags(c)
	return c
}

func (t *tool) newKey(cmd *cobra.Command, about key.Public, typ key.Type, director bool) error {
	if about.Person == "" {
		return cli.Usagef("key new wants a person").WithHint("add --person ID")
	}
	if err := metadata.CheckID("person", about.Person); err != nil {
		return cli.Usagef("%v", err)
	}
	if about.Class != "" {
		if err := metadata.CheckID("class", about.Class); err != nil {
			return cli.Usagef("%v", err)
		}
	}
	if about.Name == "" {
		about.Name = about.Person
	}
	if typ != key.Ed25519 && typ != key.P256 {
		return cli.Usagef("--type %s is neither ed25519 nor p256", cli.Quote(string(typ)))
	}
	h, err := t.home()
	if err != nil {
		return err
	}
	if err := durable.MkdirAll(h.Paths.Keys, 0o700); err != nil {
		return err
	}
	secret, public := filepath.Join(h.Paths.Keys, about.Person+".key"), about.Person+".pub"
	for _, path := range []string{secret, public} {
		if err := free(path); err != nil {
			return err
		}
	}
	passphrase, err := t.Ask.NewPassphrase(cmd.Context(), about.Person)
	if err != nil {
		return err
	}
	private, err := key.Generate(typ, about, director)
	if err != nil {
		return err
	}
	pub, err := private.Public.Bytes()
	if err != nil {
		return err
	}
	if err := private.Save(secret, passphrase); err != nil {
		return diskFull(err)
	}
	if err := create(public, pub, 0o644); err != nil {
		return err
	}
	doc := newKey{Person: about.Person, Key: secret, Public: public, Type: string(typ)}
	if doc.Image, err = metadata.KeyID(private.Public.Image); err != nil {
		return err
	}
	ids := "image " + short(doc.Image)
	if private.Public.Director != nil {
		if doc.Director, err = metadata.KeyID(private.Public.Director); err != nil {
			return err
		}
		ids += ", director " + short(doc.Director)
	}
	return t.Out.Result(doc, func() {
		t.Out.Line("wrote %s and ./%s: %s", t.tilde(secret), public, ids)
	})
}

// findKey returns the path of a key: REF is a path, or a person among the keys of this machine.
func (t *tool) findKey(ref string) (string, error) {
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
