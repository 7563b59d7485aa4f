package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/countersign-ota/countersign/cmd/countersign/internal/show"
	"github.com/countersign-ota/countersign/cmd/internal/cli"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/signer/event"
	"github.com/countersign-ota/countersign/signer/rehearse"
)

func (t *tool) rehearseCommand() *cobra.Command {
	var lost []string
	c := &cobra.Command{
		Use:   "rehearse PLAN|EVENT… [--lost ID]",
		Short: "Say what a change would mean for devices and people, before anybody signs it.",
		Long: `Which roots lead to it, whose signatures it needs, who can block what, how many holders may be lost, what expires
first, and whether an answer to a stolen key changes all it must. Nothing is opened or kept. It exits 4 when somebody
or some device would be stuck; change refuses such a plan.`,
		Example: "  countersign rehearse plan.yaml --lost chen",
		RunE:    func(cmd *cobra.Command, args []string) error { return t.rehearse(cmd.Context(), args, lost) },
	}
	c.Flags().StringArrayVar(&lost, "lost", nil, "rehearse that the keys in force of person `ID` are lost; again for more")
	return c
}

func (t *tool) rehearse(ctx context.Context, args, lost []string) error {
	o := rehearse.Options{Now: t.now(), Lost: lost, AllowExample: true}
	plan, err := planArgument(args)
	if err != nil {
		return err
	}
	var report *rehearse.Report
	what := cli.Safe(args[0])
	if plan != nil {
		report, err = t.rehearsePlan(ctx, plan, o)
	} else {
		report, what, err = t.rehearseEvent(ctx, args, o)
	}
	if err != nil {
		return err
	}
	err = t.Out.Result(report, func() { t.Out.Line("%s", show.Rehearsal(report, t.now())) })
	if err != nil {
		return err
	}
	return stuckError(what, report.Deployment, report.Stuck(), "")
}

// stuckError is nil when nothing is stuck. hint replaces the first finding's way out.
func stuckError(what, deployment string, stuck []rehearse.Finding, hint string) error {
	if len(stuck) == 0 {
		return nil
	}
	f := stuck[0]
	where := ""
	if len(f.Roles) > 0 {
		where = " in " + strings.Join(f.Roles, ", ")
	}
	more := ""
	if len(stuck) > 1 {
		more = "; and " + plural(len(stuck)-1, "finding") + " more"
	}
	if hint == "" {
		hint = f.Next
	}
	return reason.Errorf(reason.PlanStuck, "%s would leave %s stuck: %s%s: %s%s", what, cli.Safe(deployment), f.Code, where, f.What, more).
		WithHint("%s", hint)
}

// planArgument returns the plan that the only argument names, nil when the arguments name an event.
// Plans and events are both files; the name says which, or else the content.
func planArgument(args []string) (*event.Plan, error) {
	path := args[0]
	if len(args) > 1 || strings.HasSuffix(path, ".event") {
		return nil, nil
	}
	if ext := filepath.Ext(path); ext != ".yaml" && ext != ".yml" {
		if !isFile(path) && checkID(path) == nil {
			return nil, nil
		}
		if isEvent(path) {
			return nil, nil
		}
	}
	return event.LoadPlanToRehearse(path)
}

// isEvent reports whether a file begins as event files do.
func isEvent(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	head := make([]byte, 64)
	n, _ := f.Read(head)
	return bytes.HasPrefix(bytes.TrimSpace(head[:n]), []byte(`{"countersign_event"`))
}

// rehearsePlan rehearses what `change` would open, or `init` where there is no root yet. It only reads.
func (t *tool) rehearsePlan(ctx context.Context, plan *event.Plan, o rehearse.Options) (*rehearse.Report, error) {
	v, err := t.verified(ctx, plan.Deployment)
	if reason.Is(err, reason.NotFound) {
		return t.rehearseInit(plan, o, err)
	}
	if err != nil {
		return nil, err
	}
	defer v.Close()
	for _, r := range []metadata.Repository{metadata.Image, metadata.Director} {
		if err := t.warnUnpinned(v, r); err != nil {
			return nil, err
		}
	}
	o.Memory = memory{v.history, v.source}
	return rehearse.Plan(plan, v.state, o)
}

// rehearseInit rehearses the founding of a deployment that has no root, unless this machine has seen one.
func (t *tool) rehearseInit(plan *event.Plan, o rehearse.Options, notFound error) (*rehearse.Report, error) {
	d, err := t.choose(plan.Deployment)
	if err != nil {
		return nil, err
	}
	history, err := d.place.History()
	if err != nil {
		return nil, err
	}
	if seen, _ := history.Seen(metadata.Image, metadata.Targets); seen > 0 {
		return nil, notFound
	}
	s, err := event.StateOf(nil, plan.Deployment)
	if err != nil {
		return nil, err
	}
	o.Memory = history
	return rehearse.Plan(plan, s, o)
}

// rehearseEvent rehearses an event on the base that it carries.
func (t *tool) rehearseEvent(ctx context.Context, args []string, o rehearse.Options) (*rehearse.Report, string, error) {
	s, err := t.events(ctx, args)
	if err != nil {
		return nil, "", err
	}
	defer s.Close()
	if s.closed() {
		why := map[string]reason.Reason{"published": reason.EventPublished, "cancelled": reason.EventCancelled}[stateName(s.summary.GetState())]
		if why == "" {
			why = reason.EventStale
		}
		return nil, "", reason.Errorf(why, "event %s is %s: there is nothing to rehearse", s.name(), stateName(s.summary.GetState())).
			WithHint("countersign event show %s", s.argument())
	}
	history, err := s.place.History()
	if err != nil {
		return nil, "", err
	}
	state, err := event.StateFromBase(s.event, history.Pins())
	if err != nil {
		return nil, "", err
	}
	v := &view{deployment: s.deployment, history: history, state: state}
	for _, r := range []metadata.Repository{metadata.Image, metadata.Director} {
		if err := t.warnUnpinned(v, r); err != nil {
			return nil, "", err
		}
	}
	o.Memory = history
	report, err := rehearse.Event(s.event, state, o)
	return report, s.argument(), err
}

// notStuck refuses a plan that would leave somebody stuck, before anything is opened. What is only
// refused has its own error already, and what is broken already does not get better by waiting.
func (t *tool) notStuck(path string, plan *event.Plan, v *view) error {
	o := rehearse.Options{Now: t.now(), Memory: memory{v.history, v.source}, NoBins: true, AllowExample: true}
	report, err := rehearse.Plan(plan, v.state, o)
	if err != nil {
		return err
	}
	var stuck []rehearse.Finding
	for _, f := range report.Blocking() {
		if f.Code != rehearse.Refused {
			stuck = append(stuck, f)
		}
	}
	return undone(stuckError(cli.Safe(path), v.id, stuck, "countersign rehearse "+cli.Safe(path)), "nothing was opened")
}
