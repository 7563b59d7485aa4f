package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/countersign-ota/countersign/cmd/countersign/internal/show"
	"github.com/countersign-ota/countersign/cmd/internal/cli"
	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/signer/event"
)

// published is the document of `publish`.
type publishedDoc struct {
	Event      string          `json:"event"`
	Deployment string          `json:"deployment"`
	Subject    string          `json:"subject"`
	Roles      []publishedRole `json:"roles"`
	People     []string        `json:"people"`
}

type publishedRole struct {
	Repository string `json:"repository"`
	Role       string `json:"role"`
	Version    int64  `json:"version"`
}

func (t *tool) publishCommand() *cobra.Command {
	var artifact string
	var dry bool
	c := &cobra.Command{
		Use:   "publish EVENT… [--artifact PATH --dry-run]",
		Short: "Make an event whose quorum is complete public, whole or not at all.",
		Long: `Event files are merged and given to the server first. Firmware that the server does not hold yet is sent from --artifact.
While people are missing, the exit code is 6.`,
		Example: "  countersign publish acme.event okafor.event",
		RunE: func(cmd *cobra.Command, args []string) error {
			return t.publish(cmd.Context(), args, artifact, dry)
		},
	}
	c.Flags().StringVar(&artifact, "artifact", "", "the firmware, a file or a folder: `PATH`")
	c.Flags().BoolVar(&dry, "dry-run", false, "check everything and change nothing")
	c.Flags().StringArrayVar(&t.expect, "expect", nil, "the `FINGERPRINT` of the root that is to be pinned, for scripts")
	return c
}

func (t *tool) publish(ctx context.Context, args []string, artifact string, dry bool) error {
	s, err := t.events(ctx, args)
	if err != nil {
		return err
	}
	defer s.Close()
	j, err := t.judgeToPublish(ctx, s)
	if err != nil {
		return err
	}
	if err := j.Publishable(); err != nil {
		return err
	}
	var artifacts []event.Artifact
	if artifact != "" {
		if artifacts, err = j.CompareArtifact(artifact); err != nil {
			return undone(err, "nothing was published")
		}
	}
	if err := t.connect(ctx, s.deployment); err != nil {
		return err
	}
	if dry {
		return t.Out.Result(publishedDoc{Event: j.ID(), Deployment: s.id, Subject: j.Event.Proposal.Subject, Roles: []publishedRole{}, People: show.SignedBy(j.Judgement)}, func() {
			t.Out.Line("%s may be published; nothing was", short(j.ID()))
		})
	}
	if len(s.files) > 0 {
		if _, err := t.give(ctx, s, j.Event); err != nil {
			return err
		}
	}
	for _, a := range artifacts {
		if err := t.upload(ctx, s.deployment, a); err != nil {
			return undone(err, "nothing was published")
		}
	}
	roles, err := s.client.Publish(ctx, j.ID())
	if err != nil {
		return err
	}
	doc := publishedDoc{Event: j.ID(), Deployment: s.id, Subject: j.Event.Proposal.Subject, People: show.SignedBy(j.Judgement)}
	for _, r := range roles {
		doc.Roles = append(doc.Roles, publishedRole{r.GetRepository(), r.GetRole(), r.GetVersion()})
	}
	return t.Out.Result(doc, func() {
		signed := ""
		if j.Event.Proposal.Kind != event.Release {
			signed = fmt.Sprintf("; %d people signed", len(doc.People))
		}
		t.Out.Line("published %s: %s%s", j.Event.Proposal.Subject, publishedText(roles), signed)
	})
}

// judgeToPublish judges an event. One that the server published already needs no judgement: done
// twice, it answers the same.
func (t *tool) judgeToPublish(ctx context.Context, s *subject) (*judged, error) {
	if s.remote() && s.summary.GetState() != pb.EventState_EVENT_STATE_PUBLISHED {
		if err := t.open(ctx, s); err != nil {
			return nil, err
		}
	}
	return t.judge(ctx, s, s.event.Proposal.Kind != event.Init)
}

// give hands a file event to the server: it is opened there, or its signatures are added to the one
// that is open.
func (t *tool) give(ctx context.Context, s *subject, e *event.Event) ([]*pb.SignatureOutcome, error) {
	if s.remote() {
		return s.client.AddSignatures(ctx, e.ID(), e.Signatures, e.Approvals)
	}
	_, summary, err := s.client.Event(ctx, e.ID())
	switch {
	case reason.Is(err, reason.NotFound):
		return s.client.OpenEvent(ctx, e)
	case err != nil:
		return nil, err
	case summary.GetState() == pb.EventState_EVENT_STATE_PUBLISHED:
		return nil, nil
	}
	if err := t.open(ctx, &subject{deployment: s.deployment, event: e, summary: summary}); err != nil {
		return nil, err
	}
	return s.client.AddSignatures(ctx, e.ID(), e.Signatures, e.Approvals)
}

// open refuses an event that takes no more signatures.
func (t *tool) open(ctx context.Context, s *subject) error {
	id := short(s.event.ID())
	switch s.summary.GetState() {
	case pb.EventState_EVENT_STATE_PUBLISHED:
		return reason.Errorf(reason.EventPublished, "event %s is published and takes no more signatures", id)
	case pb.EventState_EVENT_STATE_CANCELLED:
		return reason.Errorf(reason.EventCancelled, "event %s was cancelled", id)
	case pb.EventState_EVENT_STATE_STALE:
		return reason.Errorf(reason.EventStale, "event %s is stale: %s; its %s kept but void", id, t.overtaken(ctx, s), are(len(s.event.Signatures), "signature")).
			WithHint("%s", again(&s.event.Proposal))
	}
	return nil
}

// overtaken says which event made this one stale, and with which version of a role that both change.
func (t *tool) overtaken(ctx context.Context, s *subject) string {
	by := s.summary.GetStaleBy()
	if by == "" {
		return "it was open when the server was recovered from a copy"
	}
	e, summary, err := s.client.Event(ctx, by)
	if err != nil {
		return short(cli.Safe(by)) + " goes before it"
	}
	for _, r := range s.event.Proposal.Files {
		i := e.Proposal.Index(r.Repository, r.Role)
		if i < 0 {
			continue
		}
		name := roleName(r.Repository, r.Role) + versionIn(e.Proposal.Files[i].Signed)
		if summary.GetState() == pb.EventState_EVENT_STATE_PUBLISHED {
			return fmt.Sprintf("%s published %s", short(by), name)
		}
		return fmt.Sprintf("%s goes before it with %s", short(by), name)
	}
	return short(by) + " goes before it"
}

// versionIn returns the version of a signed part for a message: " 31"; empty when it shows none.
func versionIn(signed []byte) string {
	var part struct {
		Version int64 `json:"version"`
	}
	data, err := metadata.FromCanonical(signed)
	if err != nil || json.Unmarshal(data, &part) != nil {
		return ""
	}
	return fmt.Sprintf(" %d", part.Version)
}

// again is the command that opens an event like this one anew.
func again(p *event.Proposal) string {
	subject := cli.Safe(p.Subject)
	switch p.Kind {
	case event.Init:
		return "countersign init PLAN -o FILE"
	case event.Release:
		return "countersign release " + subject + " --spec release.yaml"
	case event.Withdraw:
		return "countersign withdraw " + subject + " --reason T"
	case event.Stop:
		return "countersign stop " + subject + " --reason T"
	case event.Refresh:
		return "countersign refresh " + strings.ReplaceAll(subject, ",", " ")
	}
	return "countersign change PLAN"
}

// publishedText names roles and versions: image root before director root, snapshot and timestamp
// last.
func publishedText(roles []*pb.PublishedRole) string {
	rank := func(r *pb.PublishedRole) int { return show.Rank(metadata.Repository(r.GetRepository()), r.GetRole()) }
	sorted := slices.Clone(roles)
	slices.SortStableFunc(sorted, func(a, b *pb.PublishedRole) int { return rank(a) - rank(b) })
	var words []string
	for _, r := range sorted {
		words = append(words, fmt.Sprintf("%s %d", roleName(metadata.Repository(cli.Safe(r.GetRepository())), cli.Safe(r.GetRole())), r.GetVersion()))
	}
	return strings.Join(words, ", ")
}
