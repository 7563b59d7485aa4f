package main

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/countersign-ota/countersign/cmd/internal/cli"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/signer/event"
)

func (t *tool) refreshCommand() *cobra.Command {
	var out string
	c := &cobra.Command{
		Use:   "refresh [ROLE…] [-o FILE]",
		Short: "Open events that sign roles anew, with the same content and a later expiry.",
		Long: `ROLE is image-root, director-root, targets, a PRODUCT (with its bins) or PRODUCT.stop; the roles that are named go into
one event. Without any, what expires within 60 days is refreshed, one event for those who sign it together. The server
opens such events by itself 45 days before.`,
		Example: "  countersign refresh gw-100",
		RunE:    func(cmd *cobra.Command, args []string) error { return t.refresh(cmd.Context(), args, out) },
	}
	c.Flags().StringVarP(&out, "output", "o", "", "write the event to `FILE` instead of opening it on the server")
	c.Flags().StringArrayVar(&t.expect, "expect", nil, "the `FINGERPRINT` of the root that is to be pinned, for scripts")
	return c
}

func (t *tool) refresh(ctx context.Context, words []string, out string) error {
	if err := eventPath(out); err != nil {
		return err
	}
	repositories := []metadata.Repository{metadata.Image}
	if len(words) == 0 || slices.Contains(words, "director-root") {
		repositories = append(repositories, metadata.Director)
	}
	v, err := t.inForce(ctx, "", repositories...)
	if err != nil {
		return err
	}
	defer v.Close()
	groups, err := t.toRefresh(v, words)
	if err != nil {
		return err
	}
	if out != "" && len(groups) > 1 {
		return cli.Usagef("%s would be refreshed by %d events, -o takes one", strings.Join(groupNames(groups), ", "), len(groups)).
			WithHint("countersign refresh %s -o %s", groupNames(groups)[0], cli.Safe(out))
	}
	doc := struct {
		Deployment string     `json:"deployment"`
		Events     []proposed `json:"events"`
		// NotOpened are the groups of which another event holds a role.
		NotOpened []string `json:"not_opened"`
	}{v.id, []proposed{}, []string{}}
	var opened []*event.Judgement
	var held []error
	for _, group := range groups {
		e, err := event.NewRefresh(group, v.state, t.opening(memory{v.history, v.source}))
		if err != nil {
			return undone(err, "this event was not opened")
		}
		j, err := event.Judge(e, v.state, t.options(v.history))
		if err != nil {
			return undone(err, "this event was not opened")
		}
		err = t.propose(ctx, v, e, out)
		if len(words) == 0 && reason.Is(err, reason.RoleOpen) {
			// Nobody named it, so the others do not wait for it.
			doc.NotOpened, held = append(doc.NotOpened, e.Proposal.Subject), append(held, err)
			continue
		}
		if err != nil {
			return err
		}
		doc.Events, opened = append(doc.Events, describe(j, out, out == "")), append(opened, j)
	}
	if len(opened) == 0 && len(held) > 0 {
		return undone(held[0], "nothing was opened")
	}
	return t.Out.Result(doc, func() {
		if len(opened) == 0 {
			t.Out.Line("nothing to do: no role of %s expires within %d days", v.id, int(event.AlongWith.Hours())/24)
		}
		for _, j := range opened {
			t.sayOpened(j, out)
		}
		for i, err := range held {
			t.Out.Line("not opened: %s: %s", cli.Safe(doc.NotOpened[i]), cli.Safe(err.Error()))
		}
	})
}

// toRefresh returns the roles of each event: all that are named in one, else what is due by group.
func (t *tool) toRefresh(v *view, words []string) ([][]event.RoleRef, error) {
	if len(words) == 0 {
		return event.Due(v.state, t.now(), event.AlongWith)
	}
	var all []event.RoleRef
	for _, word := range words {
		refs, err := event.Refreshable(v.state, word)
		if err != nil {
			return nil, err
		}
		all = append(all, refs...)
	}
	return [][]event.RoleRef{all}, nil
}

// groupNames names each group by a word that refresh takes.
func groupNames(groups [][]event.RoleRef) []string {
	var names []string
	for _, g := range groups {
		name := g[0].Role
		if name == metadata.Root {
			name = string(g[0].Repository) + "-root"
		}
		names = append(names, name)
	}
	return names
}
