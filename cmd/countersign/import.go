package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/countersign-ota/countersign/cmd/countersign/internal/show"
	"github.com/countersign-ota/countersign/cmd/internal/cli"
	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/signer/event"
)

// imported is one event in the document of `event import`.
type imported struct {
	Event   string            `json:"event"`
	Subject string            `json:"subject"`
	Taken   int               `json:"taken"`
	People  []string          `json:"people"`
	Refused []importedRefusal `json:"refused"`
}

type importedRefusal struct {
	KeyID   string `json:"keyid"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

func (t *tool) eventImportCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "import FILE…",
		Short:   "Give event files to the server; say what it took, what it refused and why.",
		Example: "  countersign event import gw-chen.event gw-okafor.event",
		RunE:    func(cmd *cobra.Command, args []string) error { return t.importEvents(cmd.Context(), args) },
	}
}

func (t *tool) importEvents(ctx context.Context, files []string) error {
	var order []string
	copies, paths := map[string][]*event.Event{}, map[string][]string{}
	for _, f := range files {
		e, err := readEvent(f)
		if err != nil {
			return err
		}
		id := e.ID()
		if copies[id] == nil {
			order = append(order, id)
		}
		copies[id], paths[id] = append(copies[id], e), append(paths[id], f)
	}
	doc := struct {
		Events []imported `json:"events"`
	}{Events: []imported{}}
	refused := false
	for _, id := range order {
		one, err := t.importEvent(ctx, copies[id], paths[id])
		if err != nil {
			return err
		}
		doc.Events = append(doc.Events, one)
		refused = refused || len(one.Refused) > 0
	}
	err := t.Out.Result(doc, func() {
		for _, e := range doc.Events {
			t.Out.Line("%s  %s: %s taken, of %s", short(e.Event), cli.Safe(e.Subject), plural(e.Taken, "signature"), show.Nobody(e.People))
			for _, r := range e.Refused {
				t.Out.Line("  refused key %s: %s [%s]", short(cli.Safe(r.KeyID)), cli.Safe(r.Message), cli.Safe(r.Reason))
			}
		}
	})
	if err == nil && refused {
		first := doc.Events[0].Refused
		for _, e := range doc.Events {
			if len(first) == 0 {
				first = e.Refused
			}
		}
		return reason.Errorf(reason.Reason(first[0].Reason), "some signatures were refused, the first because: %s", first[0].Message)
	}
	return err
}

// importEvent judges the copies of one event here and gives all of their signatures to the server:
// those that do not count too, so that it says why.
func (t *tool) importEvent(ctx context.Context, copies []*event.Event, paths []string) (imported, error) {
	e, err := event.Merge(copies...)
	if err != nil {
		return imported{}, err
	}
	d, err := t.connected(ctx, e.Proposal.Deployment)
	if err != nil {
		return imported{}, err
	}
	defer d.Close()
	s := &subject{deployment: d, event: e, files: paths}
	if _, err := t.judge(ctx, s, false); err != nil {
		return imported{}, err
	}
	outcomes, err := t.give(ctx, s, e)
	if err != nil {
		return imported{}, err
	}
	return t.imported(ctx, s, outcomes)
}

func (t *tool) imported(ctx context.Context, s *subject, outcomes []*pb.SignatureOutcome) (imported, error) {
	one := imported{Event: s.event.ID(), Subject: fmt.Sprintf("%s %s", s.event.Proposal.Kind, s.event.Proposal.Subject), Refused: []importedRefusal{}}
	for _, o := range outcomes {
		switch {
		case !o.GetTaken():
			one.Refused = append(one.Refused, importedRefusal{o.GetKeyid(), o.GetReason(), strings.TrimSpace(o.GetMessage())})
		case o.GetFile() >= 0:
			one.Taken++
		}
	}
	now, summary, err := s.client.Event(ctx, one.Event)
	if err != nil {
		return imported{}, err
	}
	j, err := t.judge(ctx, &subject{deployment: s.deployment, event: now, summary: summary}, false)
	if err != nil {
		return imported{}, err
	}
	one.People = show.SignedBy(j.Judgement)
	return one, nil
}
