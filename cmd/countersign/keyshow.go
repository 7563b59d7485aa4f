package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/countersign-ota/countersign/cmd/internal/cli"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/signer/event"
)

// shownKey is one key in the document of `key show`.
type shownKey struct {
	Person     string      `json:"person"`
	Name       string      `json:"name,omitempty"`
	Key        string      `json:"key"`
	Repository string      `json:"repository"`
	Type       string      `json:"type"`
	ID         string      `json:"id"`
	Store      string      `json:"store,omitempty"`
	Roles      []shownRole `json:"roles"`
}

// shownRole is a role that a key may sign, by the files that this machine verified last.
type shownRole struct {
	Deployment string `json:"deployment"`
	Repository string `json:"repository"`
	Role       string `json:"role"`
	Class      string `json:"class"`
	Person     string `json:"person"`

	keyid string
}

func (t *tool) keyShowCommand() *cobra.Command {
	var public bool
	c := &cobra.Command{
		Use:   "show [KEY] [--public]",
		Short: "Show your keys and the roles they may sign, or print the .pub file of one.",
		Long:  "The roles are those of the files that this machine verified last; no server is asked.",
		Example: `  countersign key show
  countersign key show rivera --public > rivera.pub`,
		RunE: func(cmd *cobra.Command, args []string) error { return t.showKeys(cmd.Context(), args, public) },
	}
	c.Flags().BoolVar(&public, "public", false, "print the .pub file")
	return c
}

func (t *tool) showKeys(ctx context.Context, args []string, public bool) error {
	var own []ownKey
	if len(args) == 1 {
		path, err := t.findKey(args[0])
		if err != nil {
			return err
		}
		k, err := openKey(path)
		if err != nil {
			return err
		}
		own = []ownKey{k}
	} else {
		var err error
		if own, err = t.ownKeys(); err != nil {
			return err
		}
	}
	if public {
		return t.printPublic(own)
	}
	doc := struct {
		Keys []shownKey `json:"keys"`
	}{Keys: []shownKey{}}
	roles, err := t.knownRoles(ctx, own)
	if err != nil {
		return err
	}
	for _, k := range own {
		for _, r := range []metadata.Repository{metadata.Image, metadata.Director} {
			key := k.keys()[r]
			if key == nil {
				continue
			}
			id, err := metadata.KeyID(key)
			if err != nil {
				return err
			}
			shown := shownKey{Person: k.public.Person, Name: k.public.Name, Key: k.path, Repository: string(r), Type: key.Type, ID: id, Store: k.stores[r], Roles: []shownRole{}}
			for _, role := range roles {
				if role.keyid == id {
					shown.Roles = append(shown.Roles, role)
				}
			}
			doc.Keys = append(doc.Keys, shown)
		}
	}
	return t.Out.Result(doc, func() {
		if len(doc.Keys) == 0 {
			t.Out.Line("no keys yet: countersign key new --person ID")
		}
		for _, k := range doc.Keys {
			t.Out.Line("%s", k.text())
		}
	})
}

func (t *tool) printPublic(own []ownKey) error {
	if len(own) != 1 {
		return cli.Usagef("key show --public wants one key, there are %d", len(own)).WithHint("countersign key show KEY --public")
	}
	data, err := own[0].public.Bytes()
	if err != nil {
		return err
	}
	_, err = t.Out.Stdout.Write(data)
	return err
}

// text is one line: "ed25519  3abd72ec6352  chen  image  acme: gw-100 (quality), root (holder)", and at
// its end where a key is that no file holds.
func (k *shownKey) text() string {
	words := []string{pad(k.Type, 7), short(k.ID), pad(cli.Safe(k.Person), 10), pad(k.Repository, 8)}
	by := map[string][]string{}
	var order []string
	for _, r := range k.Roles {
		if by[r.Deployment] == nil {
			order = append(order, r.Deployment)
		}
		by[r.Deployment] = append(by[r.Deployment], r.Role+" ("+r.Class+")")
	}
	if len(order) == 0 {
		words = append(words, "no roles known here")
	}
	for _, d := range order {
		words = append(words, d+": "+strings.Join(by[d], ", "))
	}
	if k.Store != "" {
		words = append(words, "in "+cli.Safe(k.Store))
	}
	return strings.TrimRight(strings.Join(words, "  "), " ")
}

// knownRoles returns the roles that the keys may sign in all deployments, or the one of --deployment,
// from the files that were verified here last. They are verified again.
func (t *tool) knownRoles(ctx context.Context, own []ownKey) ([]shownRole, error) {
	h, err := t.home()
	if err != nil {
		return nil, err
	}
	ids := h.Known()
	if t.asked != "" {
		ids = []string{t.asked}
	}
	var roles []shownRole
	for _, id := range ids {
		v, err := t.published(ctx, &deployment{id: id, place: h.Place(id), settings: h.Settings(id)}, event.Pin{})
		if err == nil {
			err = v.readKept()
		}
		var some []shownRole
		if err == nil {
			some, err = v.rolesOf(own)
		}
		if err != nil {
			t.Out.Warn("the roles of %s are not shown: %s [%s]", id, cli.Safe(err.Error()), reason.Of(err))
			continue
		}
		roles = append(roles, some...)
	}
	return roles, nil
}

// readKept verifies all files that are kept here; none is no error.
func (v *view) readKept() error {
	for _, r := range []metadata.Repository{metadata.Image, metadata.Director} {
		if _, err := v.state.Pin(r); err != nil {
			return err
		}
	}
	if pin, err := v.state.Pin(metadata.Image); err != nil || pin.Version == 0 {
		return err
	}
	return v.readAll()
}

// rolesOf returns the roles in force that the keys may sign. Top-level targets are signed by those
// whom the image root names, as every role is by those whom its delegator names.
func (v *view) rolesOf(own []ownKey) ([]shownRole, error) {
	var roles []shownRole
	for _, r := range v.state.Seen() {
		d, err := v.state.Delegation(r.Repository, r.Role)
		if err != nil {
			return nil, err
		}
		if d == nil {
			continue
		}
		for _, k := range own {
			key := k.keys()[r.Repository]
			if key == nil {
				continue
			}
			id, err := metadata.KeyID(key)
			if err != nil {
				return nil, err
			}
			if p, ok := d.PersonOf(id); ok {
				roles = append(roles, shownRole{v.id, string(r.Repository), r.Role, p.Class, p.ID, id})
			}
		}
	}
	return roles, nil
}
