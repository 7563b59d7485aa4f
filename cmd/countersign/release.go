package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/countersign-ota/countersign/cmd/countersign/internal/show"
	"github.com/countersign-ota/countersign/cmd/internal/cli"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/signer/event"
	"github.com/countersign-ota/countersign/signer/remote"
)

func (t *tool) releaseCommand() *cobra.Command {
	var spec, out string
	var dry bool
	c := &cobra.Command{
		Use:   "release R --spec FILE [-o FILE --dry-run]",
		Short: "Open the event of a release, PRODUCT/VERSION, and upload its files.",
		Long: `Counter and version of the role are derived from the signed files. Files of the spec are sought beside it. An upload that
was cut off goes on where it stopped when the same command is given again.`,
		Example: "  countersign release gw-100/2.4.1 --spec release.yaml",
		RunE: func(cmd *cobra.Command, args []string) error {
			return t.release(cmd.Context(), args[0], spec, out, dry)
		},
	}
	c.Flags().StringVar(&spec, "spec", "", "what the release is: a YAML `FILE`")
	c.Flags().StringVarP(&out, "output", "o", "", "write the event to `FILE`; nothing is opened or uploaded")
	c.Flags().BoolVar(&dry, "dry-run", false, "check everything and change nothing")
	c.Flags().StringArrayVar(&t.expect, "expect", nil, "the `FINGERPRINT` of the root that is to be pinned, for scripts")
	return c
}

// released is the document of `release`.
type released struct {
	proposed
	Counter int64         `json:"counter"`
	Floor   int64         `json:"floor"`
	Blobs   []releaseBlob `json:"blobs"`
}

type releaseBlob struct {
	Path   string `json:"path"`
	Length int64  `json:"length"`
	SHA256 string `json:"sha256"`
}

// parseRelease splits PRODUCT/VERSION.
func parseRelease(r string) (product, version string, err error) {
	product, version, ok := strings.Cut(r, "/")
	if ok {
		if err = metadata.CheckID("product", product); err == nil {
			err = metadata.CheckVersion(version)
		}
	}
	if !ok || err != nil {
		return "", "", cli.Usagef("%s is not PRODUCT/VERSION, such as gw-100/2.4.1", cli.Quote(r))
	}
	return product, version, nil
}

func (t *tool) release(ctx context.Context, r, specFile, out string, dry bool) error {
	product, version, err := parseRelease(r)
	if err != nil {
		return err
	}
	if specFile == "" {
		return cli.Usagef("release wants a spec").WithHint("add --spec release.yaml")
	}
	if err := eventPath(out); err != nil {
		return err
	}
	spec, err := event.LoadSpec(specFile)
	if err != nil {
		return undone(err, "nothing was opened")
	}
	v, err := t.inForce(ctx, "", metadata.Image)
	if err != nil {
		return err
	}
	defer v.Close()
	e, err := event.NewRelease(product, version, spec, v.state, t.opening(memory{v.history, v.source}))
	if err != nil {
		return undone(err, "nothing was opened")
	}
	j, err := event.Judge(e, v.state, t.options(v.history))
	if err != nil {
		return undone(err, "nothing was opened")
	}
	if !dry {
		if out == "" {
			if err := t.uploadAll(ctx, v.deployment, spec.Artifacts(e)); err != nil {
				return reason.Errorf(reason.Of(err), "%w, nothing opened", err).WithHint("%s", reason.HintOf(err))
			}
		}
		if err := t.propose(ctx, v, e, out); err != nil {
			return err
		}
	}
	return t.reportRelease(j, out, dry)
}

func (t *tool) reportRelease(j *event.Judgement, out string, dry bool) error {
	review := j.Review()
	doc := released{proposed: describe(j, out, out == "" && !dry), Blobs: []releaseBlob{}}
	for _, a := range review.Added {
		doc.Counter, doc.Floor = max(doc.Counter, a.Counter), max(doc.Floor, a.Floor)
	}
	for _, b := range j.Event.Proposal.Blobs {
		doc.Blobs = append(doc.Blobs, releaseBlob(b))
	}
	did := openedAs(j, out)
	if dry {
		did = "would open " + short(j.ID())
	}
	return t.Out.Result(doc, func() {
		t.Out.Line("%s: %s", did, show.Release(review))
		for _, b := range doc.Blobs {
			t.Out.Line("%s  sha256 %s  %s", b.Path, b.SHA256, cli.Bytes(b.Length))
		}
	})
}

// uploadAll sends the files that the server does not hold yet.
func (t *tool) uploadAll(ctx context.Context, d *deployment, files []event.Artifact) error {
	if err := t.connect(ctx, d); err != nil {
		return err
	}
	for _, a := range files {
		if err := t.upload(ctx, d, a); err != nil {
			return err
		}
	}
	return nil
}

// upload sends one file, with progress.
func (t *tool) upload(ctx context.Context, d *deployment, a event.Artifact) error {
	raw, err := hex.DecodeString(a.Blob.SHA256)
	if err != nil || len(raw) != 32 {
		return reason.Errorf(reason.Malformed, "%s has sha256 %q", a.Blob.Path, a.Blob.SHA256)
	}
	var bar cli.Bar
	watch := remote.Watch{
		Start: func(done, total int64) { bar = t.Progress().Start(a.File, done, total) },
		Add:   func(n int64) { bar.Add(n) },
	}
	err = d.client.Upload(ctx, a.File, [32]byte(raw), a.Blob.Length, watch)
	if bar != nil {
		bar.End()
	}
	if err != nil && !reason.Is(err, reason.Unreachable) {
		return reason.Wrap(err, "upload of %s", cli.Quote(a.File))
	}
	return err
}

// are returns "1 signature is" or "2 signatures are".
func are(n int, thing string) string {
	if n == 1 {
		return "1 " + thing + " is"
	}
	return plural(n, thing) + " are"
}

// plural returns "1 file" or "3 files".
func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
