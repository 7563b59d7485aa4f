package main

import (
	"context"
	"crypto/x509"
	"strings"

	"github.com/spf13/cobra"

	"github.com/countersign-ota/countersign/cmd/countersign/internal/outsider"
	"github.com/countersign-ota/countersign/cmd/internal/cli"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// verifying is what `verify` was asked.
type verifying struct{ root, repo, artifact, ca string }

func (t *tool) verifyCommand() *cobra.Command {
	var v verifying
	c := &cobra.Command{
		Use:   "verify R --root FILE --repo DIR|URL|BUNDLE [--artifact FILE --ca FILE]",
		Short: "Say whether a release is genuine, who signed it, and what each signature means.",
		Long: `R is a release, PRODUCT/VERSION, or one target of it, PRODUCT/VERSION/FILE. The root is any version of the deployment's
image root that you trust; the repository need not be trusted: an https URL, a directory in its layout, or an uncompressed
tar of such a directory. Nothing else is needed: no login, no keys. Without --artifact the images are read from the
repository, as far as it gives them. "released" is about the version that listed the release first, "role" about what is
in force now; a copy without old files cannot prove who released it, and says so. A directory or tar may be old: an
expired timestamp or snapshot of it is shown, not refused. Exit 0: genuine; 3: not authentic; 4: genuine, but stopped,
expired or not listed.`,
		Example: "  countersign verify gw-100/2.4.1 --root root.json --repo https://updates.example --artifact gw.img",
		RunE: func(cmd *cobra.Command, args []string) error {
			return t.verify(cmd.Context(), args[0], v)
		},
	}
	c.Flags().StringVar(&v.root, "root", "", "the image root that you trust: `FILE`")
	c.Flags().StringVar(&v.repo, "repo", "", "the repository: `DIR|URL|BUNDLE`")
	c.Flags().StringVar(&v.artifact, "artifact", "", "the firmware at hand, a `FILE`")
	c.Flags().StringVar(&v.ca, "ca", "", "certificate authorities of the URL, a PEM `FILE`; default: the system's")
	return c
}

// parseSubject splits PRODUCT/VERSION or PRODUCT/VERSION/FILE.
func parseSubject(r string) (outsider.Release, error) {
	if strings.Count(r, "/") != 2 {
		product, version, err := parseRelease(r)
		return outsider.Release{Product: product, Version: version}, err
	}
	p, err := metadata.ParseTargetPath(r)
	if err != nil {
		return outsider.Release{}, cli.Usagef("%s is neither PRODUCT/VERSION nor PRODUCT/VERSION/FILE", cli.Quote(r))
	}
	return outsider.Release{Product: p.Product, Version: p.Version, File: p.File}, nil
}

func (t *tool) verify(ctx context.Context, r string, v verifying) error {
	what, err := parseSubject(r)
	if err != nil {
		return err
	}
	switch {
	case v.root == "":
		return cli.Usagef("verify wants a root that you trust").WithHint("add --root FILE, such as 1.root.json from the maker, its fingerprint compared")
	case v.repo == "":
		return cli.Usagef("verify wants a repository").WithHint("add --repo https://HOST, or a directory, or a bundle")
	}
	root, err := readFile(v.root, metadata.MaxSize(metadata.Profile, metadata.Root))
	if err != nil {
		return err
	}
	pool, err := authorities(v.ca)
	if err != nil {
		return err
	}
	source, err := outsider.Open(v.repo, outsider.Options{CA: pool, Silence: t.silence, Agent: agent()})
	if err != nil {
		return err
	}
	defer func() { _ = source.Close() }()
	report, err := outsider.Verify(ctx, outsider.Config{
		Root: root, Source: source, Now: t.now(), Deployment: t.asked, Artifact: v.artifact, Progress: t.Progress(),
	}, what)
	if err != nil {
		return reason.Wrap(err, "%s", what)
	}
	if err := t.Out.Result(report, func() { t.Out.Line("%s", report.Text(v.root, v.repo)) }); err != nil {
		return err
	}
	return report.Err()
}

// maxCA bounds a file of certificate authorities in bytes.
const maxCA = 1 << 20

// authorities reads a PEM file; nil without one.
func authorities(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	data, err := readFile(path, maxCA)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, cli.Usagef("%s holds no certificate in PEM", cli.Quote(path))
	}
	return pool, nil
}
