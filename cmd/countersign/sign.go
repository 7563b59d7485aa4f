package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/countersign-ota/countersign/cmd/countersign/internal/show"
	"github.com/countersign-ota/countersign/cmd/internal/cli"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/proto/statement"
	"github.com/countersign-ota/countersign/signer/event"
)

func (t *tool) signCommand() *cobra.Command {
	var artifact, why string
	c := &cobra.Command{
		Use:   "sign EVENT… [--artifact PATH --reason T]",
		Short: "Review an event and sign it.",
		Long: `The review is computed here, from the bytes to be signed and a base that is verified against the roots this machine
trusts. A file is signed in place and touches no network; of several files of one event the first takes all signatures.
A script answers the question with --expect and the full id of the event.`,
		Example: "  countersign sign b8e1 --artifact build/ --reason \"build 8812\"",
		RunE: func(cmd *cobra.Command, args []string) error {
			return t.sign(cmd.Context(), args, artifact, why)
		},
	}
	c.Flags().StringVar(&artifact, "artifact", "", "the firmware at hand, a file or a folder, to compare with the event: `PATH`")
	c.Flags().StringVar(&why, "reason", "", "why, for the approval: `T`")
	t.signingFlags(c)
	return c
}

// signed is the document of `sign`.
type signed struct {
	Event      string        `json:"event"`
	Deployment string        `json:"deployment"`
	Person     string        `json:"person"`
	Keys       []string      `json:"keys"`
	Files      []string      `json:"files"`
	Complete   bool          `json:"complete"`
	Review     *event.Review `json:"review"`
}

func (t *tool) sign(ctx context.Context, args []string, artifact, why string) error {
	if len(why) > statement.MaxReason {
		return cli.Usagef("the reason has %d bytes, at most %d", len(why), statement.MaxReason)
	}
	s, err := t.events(ctx, args)
	if err != nil {
		return err
	}
	defer s.Close()
	if s.remote() {
		if err := t.open(ctx, s); err != nil {
			return err
		}
	}
	j, err := t.judge(ctx, s, true)
	if err != nil {
		return undone(err, "nothing was signed")
	}
	k, signing, err := t.signingKey(ctx, j)
	if err != nil {
		return err
	}
	var artifacts []event.Artifact
	if artifact != "" {
		if artifacts, err = j.CompareArtifact(artifact); err != nil {
			return undone(t.whichBuild(err, j), "nothing was signed")
		}
	}
	if !t.Out.JSON {
		t.Out.Line("%s", show.Review(j.Review(), t.context(j, artifacts)))
	}
	if k, err = t.present(ctx, j, k, signing); err != nil {
		return err
	}
	if err := t.confirm(ctx, j, signing, why); err != nil {
		return err
	}
	sigs, approval, err := t.makeSignatures(ctx, j, k, signing, why)
	if err != nil {
		return err
	}
	return t.deliver(ctx, j, signing, sigs, approval)
}

// whichBuild names the person to ask when the firmware at hand is not what the event names.
func (t *tool) whichBuild(err error, j *judged) error {
	var e *reason.Error
	if j.remote() && reason.Is(err, reason.ArtifactDiffers) && errors.As(err, &e) {
		return e.WithHint("ask %s which build this is; do not sign", cli.Safe(j.summary.GetOpenedBy()))
	}
	return err
}

// confirm puts the question, or takes --expect for the answer.
func (t *tool) confirm(ctx context.Context, j *judged, s *event.Signing, why string) error {
	id := j.ID()
	if len(t.expect) > 0 {
		answered, err := t.expected(id)
		if err != nil {
			return err
		}
		if !answered {
			return reason.Errorf(reason.Declined, "not signed: the event is %s, --expect names another", id)
		}
		return nil
	}
	return t.Ask.AskToSign(ctx, question(j, s, why), "not signed", "--expect "+id+", the full id of what is to be signed")
}

// question names person, what the signature means, and for several files the deployment.
func question(j *judged, s *event.Signing, why string) string {
	as := asWhom(j, s)
	var b strings.Builder
	if s.ReplacesRoot {
		b.WriteString("You signed another root of this version before; from now on this one shall count. ")
	}
	if len(s.Files) > 1 {
		fmt.Fprintf(&b, "Sign %d files of %s as %s (%s)?", len(s.Files), j.id, s.Person.ID, strings.Join(as, "; "))
		return b.String()
	}
	if why != "" {
		as = append(as, "reason "+cli.Quote(why))
	}
	fmt.Fprintf(&b, "Sign as %s (%s)?", s.Person.ID, strings.Join(as, ", "))
	return b.String()
}

// asWhom lists the classes in which a person signs, with what that means: `quality, "approved"`.
func asWhom(j *judged, s *event.Signing) []string {
	var as []string
	known := map[string]bool{}
	for _, i := range s.Files {
		for _, by := range j.Files[i].Signers {
			for _, id := range s.KeyIDs() {
				p, ok := by.Delegation.PersonOf(id)
				if !ok {
					continue
				}
				text := p.Class
				if m := by.Delegation.Quorum.Meaning[p.Class]; m != "" {
					text += ", " + cli.Quote(m)
				}
				if !known[text] {
					known[text] = true
					as = append(as, text)
				}
			}
		}
	}
	return as
}

// deliver puts the signatures where the event is: into its file, or to the server.
func (t *tool) deliver(ctx context.Context, j *judged, s *event.Signing, sigs []event.Signature, approval *statement.Envelope) error {
	for _, out := range j.Add(sigs, []statement.Envelope{*approval}) {
		if out.Err != nil {
			return out.Err
		}
	}
	if len(j.files) > 0 {
		if err := j.write(j.Event); err != nil {
			return err
		}
	}
	if j.remote() {
		outcomes, err := j.client.AddSignatures(ctx, j.ID(), j.Event.Signatures, j.Event.Approvals)
		if err != nil {
			return undone(err, "signed here, not on the server: the same command sends it again")
		}
		for _, o := range outcomes {
			if !o.GetTaken() && mine(o.GetKeyid(), s.KeyIDs()) {
				return reason.Errorf(reason.Reason(o.GetReason()), "the server did not take the signature: %s", o.GetMessage())
			}
		}
	}
	doc := signed{Event: j.ID(), Deployment: j.id, Person: s.Person.ID, Keys: s.KeyIDs(), Complete: j.Complete, Review: j.Review()}
	for _, i := range s.Files {
		doc.Files = append(doc.Files, string(j.Files[i].Repository)+"/"+j.Files[i].Role)
	}
	return t.Out.Result(doc, func() {
		t.Out.Line("%s", outcome(j, s))
		if next := t.next(j); next != "" {
			t.Out.Line("%s", next)
		}
	})
}

func mine(keyid string, own []string) bool {
	for _, id := range own {
		if id == keyid {
			return true
		}
	}
	return false
}

// outcome says who signed and how far the quorum is.
func outcome(j *judged, s *event.Signing) string {
	complete := 0
	for i := range j.Files {
		if j.Files[i].Complete() {
			complete++
		}
	}
	of := fmt.Sprintf("quorum complete in %d of %d files", complete, len(j.Files))
	switch {
	case !j.remote():
		if len(j.Files) == 1 {
			of = show.Tallies(&j.Files[0])
		}
		return fmt.Sprintf("%s: signed by %s; %s", cli.Safe(j.name()), strings.Join(show.SignedBy(j.Judgement), ", "), of)
	case len(s.Files) == 1:
		f := &j.Files[s.Files[0]]
		return fmt.Sprintf("signed %s version %d as %s: %s", roleName(f.Repository, f.Role), f.NewVersion, s.Person.ID, show.Tallies(f))
	}
	return fmt.Sprintf("signed %d files of %s as %s; %s", len(s.Files), j.id, s.Person.ID, of)
}

// next is the next command, and who gives it.
func (t *tool) next(j *judged) string {
	if j.Complete {
		return "next: countersign publish " + j.argument()
	}
	return fmt.Sprintf("next: %s: countersign sign %s", show.Or(show.Can(j.Judgement)), j.argument())
}

// undone ends the text of an error by what stands now.
func undone(err error, what string) error {
	if err == nil {
		return nil
	}
	return reason.Errorf(reason.Of(err), "%w; %s", err, what).WithHint("%s", reason.HintOf(err))
}
