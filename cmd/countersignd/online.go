package main

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/countersign-ota/countersign/cmd/internal/cli"
	"github.com/countersign-ota/countersign/cmd/internal/cli/tree"
	"github.com/countersign-ota/countersign/repository"
)

// onlineResult is the document of online new.
type onlineResult struct {
	Image       string `json:"image"`
	Director    string `json:"director"`
	ImageKey    string `json:"image_key"`
	DirectorKey string `json:"director_key"`
	// Config is the line that server.yaml wants.
	Config string `json:"config"`
}

func onlineCommand(p *tree.Program) *cobra.Command {
	group := &cobra.Command{Use: "online", Short: "Replace the keys that the server signs with by itself."}
	var file string
	c := &cobra.Command{
		Use:   "new [--config FILE]",
		Short: "Make new online keys beside the old ones, and change nothing else.",
		Long: `After the online keys were stolen, or when they are old: this makes a new pair of key files. Put the
printed line into server.yaml and restart the server: it writes online.pub anew, goes on serving what is
published, and signs nothing with the new keys until people have signed roots that name them. With that
online.pub in the plan, countersign change makes the event. Devices that verify the new roots take
nothing from the old keys any more.`,
		Example: `countersignd online new --config /var/lib/countersign/server.yaml`,
		RunE: func(*cobra.Command, []string) error {
			cfg, err := repository.LoadConfig(file)
			if err != nil {
				return err
			}
			made, err := repository.MakeOnline(cfg)
			if err != nil {
				return err
			}
			line := fmt.Sprintf("online: {image: %s, director: %s}", made.Image, made.Director)
			return p.Out.Result(onlineResult{
				Image: filepath.Join(cfg.Dir, made.Image), Director: filepath.Join(cfg.Dir, made.Director),
				ImageKey: made.ImageKey, DirectorKey: made.DirectorKey, Config: line,
			}, func() { printOnline(p.Out, file, cfg, made, line) })
		},
	}
	configFlag(c, &file)
	group.AddCommand(c)
	return group
}

func printOnline(out *cli.Output, file string, cfg *repository.Config, made *repository.NewOnline, line string) {
	out.Line("made new online keys, which nothing uses yet:")
	out.Line("  %s   key %.12s", cli.Safe(filepath.Join(cfg.Dir, made.Image)), made.ImageKey)
	out.Line("  %s   key %.12s", cli.Safe(filepath.Join(cfg.Dir, made.Director)), made.DirectorKey)
	out.Line("1. in %s: %s", cli.Safe(file), line)
	if made.Plugin {
		out.Line("   online.image is in a plug-in now: make a new key there instead, to stay there")
	}
	out.Line("2. restart countersignd; until step 3 it serves what is published and signs nothing by itself")
	out.Line("3. put %s where the plan has online.pub; then: countersign change plan.yaml", cli.Safe(filepath.Join(cfg.Dir, repository.OnlineFile)))
}
