package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign-ota/countersign/cmd/internal/cli"
	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/metadata"
)

func (t *tool) operatorCommand() *cobra.Command {
	c := &cobra.Command{Use: "operator", Short: "Invite, list and revoke the people who may speak to the server."}
	c.AddCommand(t.operatorInviteCommand(), t.operatorListCommand(), t.operatorRevokeCommand())
	return c
}

// invited is the document of `operator invite` and of each device of `device invite`.
type invited struct {
	Deployment string   `json:"deployment"`
	Kind       string   `json:"kind"`
	ID         string   `json:"id"`
	Roles      []string `json:"roles,omitempty"`
	Site       string   `json:"site,omitempty"`
	File       string   `json:"file"`
	Expires    string   `json:"expires"`
}

func (t *tool) operatorInviteCommand() *cobra.Command {
	var roles []string
	var site, out string
	c := &cobra.Command{
		Use:     "invite ID --role IDS [--site ID] -o FILE",
		Short:   "Make a one-time token with which a person logs in.",
		Example: "  countersign operator invite chen --role release,auditor -o chen.token",
		RunE: func(cmd *cobra.Command, args []string) error {
			return t.inviteOperator(cmd.Context(), args[0], roles, site, out)
		},
	}
	c.Flags().StringSliceVar(&roles, "role", nil, "roles to grant: `IDS` with commas")
	c.Flags().StringVar(&site, "site", "", "site of a clinical operator: `ID`; default all")
	c.Flags().StringVarP(&out, "output", "o", "", "the token `FILE`, a secret")
	return c
}

func (t *tool) inviteOperator(ctx context.Context, id string, roles []string, site, out string) error {
	if err := metadata.CheckID("operator", id); err != nil {
		return cli.Usagef("%v", err)
	}
	if len(roles) == 0 {
		return cli.Usagef("operator invite wants roles").WithHint("add --role release")
	}
	if out == "" {
		return cli.Usagef("operator invite wants a file for the token").WithHint("add -o %s.token", id)
	}
	if err := free(out); err != nil {
		return err
	}
	d, err := t.connected(ctx, "")
	if err != nil {
		return err
	}
	defer d.Close()
	token, err := d.client.InviteOperator(ctx, id, roles, site)
	if err != nil {
		return err
	}
	data, err := token.Bytes()
	if err != nil {
		return err
	}
	if err := create(out, data, 0o600); err != nil {
		return err
	}
	doc := invited{d.id, string(token.Kind), id, roles, site, out, rfc3339(token.Expires)}
	return t.Out.Result(doc, func() {
		t.Out.Line("wrote %s: one login as %s to %s until %s", cli.Safe(out), id, d.id, minute(token.Expires))
	})
}

// operatorLine is one operator in the document of `operator list`.
type operatorLine struct {
	ID       string   `json:"id"`
	Roles    []string `json:"roles"`
	Site     string   `json:"site,omitempty"`
	Revoked  bool     `json:"revoked"`
	Reason   string   `json:"reason,omitempty"`
	LastSeen string   `json:"last_seen,omitempty"`
}

func (t *tool) operatorListCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List people and their roles.",
		Example: "  countersign operator list",
		RunE:    func(cmd *cobra.Command, _ []string) error { return t.listOperators(cmd.Context()) },
	}
}

func (t *tool) listOperators(ctx context.Context) error {
	d, err := t.connected(ctx, "")
	if err != nil {
		return err
	}
	defer d.Close()
	people, err := d.client.Operators(ctx)
	if err != nil {
		return err
	}
	doc := struct {
		Deployment string         `json:"deployment"`
		Operators  []operatorLine `json:"operators"`
	}{d.id, []operatorLine{}}
	for _, p := range people {
		doc.Operators = append(doc.Operators, operatorLine{p.GetId(), p.GetRoles(), p.GetSite(), p.GetRevoked(), p.GetReason(), seen(p)})
	}
	return t.Out.Result(doc, func() {
		for _, p := range people {
			t.Out.Line("%s", t.operatorText(p))
		}
	})
}

func (t *tool) operatorText(p *pb.Operator) string {
	words := []string{pad(cli.Safe(p.GetId()), 12), pad(cli.Safe(strings.Join(p.GetRoles(), ", ")), 28)}
	if p.GetSite() != "" {
		words = append(words, "site "+cli.Safe(p.GetSite()))
	}
	switch {
	case p.GetRevoked():
		words = append(words, "revoked "+cli.Quote(p.GetReason()))
	case p.GetLastSeen() == 0:
		words = append(words, "never seen")
	default:
		words = append(words, "seen "+ago(t.now(), time.Unix(p.GetLastSeen(), 0)))
	}
	return strings.Join(words, "  ")
}

func seen(p *pb.Operator) string {
	if p.GetLastSeen() == 0 {
		return ""
	}
	return rfc3339(time.Unix(p.GetLastSeen(), 0))
}

func (t *tool) operatorRevokeCommand() *cobra.Command {
	var why string
	c := &cobra.Command{
		Use:     "revoke ID --reason T",
		Short:   "Refuse a person from the next call on.",
		Example: `  countersign operator revoke chen --reason "left on 2026-11-30"`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return t.revokeOperator(cmd.Context(), args[0], why)
		},
	}
	c.Flags().StringVar(&why, "reason", "", "why, for the audit log: `T`")
	return c
}

func (t *tool) revokeOperator(ctx context.Context, id, why string) error {
	if err := metadata.CheckID("operator", id); err != nil {
		return cli.Usagef("%v", err)
	}
	if why == "" {
		return cli.Usagef("operator revoke wants a reason").WithHint("add --reason TEXT")
	}
	d, err := t.connected(ctx, "")
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.client.RevokeOperator(ctx, id, why); err != nil {
		return err
	}
	doc := struct {
		Deployment string `json:"deployment"`
		ID         string `json:"id"`
		Revoked    bool   `json:"revoked"`
	}{d.id, id, true}
	return t.Out.Result(doc, func() {
		t.Out.Line("%s is refused by %s from now on; keys that %s signs with stay in the roles until a change", id, d.id, id)
	})
}
