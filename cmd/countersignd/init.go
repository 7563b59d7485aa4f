package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign-ota/countersign/cmd/internal/cli"
	"github.com/countersign-ota/countersign/cmd/internal/cli/tree"
	"github.com/countersign-ota/countersign/repository"
)

// initResult is the document of init.
type initResult struct {
	Deployment  string `json:"deployment"`
	Config      string `json:"config"`
	Online      string `json:"online"`
	RootKey     string `json:"root_key"`
	Token       string `json:"token"`
	Expires     string `json:"token_expires"`
	ImageKey    string `json:"image_key"`
	DirectorKey string `json:"director_key"`
}

func initCommand(p *tree.Program) *cobra.Command {
	var o repository.InitOptions
	c := &cobra.Command{
		Use:   "init --deployment ID --url URL --dir DIR --operator ID",
		Short: "Make the directory of a new server: configuration, online keys, identity CA, first token.",
		Long: `It makes all of it or nothing. The root key of the identity CA is encrypted and not needed to run:
carry it away. The first operator logs in with the token.`,
		Example: `countersignd init --deployment acme --url https://updates.example:8444 --dir /var/lib/countersign --operator rivera`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, f := range []struct{ name, value string }{
				{"deployment", o.Deployment}, {"url", o.URL}, {"dir", o.Dir}, {"operator", o.Operator},
			} {
				if f.value == "" {
					return cli.Usagef("init wants --%s", f.name).WithHint("%s", cmd.Example)
				}
			}
			if err := repository.CheckInit(o); err != nil { // before anything is asked
				return err
			}
			pass, err := p.Ask.NewPassphrase(cmd.Context(), "the identity root of "+o.Deployment)
			if err != nil {
				return err
			}
			o.Passphrase = pass
			made, err := repository.Init(cmd.Context(), o)
			if err != nil {
				return err
			}
			return p.Out.Result(initResult{
				Deployment: o.Deployment, Config: made.Config, Online: made.Online, RootKey: made.RootKey, Token: made.Token,
				Expires: made.Expires.UTC().Format(time.RFC3339), ImageKey: made.ImageKey, DirectorKey: made.DirectorKey,
			}, func() { printMade(p.Out, o, made) })
		},
	}
	f := c.Flags()
	f.StringVar(&o.Deployment, "deployment", "", "the deployment's `ID`; it never changes")
	f.StringVar(&o.URL, "url", "", "where the HTTPS side is reached: https://HOST[:PORT]")
	f.StringVar(&o.Dir, "dir", "", "a `DIR` that is empty or does not exist yet")
	f.StringVar(&o.Operator, "operator", "", "the first operator's `ID`")
	f.StringVar(&o.GRPC, "grpc", "", "listen for gRPC on `[HOST]:PORT`; :8443 without it")
	f.StringVar(&o.HTTPS, "https", "", "listen for HTTPS on `[HOST]:PORT`; the URL's port or :8444 without it")
	f.StringVar(&p.Ask.PassphraseFile, "passphrase-file", "", "a `FILE` of mode 0600 with the passphrase of the identity root")
	f.StringVar(&p.Ask.PassphraseFD, "passphrase-fd", "", "the open file descriptor `N` with the passphrase")
	return c
}

func printMade(out *cli.Output, o repository.InitOptions, m *repository.Made) {
	out.Line("made the server of %s:", o.Deployment)
	out.Line("  %s   configuration, with comments", cli.Safe(m.Config))
	out.Line("  %s   online keys %.12s (image) and %.12s (director), for the plan", cli.Safe(m.Online), m.ImageKey, m.DirectorKey)
	out.Line("  %s   key of the identity root, encrypted: carry it away", cli.Safe(m.RootKey))
	out.Line("  %s   token of %s, good until %s", cli.Safe(m.Token), o.Operator, m.Expires.UTC().Format("2006-01-02 15:04 UTC"))
	out.Hint("countersignd run --config %s", cli.Safe(m.Config))
	out.Hint("%s: countersign login --token-file %s.token", o.Operator, o.Operator)
}
