package main

import (
	"errors"
	"log/slog"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/countersign-ota/countersign/cmd/internal/cli"
	"github.com/countersign-ota/countersign/cmd/internal/cli/tree"
	"github.com/countersign-ota/countersign/repository"
)

// defaultConfig is where packages put the configuration.
const defaultConfig = "/etc/countersign/server.yaml"

// gcPercent lets the heap grow to four times what lives: that is little, and events are garbage soon.
const gcPercent = 300

func configFlag(c *cobra.Command, file *string) {
	c.Flags().StringVar(file, "config", defaultConfig, "the server's configuration `FILE`")
}

func runCommand(p *tree.Program) *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "run [--config FILE]",
		Short: "Run the server until it is told to stop; then calls that run may finish.",
		Long: `It logs to stderr, one line a call that changes something or is refused; with -v also those that
only read, with --json as JSON. SIGTERM and SIGINT stop it: it takes no new calls and lets those that run
finish for at most 30 seconds.`,
		Example: `countersignd run --config /var/lib/countersign/server.yaml`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := repository.LoadConfig(file)
			if err != nil {
				return err
			}
			if os.Getenv("GOGC") == "" {
				debug.SetGCPercent(gcPercent)
			}
			cfg.Log = logger(p.Out)
			cfg.Credentials = os.Getenv("CREDENTIALS_DIRECTORY")
			s, err := repository.Open(cmd.Context(), *cfg)
			if err != nil {
				return err
			}
			err = s.Serve(cmd.Context())
			return errors.Join(err, s.Close())
		},
	}
	configFlag(c, &file)
	return c
}

// logger writes to stderr as the program's flags say.
func logger(out *cli.Output) *slog.Logger {
	opts := &slog.HandlerOptions{Level: slog.LevelInfo}
	switch {
	case out.Verbose:
		opts.Level = slog.LevelDebug
	case out.Quiet:
		opts.Level = slog.LevelError
	}
	if out.JSON {
		return slog.New(slog.NewJSONHandler(out.Stderr, opts))
	}
	return slog.New(slog.NewTextHandler(out.Stderr, opts))
}
