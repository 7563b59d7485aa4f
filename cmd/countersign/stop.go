package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign-ota/countersign/cmd/countersign/internal/show"
	"github.com/countersign-ota/countersign/cmd/internal/cli"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/proto/statement"
	"github.com/countersign-ota/countersign/signer/event"
	"github.com/countersign-ota/countersign/signer/remote"
)

func (t *tool) stopCommand() *cobra.Command {
	var why, out string
	c := &cobra.Command{
		Use:   "stop R --reason T [-o FILE]",
		Short: "Stop a release, PRODUCT/VERSION, on all devices: review, sign and publish in one go.",
		Long: `One person of those who may stop a product signs for it. Devices do not install what is stopped, drop it where it is
staged, go back where it is on trial, and report it where it is confirmed. The way back is a new release. A script
answers the question with --expect and the release. With -o the event is only written, to be signed elsewhere.`,
		Example: "  countersign stop gw-100/2.4.1 --reason \"pump link drops after 9 h\"",
		RunE:    func(cmd *cobra.Command, args []string) error { return t.stop(cmd.Context(), args[0], why, out) },
	}
	c.Flags().StringVar(&why, "reason", "", "why, for the stop list and the approval: `T`")
	c.Flags().StringVarP(&out, "output", "o", "", "only write the event to `FILE`")
	t.signingFlags(c)
	return c
}

// stopDoc is the document of `stop`.
type stopDoc struct {
	Event      string          `json:"event"`
	Deployment string          `json:"deployment"`
	Subject    string          `json:"subject"`
	Person     string          `json:"person"`
	Roles      []publishedRole `json:"roles"`
	Review     *event.Review   `json:"review"`
}

func (t *tool) stop(ctx context.Context, r, why, out string) error {
	product, version, err := parseRelease(r)
	if err != nil {
		return err
	}
	if why == "" {
		return cli.Usagef("stop wants a reason").WithHint("add --reason T")
	}
	if err := eventPath(out); err != nil {
		return err
	}
	// A release answers the question of signing, a fingerprint that of the first contact.
	releases := slices.DeleteFunc(slices.Clone(t.expect), func(e string) bool { _, _, err := parseRelease(e); return err != nil })
	t.expect = slices.DeleteFunc(t.expect, func(e string) bool { return slices.Contains(releases, e) })
	v, err := t.inForce(ctx, "", metadata.Image)
	if err != nil {
		return err
	}
	defer v.Close()
	var past event.Past
	if v.client != nil {
		past = served{ctx, v.client}
	}
	e, err := event.NewStop(product, version, why, v.state, past, t.opening(memory{v.history, v.source}))
	if err != nil {
		return undone(err, "nothing was stopped")
	}
	o := t.options(v.history)
	o.Past = past
	if out != "" {
		return t.openOne(ctx, v, e, o, out)
	}
	judgement, err := event.Judge(e, v.state, o)
	if err != nil {
		return undone(err, "nothing was stopped")
	}
	if err := t.connect(ctx, v.deployment); err != nil {
		return undone(err, "nothing was stopped")
	}
	j := &judged{&subject{deployment: v.deployment, event: e}, v, judgement}
	return t.stopNow(ctx, j, releases, why)
}

// stopNow shows the review, asks, signs, and makes the stop public.
func (t *tool) stopNow(ctx context.Context, j *judged, expected []string, why string) error {
	k, signing, err := t.signingKey(ctx, j)
	if err != nil {
		return undone(err, "nothing was stopped")
	}
	if !t.Out.JSON {
		t.Out.Line("%s", show.Review(j.Review(), t.context(j, nil)))
	}
	subject := j.Event.Proposal.Subject
	switch {
	case slices.Contains(expected, subject):
	case len(expected) > 0 || len(t.expect) > 0:
		return reason.Errorf(reason.Declined, "not stopped: the release is %s, --expect names another", cli.Safe(subject))
	default:
		question := fmt.Sprintf("Stop %s as %s on all devices of %s?", cli.Safe(subject), signing.Person.ID, j.id)
		if err := t.Ask.AskToSign(ctx, question, "not stopped", "--expect "+cli.Safe(subject)+", the release to be stopped"); err != nil {
			return err
		}
	}
	sigs, approval, err := t.makeSignatures(ctx, j, k, signing, why)
	if err != nil {
		return undone(err, "nothing was stopped")
	}
	for _, o := range j.Add(sigs, []statement.Envelope{*approval}) {
		if o.Err != nil {
			return o.Err
		}
	}
	if err := j.Publishable(); err != nil {
		return err
	}
	id := j.ID()
	if _, err := j.client.OpenEvent(ctx, j.Event); err != nil {
		return undone(err, "signed here, not stopped: the same command tries again")
	}
	roles, err := j.client.Publish(ctx, id)
	if err != nil {
		return reason.Errorf(reason.Of(err), "%w; event %s is open and signed, but not public", err, short(id)).WithHint("countersign publish %s", short(id))
	}
	doc := stopDoc{Event: id, Deployment: j.id, Subject: subject, Person: signing.Person.ID, Review: j.Review()}
	for _, r := range roles {
		doc.Roles = append(doc.Roles, publishedRole{r.GetRepository(), r.GetRole(), r.GetVersion()})
	}
	return t.Out.Result(doc, func() {
		t.Out.Line("stopped %s: %s", cli.Safe(subject), publishedText(roles))
		t.Out.Line("devices hear of it at their next poll; countersign withdraw takes it out of the product")
	})
}

// served gives earlier files of the image repository by the server's words. They only help to find what
// a release was; the server judges.
type served struct {
	ctx    context.Context //nolint:containedctx // as source
	client *remote.Client
}

var _ event.Past = served{}

// Version implements event.Past. When a file was published is not known here.
func (s served) Version(role string, version int64) ([]byte, time.Time, error) {
	got, err := s.client.Published(s.ctx, metadata.Image, role, version)
	return got.File, time.Time{}, err
}
