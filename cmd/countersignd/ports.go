package main

import (
	"github.com/spf13/cobra"

	"github.com/countersign-ota/countersign/cmd/internal/cli"
	"github.com/countersign-ota/countersign/cmd/internal/cli/tree"
	"github.com/countersign-ota/countersign/repository"
)

func portsCommand(p *tree.Program) *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:     "ports [--config FILE]",
		Short:   "Say what listens, for whom, and how they prove who they are.",
		Example: `countersignd ports --config /var/lib/countersign/server.yaml`,
		RunE: func(*cobra.Command, []string) error {
			cfg, err := repository.LoadConfig(file)
			if err != nil {
				return err
			}
			ports := cfg.Ports()
			return p.Out.Result(map[string]any{"ports": ports}, func() {
				for _, port := range ports {
					p.Out.Line("%s   %s, TLS 1.3", cli.Safe(port.Listen), port.Protocol)
					for _, u := range port.For {
						p.Out.Line("  %-10s %s; %s", u.Who, u.What, u.Proof)
					}
				}
			})
		},
	}
	configFlag(c, &file)
	return c
}

func configCommand(p *tree.Program) *cobra.Command {
	group := &cobra.Command{Use: "config", Short: "Judge the configuration."}
	var file string
	c := &cobra.Command{
		Use:     "check [--config FILE]",
		Short:   "Say ok, or FILE:LINE and what is wrong there.",
		Example: `countersignd config check --config /var/lib/countersign/server.yaml`,
		RunE: func(*cobra.Command, []string) error {
			if _, err := repository.LoadConfig(file); err != nil {
				return err
			}
			return p.Out.Result(map[string]any{"config": file, "ok": true}, func() { p.Out.Line("%s: ok", cli.Safe(file)) })
		},
	}
	configFlag(c, &file)
	group.AddCommand(c)
	return group
}
