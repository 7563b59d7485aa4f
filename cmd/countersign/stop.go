package main

import (
	"github.com/spf13/cobra"

	"github.com/countersign-ota/countersign/cmd/internal/cli"
)

func (t *tool) stopCommand() *cobra.Command {
	return &cobra.Command{Use: "stop", Short: "Unfinished.", Example: "  countersign stop", RunE: func(*cobra.Command, []string) error { return cli.Usagef("unfinished") }}
}
