package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/countersign-ota/countersign/cmd/internal/cli"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/signer/event"
)

func (t *tool) withdrawCommand() *cobra.Command {
	var why, out string
	c := &cobra.Command{
		Use:   "withdraw R --reason T [-o FILE]",
		Short: "Open the event that takes a release, PRODUCT/VERSION, out of its product.",
		Long: `What is withdrawn can no longer be installed; devices that run it keep it. Its counter is never used again. The whole
quorum of the product signs. To make devices leave an image at once, stop it.`,
		Example: "  countersign withdraw gw-100/2.4.1 --reason \"pump link drops after 9 h\"",
		RunE: func(cmd *cobra.Command, args []string) error {
			return t.withdraw(cmd.Context(), args[0], why, out)
		},
	}
	c.Flags().StringVar(&why, "reason", "", "why, for all who sign: `T`")
	c.Flags().StringVarP(&out, "output", "o", "", "write the event to `FILE` instead of opening it on the server")
	c.Flags().StringArrayVar(&t.expect, "expect", nil, "the `FINGERPRINT` of the root that is to be pinned, for scripts")
	return c
}

func (t *tool) withdraw(ctx context.Context, r, why, out string) error {
	product, version, err := parseRelease(r)
	if err != nil {
		return err
	}
	if why == "" {
		return cli.Usagef("withdraw wants a reason").WithHint("add --reason T")
	}
	if err := eventPath(out); err != nil {
		return err
	}
	v, err := t.inForce(ctx, "", metadata.Image)
	if err != nil {
		return err
	}
	defer v.Close()
	e, err := event.NewWithdraw(product, version, why, v.state, t.opening(memory{v.history, v.source}))
	if err != nil {
		return undone(err, "nothing was opened")
	}
	return t.openOne(ctx, v, e, t.options(v.history), out)
}

// openOne judges an event, opens it on the server or writes it to a file, and says what follows.
func (t *tool) openOne(ctx context.Context, v *view, e *event.Event, o event.Options, out string) error {
	j, err := event.Judge(e, v.state, o)
	if err != nil {
		return undone(err, "nothing was opened")
	}
	if err := t.propose(ctx, v, e, out); err != nil {
		return err
	}
	return t.Out.Result(describe(j, out, out == ""), func() { t.sayOpened(j, out) })
}

// sayOpened prints what an event is about, who signs it, what follows, and the next command.
func (t *tool) sayOpened(j *event.Judgement, out string) {
	review := j.Review()
	t.Out.Line("%s: %s %s, %s", openedAs(j, out), review.Kind, cli.Safe(review.Subject), whoSigns(j, &event.Plan{}))
	for _, text := range review.Consequences {
		t.Out.Line("follows: %s", cli.Safe(text))
	}
	for _, text := range review.Warnings {
		t.Out.Line("warning: %s", cli.Safe(text))
	}
	next := cli.Safe(out)
	if out == "" {
		next = short(j.ID())
	}
	t.Out.Line("next: countersign sign %s", next)
}
