package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/countersign-ota/countersign/cmd/internal/cli"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/signer/event"
)

func (t *tool) planCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "plan",
		Short:   "Print the plan that the signed files carry out: people, keys, quorums, products.",
		Long:    "It comes from the server's files, or without one from those that this machine verified last. Keys stand inline.",
		Example: "  countersign plan > plan.yaml",
		RunE:    func(cmd *cobra.Command, _ []string) error { return t.plan(cmd.Context()) },
	}
}

func (t *tool) plan(ctx context.Context) error {
	v, err := t.verified(ctx, "")
	if err != nil {
		return err
	}
	defer v.Close()
	for _, r := range []metadata.Repository{metadata.Image, metadata.Director} {
		if err := t.warnUnpinned(v, r); err != nil {
			return err
		}
	}
	plan, err := event.PlanOf(v.state)
	if err != nil {
		return err
	}
	text, err := plan.YAML()
	if err != nil {
		return err
	}
	doc := struct {
		Deployment string `json:"deployment"`
		Plan       string `json:"plan"`
	}{v.id, string(text)}
	return t.Out.Result(doc, func() { t.Out.Line("%s", text) })
}

// warnUnpinned says that a root is not trusted here yet, for commands that only read and ask nothing.
func (t *tool) warnUnpinned(v *view, r metadata.Repository) error {
	pin, err := v.state.Pin(r)
	if err == nil && pin.Version > 0 && !v.state.Pinned(r) {
		t.Out.Warn("%s root %d of %s is not pinned here: compare its fingerprint %s with another person", r, pin.Version, v.id, digest(pin.Digest))
	}
	return err
}

// inForce returns the verified and remembered view of a deployment whose roots in these repositories
// are trusted, if necessary by the person's word.
func (t *tool) inForce(ctx context.Context, named string, repositories ...metadata.Repository) (*view, error) {
	v, err := t.verified(ctx, named)
	if err != nil {
		return nil, err
	}
	if err := t.contact(ctx, v, repositories...); err != nil {
		return nil, err
	}
	if err := v.readAll(); err != nil {
		return nil, err
	}
	return v, v.remember()
}

// verified returns the verified view of a deployment that has a root. It asks the server where this
// machine is logged in to one.
func (t *tool) verified(ctx context.Context, named string) (*view, error) {
	d, err := t.choose(named)
	if err != nil {
		return nil, err
	}
	if d.settings.Server != "" {
		if err := t.connect(ctx, d); err != nil {
			return nil, err
		}
	}
	v, err := t.published(ctx, d, event.Pin{})
	if err != nil {
		return nil, err
	}
	pin, err := v.state.Pin(metadata.Image)
	if err != nil {
		return nil, err
	}
	if pin.Version == 0 {
		return nil, reason.Errorf(reason.NotFound, "%s has no root yet", cli.Safe(d.id)).WithHint("countersign init PLAN -o %s.event", d.id)
	}
	return v, nil
}
