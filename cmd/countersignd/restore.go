package main

import (
	"encoding/hex"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/countersign-ota/countersign/cmd/internal/cli"
	"github.com/countersign-ota/countersign/cmd/internal/cli/tree"
	"github.com/countersign-ota/countersign/repository"
)

// restoreResult is the document of restore.
type restoreResult struct {
	Dir        string         `json:"dir"`
	Config     string         `json:"config"`
	Deployment string         `json:"deployment"`
	MadeAt     string         `json:"made_at"`
	Manifest   string         `json:"manifest_sha256"`
	Checkpoint checkpointJSON `json:"checkpoint"`
	Damaged    []string       `json:"damaged"`
	Outside    []string       `json:"outside"`
}

func restoreCommand(p *tree.Program) *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use:   "restore SOURCE [--dir DIR]",
		Short: "Make a server's directory out of a backup; it signs nothing until recover.",
		Long: `Every file is compared with the backup's manifest, and the directory gets its name when all of it is
there. The server then starts and serves what the backup holds, and signs, opens and publishes nothing
until countersignd recover. Images and evidence that are damaged in the backup are left out and named;
recover marks them, and an upload heals them.`,
		Example: `countersignd restore /var/backups/countersign/2026-11-25`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if dir != "" {
				var err error
				if dir, err = filepath.Abs(dir); err != nil {
					return err
				}
			}
			r, err := repository.Restore(cmd.Context(), repository.RestoreOptions{Source: args[0], Dir: dir})
			if err != nil {
				return err
			}
			m := r.Manifest
			damaged := r.Damaged
			if damaged == nil {
				damaged = []string{}
			}
			return p.Out.Result(restoreResult{
				Dir: r.Dir, Config: r.Config, Deployment: m.Deployment, MadeAt: m.MadeAt, Manifest: hex.EncodeToString(r.SHA256[:]),
				Checkpoint: checkpointJSON{m.LastEntry, m.LastEntrySHA256}, Damaged: damaged, Outside: m.Outside,
			}, func() { printRestored(p.Out, r) })
		},
	}
	c.Flags().StringVar(&dir, "dir", "", "a `DIR` that does not exist yet; the one that the backup's server.yaml names without it")
	return c
}

func printRestored(out *cli.Output, r *repository.Restored) {
	m := r.Manifest
	out.Line("restored %s into %s from the copy of %s: %d files, %s; audit log up to entry %d (%.12s)",
		m.Deployment, cli.Safe(r.Dir), m.MadeAt, len(m.Files), cli.Bytes(m.Total()), m.LastEntry, m.LastEntrySHA256)
	out.Line("it signs nothing until recover")
	for _, path := range r.Damaged {
		out.Warn("left out, damaged in the backup: %s", cli.Safe(path))
	}
	for _, o := range m.Outside {
		out.Warn("was not in the backup: %s", cli.Safe(o))
	}
	out.Hint("countersignd run --config %s", cli.Safe(r.Config))
	out.Hint("then have everybody run countersign status, and: countersignd recover --config %s", cli.Safe(r.Config))
}
