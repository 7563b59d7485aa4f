package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign-ota/countersign/cmd/countersign/internal/show"
	"github.com/countersign-ota/countersign/cmd/internal/cli"
	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/signer/event"
)

// statusDoc is the document of `status`.
type statusDoc struct {
	Deployment string       `json:"deployment"`
	Server     string       `json:"server"`
	Operator   string       `json:"operator"`
	Roles      []string     `json:"roles"`
	Classes    []string     `json:"classes"`
	Expiries   []expiryLine `json:"expiries"`
	// Online are the roles that the server signs by itself.
	Online []onlineLine `json:"online"`
	// Unwell is why the server cannot do all of its work, by its own words.
	Unwell *unwellLine `json:"unwell,omitempty"`
	Events []waiting   `json:"events"`
}

type waiting struct {
	eventLine
	// ForYou says that one of your keys may sign and has not.
	ForYou bool `json:"waits_for_you"`

	judged *judged
	by     string
}

func (t *tool) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "status",
		Short:   "Say who you are, what waits for you, what expires when, and who must act.",
		Example: "  countersign status",
		RunE:    func(cmd *cobra.Command, _ []string) error { return t.status(cmd.Context()) },
	}
}

func (t *tool) status(ctx context.Context) error {
	d, err := t.connected(ctx, "")
	if err != nil {
		return err
	}
	defer d.Close()
	who, err := d.client.WhoAmI(ctx)
	if err != nil {
		return err
	}
	doc := statusDoc{Deployment: d.id, Server: d.settings.Server, Operator: who.GetOperator(), Roles: who.GetRoles(), Classes: []string{}, Expiries: []expiryLine{}, Online: []onlineLine{}, Events: []waiting{}}
	own, err := t.ownKeys()
	if err != nil {
		return err
	}
	if doc.Events, err = t.waitingEvents(ctx, d, own); err != nil {
		return err
	}
	v, err := t.published(ctx, d, event.Pin{})
	if err != nil {
		return err
	}
	said, err := d.client.Expiry(ctx)
	if err != nil {
		return err
	}
	if doc.Expiries, err = v.expiries(doc.Events, said); err != nil {
		return err
	}
	if doc.Online, err = v.online(ctx, t.now()); err != nil {
		return err
	}
	doc.Unwell = unwellOf(said)
	if err := t.warnUnpinned(v, metadata.Image); err != nil {
		return err
	}
	if v.state.Pinned(metadata.Image) {
		if err := v.remember(); err != nil {
			return err
		}
	}
	if doc.Classes, err = v.classes(own); err != nil {
		return err
	}
	return t.Out.Result(doc, func() { t.printStatus(d, &doc) })
}

// waitingEvents judges every open event, newest first.
func (t *tool) waitingEvents(ctx context.Context, d *deployment, own []ownKey) ([]waiting, error) {
	events, err := d.client.Events(ctx, false, 0)
	if err != nil {
		return nil, err
	}
	list := []waiting{}
	for _, s := range events {
		if s.GetState() != pb.EventState_EVENT_STATE_OPEN {
			continue
		}
		j, err := t.judgeOpen(ctx, d, s)
		if err != nil {
			t.Out.Warn("event %s is not shown: %s [%s]", short(cli.Safe(s.GetId())), cli.Safe(err.Error()), reason.Of(err))
			continue
		}
		w := waiting{eventLine: newEventLine(s), judged: j, by: s.GetOpenedBy()}
		w.eventLine.judged(j)
		for _, k := range own {
			if _, err := j.MaySign(k.keys(), j.view.history); err == nil {
				w.ForYou = true
			}
		}
		list = append(list, w)
	}
	return list, nil
}

// classes returns in which classes the keys may sign roles in force, sorted.
func (v *view) classes(own []ownKey) ([]string, error) {
	roles, err := v.rolesOf(own)
	if err != nil {
		return nil, err
	}
	classes := []string{}
	for _, r := range roles {
		classes = append(classes, r.Class)
	}
	slices.Sort(classes)
	return slices.Compact(classes), nil
}

func (t *tool) printStatus(d *deployment, doc *statusDoc) {
	now := t.now()
	who := cli.Safe(doc.Operator)
	if len(doc.Classes) > 0 {
		who += " (" + strings.Join(doc.Classes, ", ") + ")"
	}
	first := fmt.Sprintf("%s at %s, you are %s", doc.Deployment, cli.Safe(d.host()), who)
	for i, e := range doc.Expiries {
		switch {
		case i == 0:
			t.Out.Line("%s; next expiry %s", first, e.text(now))
		case e.at.Sub(now) < soon:
			t.Out.Line("expires        %s", e.text(now))
		}
	}
	if len(doc.Expiries) == 0 {
		t.Out.Line("%s; no root yet", first)
	}
	for _, line := range doc.serverLines(now) {
		t.Out.Line("%s", line)
	}
	ids := make([]string, len(doc.Events))
	for i, w := range doc.Events {
		ids[i] = w.ID
	}
	for _, w := range doc.Events {
		at, _ := time.Parse(time.RFC3339, w.OpenedAt)
		what := fmt.Sprintf("%s  %s %s, from %s %s", short(w.ID), cli.Safe(w.Kind), cli.Safe(w.Subject), cli.Safe(w.by), ago(now, at))
		id := prefix(w.ID, ids)
		switch {
		case w.ForYou:
			t.Out.Line("waits for you  %s: countersign sign %s", what, id)
		case *w.Complete:
			t.Out.Line("complete       %s: countersign publish %s", what, id)
		default:
			t.Out.Line("waits          %s: %s; %s can", what, w.quorum, show.Or(w.Can))
		}
	}
}

// prefix returns the shortest prefix of an id that no other id has, at least 4 digits.
func prefix(id string, ids []string) string {
	for n := minPrefix; n < len(id); n++ {
		same := 0
		for _, other := range ids {
			if strings.HasPrefix(other, id[:n]) {
				same++
			}
		}
		if same <= 1 {
			return id[:n]
		}
	}
	return id
}
