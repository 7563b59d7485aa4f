package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign-ota/countersign/cmd/countersign/internal/show"
	"github.com/countersign-ota/countersign/cmd/internal/cli"
	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/signer/event"
)

func (t *tool) eventCommand() *cobra.Command {
	c := &cobra.Command{Use: "event", Short: "List, show, carry and cancel signing events."}
	c.AddCommand(t.eventListCommand(), t.eventShowCommand(), t.eventExportCommand(), t.eventImportCommand(), t.eventCancelCommand())
	return c
}

// eventLine is one event in the documents of `event list` and `status`.
type eventLine struct {
	ID       string   `json:"id"`
	Kind     string   `json:"kind"`
	Subject  string   `json:"subject"`
	State    string   `json:"state"`
	Roles    []string `json:"roles"`
	OpenedBy string   `json:"opened_by"`
	OpenedAt string   `json:"opened_at"`
	StaleBy  string   `json:"stale_by,omitempty"`
	// Complete and Can are judged here; absent where the event is not open.
	Complete *bool    `json:"complete,omitempty"`
	Can      []string `json:"can,omitempty"`
	quorum   string
}

func newEventLine(s *pb.EventSummary) eventLine {
	return eventLine{
		ID: s.GetId(), Kind: s.GetKind(), Subject: s.GetSubject(), State: stateName(s.GetState()), Roles: s.GetRoles(),
		OpenedBy: s.GetOpenedBy(), OpenedAt: rfc3339(time.Unix(s.GetOpenedAt(), 0)), StaleBy: s.GetStaleBy(),
	}
}

func stateName(s pb.EventState) string {
	return strings.ToLower(strings.TrimPrefix(s.String(), "EVENT_STATE_"))
}

func (t *tool) eventListCommand() *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use:     "list [--all]",
		Short:   "List open events, newest first; with --all also those that are published, stale or cancelled.",
		Example: "  countersign event list --all",
		RunE:    func(cmd *cobra.Command, _ []string) error { return t.listEvents(cmd.Context(), all) },
	}
	c.Flags().BoolVar(&all, "all", false, "also published, stale and cancelled ones")
	return c
}

func (t *tool) listEvents(ctx context.Context, all bool) error {
	d, err := t.connected(ctx, "")
	if err != nil {
		return err
	}
	defer d.Close()
	events, err := d.client.Events(ctx, all, 0)
	if err != nil {
		return err
	}
	lines := []eventLine{}
	for _, s := range events {
		line := newEventLine(s)
		if s.GetState() == pb.EventState_EVENT_STATE_OPEN {
			j, err := t.judgeOpen(ctx, d, s)
			if err != nil {
				return err
			}
			line.judged(j)
		}
		lines = append(lines, line)
	}
	doc := struct {
		Deployment string      `json:"deployment"`
		Events     []eventLine `json:"events"`
	}{d.id, lines}
	return t.Out.Result(doc, func() {
		for i, s := range events {
			t.Out.Line("%s", t.eventText(s, lines[i].quorum))
		}
	})
}

// judgeOpen fetches and judges one open event, as a reader: nothing is asked or remembered.
func (t *tool) judgeOpen(ctx context.Context, d *deployment, s *pb.EventSummary) (*judged, error) {
	e, summary, err := d.client.Event(ctx, s.GetId())
	if err != nil {
		return nil, err
	}
	return t.judge(ctx, &subject{deployment: d, event: e, summary: summary}, false)
}

// judged adds what the judgement says.
func (l *eventLine) judged(j *judged) {
	complete := j.Complete
	l.Complete = &complete
	if !complete {
		l.Can = show.Can(j.Judgement)
	}
	l.quorum = show.Quorum(j.Judgement)
}

func (t *tool) eventText(s *pb.EventSummary, quorum string) string {
	if quorum == "" {
		quorum = stateName(s.GetState())
		if by := s.GetStaleBy(); by != "" {
			quorum += " by " + short(by)
		}
	}
	return fmt.Sprintf("%s  %s  %s  %s  from %s %s", short(cli.Safe(s.GetId())), pad(cli.Safe(s.GetKind()), 8),
		pad(cli.Safe(s.GetSubject()), 20), quorum, cli.Safe(s.GetOpenedBy()), ago(t.now(), time.Unix(s.GetOpenedAt(), 0)))
}

func (t *tool) eventShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "show EVENT…",
		Short:   "Print the review of an event, its approvals, and who still can sign.",
		Example: "  countersign event show b8e1",
		RunE:    func(cmd *cobra.Command, args []string) error { return t.showEvent(cmd.Context(), args) },
	}
}

func (t *tool) showEvent(ctx context.Context, args []string) error {
	s, err := t.events(ctx, args)
	if err != nil {
		return err
	}
	defer s.Close()
	j, err := t.judge(ctx, s, false)
	if err != nil {
		return err
	}
	doc := struct {
		State  string        `json:"state,omitempty"`
		Review *event.Review `json:"review"`
	}{Review: j.Review()}
	if s.remote() {
		doc.State = stateName(s.summary.GetState())
	}
	return t.Out.Result(doc, func() {
		t.Out.Line("%s", show.Review(doc.Review, t.context(j, nil)))
		switch {
		case doc.State != "" && doc.State != "open":
			t.Out.Line("the event is %s", doc.State)
		default:
			t.Out.Line("%s", t.next(j))
		}
	})
}

func (t *tool) eventExportCommand() *cobra.Command {
	var out string
	c := &cobra.Command{
		Use:     "export EVENT… -o FILE",
		Short:   "Write proposal, base files and signatures of an event into one file, to sign it elsewhere.",
		Example: "  countersign event export b8e1 -o gw.event",
		RunE:    func(cmd *cobra.Command, args []string) error { return t.exportEvent(cmd.Context(), args, out) },
	}
	c.Flags().StringVarP(&out, "output", "o", "", "the event `FILE` to write")
	return c
}

func (t *tool) exportEvent(ctx context.Context, args []string, out string) error {
	if out == "" {
		return cli.Usagef("event export wants a file").WithHint("add -o FILE.event")
	}
	if err := eventPath(out); err != nil {
		return err
	}
	s, err := t.events(ctx, args)
	if err != nil {
		return err
	}
	defer s.Close()
	j, err := t.judge(ctx, s, false)
	if err != nil {
		return err
	}
	if err := writeEvent(out, s.event); err != nil {
		return err
	}
	return t.Out.Result(describe(j.Judgement, out, false), func() {
		t.Out.Line("wrote %s: event %s, %s %s, signed by %s", cli.Safe(out), short(j.ID()), s.event.Proposal.Kind,
			s.event.Proposal.Subject, show.Nobody(show.SignedBy(j.Judgement)))
		t.Out.Line("next: countersign sign %s", cli.Safe(out))
	})
}
