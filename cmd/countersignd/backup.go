package main

import (
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/countersign-ota/countersign/cmd/internal/cli"
	"github.com/countersign-ota/countersign/cmd/internal/cli/tree"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/repository"
)

// backupResult is the document of backup.
type backupResult struct {
	Dest       string         `json:"dest"`
	Deployment string         `json:"deployment"`
	Files      int            `json:"files"`
	Bytes      int64          `json:"bytes"`
	Checkpoint checkpointJSON `json:"checkpoint"`
	Missing    []string       `json:"missing"`
	Outside    []string       `json:"outside"`
}

// checkpointJSON names the last entry of the audit log.
type checkpointJSON struct {
	Entry  int64  `json:"entry"`
	SHA256 string `json:"sha256"`
}

func backupCommand(p *tree.Program) *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "backup DEST [--config FILE]",
		Short: "Copy all that the server needs into a new folder, while it runs.",
		Long: `The copy is one state of the store, every image and evidence file that it knows, the configuration, the
identity and the online keys. So it holds secrets: keep it as you keep the server. Token files are left
out, since restoring voids tokens; keys that lie outside of the server's directory are named, not copied.
The running server writes it, as its own user; without one this command does. A copy that was interrupted
has another name and no manifest, and restore refuses it.`,
		Example: `countersignd backup /var/backups/countersign/2026-11-25`,
		RunE: func(cmd *cobra.Command, args []string) error {
			dest, err := filepath.Abs(args[0])
			if err != nil {
				return err
			}
			cfg, err := repository.LoadConfig(file)
			if err != nil {
				return err
			}
			data, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			m, err := repository.Backup(cmd.Context(), *cfg, data, dest)
			if err != nil {
				return err
			}
			result := backupResult{
				Dest: dest, Deployment: m.Deployment, Files: len(m.Files), Bytes: m.Total(),
				Checkpoint: checkpointJSON{m.LastEntry, m.LastEntrySHA256}, Missing: m.Missing, Outside: m.Outside,
			}
			if err := p.Out.Result(result, func() { printBackup(p.Out, dest, m) }); err != nil {
				return err
			}
			if n := len(m.Missing); n > 0 {
				return reason.Errorf(reason.StateDamaged, "%s is whole but for %d files that are gone or damaged on the server", dest, n).
					WithHint("countersignd check")
			}
			return nil
		},
	}
	configFlag(c, &file)
	return c
}

func printBackup(out *cli.Output, dest string, m *repository.Manifest) {
	out.Line("%s: %d files, %s, of %s; audit log up to entry %d (%.12s)", cli.Safe(dest), len(m.Files), cli.Bytes(m.Total()), m.Deployment, m.LastEntry, m.LastEntrySHA256)
	for _, o := range m.Outside {
		out.Warn("not in the copy: %s", cli.Safe(o))
	}
	for _, sum := range m.Missing {
		out.Warn("not in the copy: sha256 %s is gone or damaged", sum)
	}
}
