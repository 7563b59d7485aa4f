package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/countersign-ota/countersign/cmd/internal/cli"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/signer/event"
)

func (t *tool) changeCommand() *cobra.Command {
	var out string
	c := &cobra.Command{
		Use:   "change PLAN [-o FILE]",
		Short: "Open the event that leads from the signed files to a plan: people, keys, quorums, products.",
		Long: `The event holds every file that must be signed anew. Nothing is in force before its people signed and somebody
published it. countersign plan prints the plan to start from, countersign rehearse says what the change would mean.
A change that would leave devices or people stuck is refused.`,
		Example: "  countersign change plan.yaml",
		RunE:    func(cmd *cobra.Command, args []string) error { return t.change(cmd.Context(), args[0], out) },
	}
	c.Flags().StringVarP(&out, "output", "o", "", "write the event to `FILE` instead of opening it on the server")
	c.Flags().StringArrayVar(&t.expect, "expect", nil, "the `FINGERPRINT` of the root that is to be pinned, for scripts")
	return c
}

func (t *tool) change(ctx context.Context, path, out string) error {
	if err := eventPath(out); err != nil {
		return err
	}
	plan, err := event.LoadPlan(path)
	if err != nil {
		return err
	}
	v, err := t.inForce(ctx, plan.Deployment, metadata.Image, metadata.Director)
	if err != nil {
		return err
	}
	defer v.Close()
	if err := t.notStuck(path, plan, v); err != nil {
		return err
	}
	e, err := event.NewChange(plan, v.state, t.opening(memory{v.history, v.source}))
	if err != nil {
		return err
	}
	if e == nil {
		doc := proposed{Deployment: v.id, Kind: event.Root, Files: []proposedFile{}}
		return t.Out.Result(doc, func() { t.Out.Line("nothing to do: the signed files of %s carry out this plan", v.id) })
	}
	j, err := event.Judge(e, v.state, t.options(v.history))
	if err != nil {
		return err
	}
	if err := t.propose(ctx, v, e, out); err != nil {
		return err
	}
	return t.Out.Result(describe(j, out, out == ""), func() {
		t.Out.Line("%s: change of %s, %s", openedAs(j, out), v.id, whoSigns(j, plan))
		if out == "" {
			t.Out.Line("next: countersign sign %s", short(j.ID()))
		} else {
			t.Out.Line("next: countersign sign %s", cli.Safe(out))
		}
	})
}

// propose opens an event on the server, or writes it to a file with its base.
func (t *tool) propose(ctx context.Context, v *view, e *event.Event, out string) error {
	if out != "" {
		var err error
		if e.Base, err = event.BaseOf(e, v.source); err != nil {
			return err
		}
		return writeEvent(out, e)
	}
	if err := t.connect(ctx, v.deployment); err != nil {
		return err
	}
	_, err := v.client.OpenEvent(ctx, e)
	return err
}

// openedAs begins the line of an event that was opened or written.
func openedAs(j *event.Judgement, out string) string {
	if out == "" {
		return "opened " + short(j.ID())
	}
	return "wrote " + cli.Safe(out) + ", event " + short(j.ID())
}
