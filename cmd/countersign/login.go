package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/countersign-ota/countersign/cmd/countersign/internal/home"
	"github.com/countersign-ota/countersign/cmd/internal/cli"
	"github.com/countersign-ota/countersign/proto/enroll"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/signer/event"
	"github.com/countersign-ota/countersign/signer/remote"
)

// loggedIn is the document of `login`.
type loggedIn struct {
	Deployment string   `json:"deployment"`
	Operator   string   `json:"operator"`
	Roles      []string `json:"roles"`
	Server     string   `json:"server"`
	HTTPS      string   `json:"https"`
	Expires    string   `json:"certificate_expires"`
	// Root is the version and fingerprint of the pinned image root; absent before there is one.
	RootVersion int64  `json:"root_version,omitempty"`
	Root        string `json:"root,omitempty"`
}

func (t *tool) loginCommand() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "login [--token-file FILE]",
		Short: "Prove a token to its server and add the deployment here; without a token, say who is logged in.",
		Long: `The token file comes from the server's operator invite, or from countersignd init for the first person. It names the
server, its identity CA and the fingerprint of image root 1, so nothing is trusted on first use. The connection key is
made here. Delete the token file afterwards.`,
		Example: "  countersign login --token-file rivera.token",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file == "" {
				return t.loginAgain(cmd.Context())
			}
			return t.login(cmd.Context(), file)
		},
	}
	c.Flags().StringVar(&file, "token-file", "", "the token `FILE`")
	c.Flags().StringArrayVar(&t.expect, "expect", nil, "the `FINGERPRINT` of the root that is to be pinned, for scripts")
	return c
}

// login uses a token.
func (t *tool) login(ctx context.Context, file string) error {
	data, err := readFile(file, enroll.MaxTokenFile)
	if err != nil {
		return err
	}
	token, err := enroll.ParseTokenFile(data)
	if err != nil {
		return reason.Wrap(err, "%s", cli.Quote(file))
	}
	d, err := t.choose(token.Deployment)
	if err != nil {
		return err
	}
	key, err := d.place.LoginKey(token.ID)
	if err != nil {
		return err
	}
	id, roles, err := remote.Login(ctx, remote.Config{Address: token.Server, Agent: agent()}, token, key)
	if reason.Is(err, reason.TokenInvalid) {
		return errors.Join(err, d.place.DropLoginKey(token.ID)) // it will never be good for anything
	}
	if err != nil {
		return err
	}
	if err := t.keepLogin(d, token, id); err != nil {
		return err
	}
	defer d.Close()
	if err := t.connect(ctx, d); err != nil {
		return err
	}
	pin, err := pinOf(token)
	if err != nil {
		return err
	}
	return t.report(ctx, d, roles, pin)
}

// pinOf returns the root that a token names; the zero pin for the very first token.
func pinOf(token *enroll.TokenFile) (event.Pin, error) {
	if token.Root == "" {
		return event.Pin{}, nil
	}
	sum, err := hex.DecodeString(token.Root)
	if err != nil || len(sum) != 32 {
		return event.Pin{}, reason.Errorf(reason.Malformed, "the token names root %q", token.Root)
	}
	return event.Pin{Version: 1, Digest: [32]byte(sum)}, nil
}

// keepLogin writes what a login gave; the key of the token goes last, since it repeats the login.
func (t *tool) keepLogin(d *deployment, token *enroll.TokenFile, id *remote.Identity) error {
	if err := d.place.KeepCA(token.CA); err != nil {
		return err
	}
	if err := d.place.KeepIdentity(id); err != nil {
		return err
	}
	h, err := t.home()
	if err != nil {
		return err
	}
	d.settings = home.Settings{Server: token.Server, HTTPS: token.HTTPS, Operator: token.Subject, Key: d.settings.Key}
	if own := filepath.Join(h.Paths.Keys, token.Subject+".key"); d.settings.Key == "" {
		if _, err := os.Stat(own); err == nil {
			d.settings.Key = own
		}
	}
	if err := h.Configure(d.id, d.settings); err != nil {
		return err
	}
	return d.place.DropLoginKey(token.ID)
}

// loginAgain says who is logged in and renews the connection key.
func (t *tool) loginAgain(ctx context.Context) error {
	d, err := t.connected(ctx, "")
	if err != nil {
		return err
	}
	defer d.Close()
	who, err := d.client.WhoAmI(ctx)
	if err != nil {
		return err
	}
	return t.report(ctx, d, who.GetRoles(), event.Pin{})
}

// report verifies and pins the image root that the server has published, and says who is logged in
// where. pin is trusted where nothing is pinned here yet.
func (t *tool) report(ctx context.Context, d *deployment, roles []string, pin event.Pin) error {
	v, err := t.published(ctx, d, pin)
	if err != nil {
		return err
	}
	root, err := v.state.Pin(metadata.Image)
	if err != nil {
		return err
	}
	if root.Version > 0 {
		if err := t.contact(ctx, v, metadata.Image); err != nil {
			return err
		}
		if err := v.readAll(); err != nil {
			return err
		}
		if err := v.remember(); err != nil {
			return err
		}
	}
	id, err := d.place.Identity()
	if err != nil {
		return err
	}
	doc := loggedIn{
		Deployment: d.id, Operator: d.settings.Operator, Roles: roles, Server: d.settings.Server, HTTPS: d.settings.HTTPS,
		Expires: rfc3339(id.Expires()),
	}
	known := "no root yet"
	if root.Version > 0 {
		doc.RootVersion, doc.Root = root.Version, digest(root.Digest)
		known = fmt.Sprintf("image root %d %s", root.Version, doc.Root)
	}
	return t.Out.Result(doc, func() {
		t.Out.Line("logged in to %s at %s as %s, roles %s; %s", d.id, cli.Safe(d.settings.Server), d.settings.Operator,
			cli.Safe(strings.Join(roles, ", ")), known)
	})
}
