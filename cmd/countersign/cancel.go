package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/countersign-ota/countersign/cmd/countersign/internal/show"
	"github.com/countersign-ota/countersign/cmd/internal/cli"
	"github.com/countersign-ota/countersign/proto/reason"
)

func (t *tool) eventCancelCommand() *cobra.Command {
	var why string
	c := &cobra.Command{
		Use:     "cancel EVENT --reason T",
		Short:   "Void an open event; who opened it or may sign it can.",
		Example: `  countersign event cancel b8e1 --reason "wrong build"`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return t.cancelEvent(cmd.Context(), args[0], why)
		},
	}
	c.Flags().StringVar(&why, "reason", "", "why, for the audit log: `T`")
	return c
}

// cancelled is the document of `event cancel`.
type cancelled struct {
	Event string `json:"event"`
	Void  int    `json:"void_signatures"`
	// People are those whose signatures are void now, as far as they are known here.
	People    []string `json:"people"`
	Successor string   `json:"successor,omitempty"`
}

func (t *tool) cancelEvent(ctx context.Context, id, why string) error {
	if isFile(id) {
		return cli.Usagef("an event is cancelled on its server: name its id").WithHint("countersign event list")
	}
	if err := checkID(id); err != nil {
		return err
	}
	if why == "" {
		return cli.Usagef("event cancel wants a reason").WithHint("add --reason TEXT")
	}
	d, err := t.connected(ctx, "")
	if err != nil {
		return err
	}
	defer d.Close()
	e, summary, err := d.client.Event(ctx, id)
	if err != nil {
		return err
	}
	s := &subject{deployment: d, event: e, summary: summary}
	if err := t.open(ctx, s); err != nil && !reason.Is(err, reason.EventCancelled) {
		return err
	}
	doc := cancelled{Event: e.ID(), People: []string{}}
	if j, err := t.judge(ctx, s, false); err == nil { // what cannot be judged can be cancelled all the same
		doc.People = append(doc.People, show.SignedBy(j.Judgement)...)
	}
	if doc.Void, doc.Successor, err = d.client.Cancel(ctx, doc.Event, why); err != nil {
		return err
	}
	return t.Out.Result(doc, func() {
		t.Out.Line("cancelled %s: %s %s; %s", short(doc.Event), cli.Safe(e.Proposal.Kind), cli.Safe(e.Proposal.Subject), void(&doc))
		switch {
		case doc.Successor != "":
			t.Out.Line("until %s is published, a thief of the server could publish the cancelled one; %s has the old content and the next version", short(doc.Successor), short(doc.Successor))
			t.Out.Line("next: countersign sign %s", short(doc.Successor))
		case doc.Void > 0:
			t.Out.Line("until the next event on its roles is published, who has these signatures and gets the missing ones could publish the cancelled one")
		}
	})
}

// void says which signatures are void now: "2 signatures void, of chen, rivera".
func void(doc *cancelled) string {
	text := plural(doc.Void, "signature") + " void"
	if doc.Void > 0 && len(doc.People) > 0 {
		text += ", of " + cli.Safe(strings.Join(doc.People, ", "))
	}
	return text
}
