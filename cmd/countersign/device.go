package main

import (
	"context"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/countersign-ota/countersign/cmd/internal/cli"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

func (t *tool) deviceCommand() *cobra.Command {
	c := &cobra.Command{Use: "device", Short: "Invite devices."}
	c.AddCommand(t.deviceInviteCommand())
	return c
}

func (t *tool) deviceInviteCommand() *cobra.Command {
	var out string
	c := &cobra.Command{
		Use:     "invite ID… -o DIR",
		Short:   "Make one-time tokens with which devices enrol, one file each.",
		Example: "  countersign device invite gw-0001 gw-0002 -o tokens",
		RunE: func(cmd *cobra.Command, args []string) error {
			return t.inviteDevices(cmd.Context(), args, out)
		},
	}
	c.Flags().StringVarP(&out, "output", "o", "", "the `DIR` of the token files, which are secrets")
	return c
}

func (t *tool) inviteDevices(ctx context.Context, ids []string, out string) error {
	if out == "" {
		return cli.Usagef("device invite wants a directory for the tokens").WithHint("add -o DIR")
	}
	seen := map[string]bool{}
	for _, id := range ids {
		if err := metadata.CheckID("device", id); err != nil {
			return cli.Usagef("%v", err)
		}
		if seen[id] {
			return cli.Usagef("device %q stands twice", id)
		}
		seen[id] = true
		if _, err := os.Lstat(tokenPath(out, id)); err == nil {
			return reason.Errorf(reason.Exists, "%s exists and is not overwritten", cli.Quote(tokenPath(out, id)))
		}
	}
	d, err := t.connected(ctx, "")
	if err != nil {
		return err
	}
	defer d.Close()
	if err := os.MkdirAll(out, 0o700); err != nil {
		return err
	}
	tokens, err := d.client.InviteDevices(ctx, ids)
	if err != nil {
		return err
	}
	doc := struct {
		Deployment string    `json:"deployment"`
		Devices    []invited `json:"devices"`
	}{Deployment: d.id}
	for i, token := range tokens {
		data, err := token.Bytes()
		if err != nil {
			return err
		}
		if err := create(tokenPath(out, ids[i]), data, 0o600); err != nil {
			return reason.Wrap(err, "wrote %d of %d tokens", i, len(tokens))
		}
		doc.Devices = append(doc.Devices, invited{Deployment: d.id, Kind: string(token.Kind), ID: ids[i], File: tokenPath(out, ids[i]), Expires: rfc3339(token.Expires)})
	}
	return t.Out.Result(doc, func() {
		for i, dev := range doc.Devices {
			t.Out.Line("wrote %s: %s may enrol in %s once until %s", cli.Safe(dev.File), dev.ID, d.id, minute(tokens[i].Expires))
		}
	})
}

func tokenPath(dir, id string) string { return filepath.Join(dir, id+".token") }
