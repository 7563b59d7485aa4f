package main

import (
	"github.com/spf13/cobra"

	"github.com/countersign-ota/countersign/cmd/internal/cli"
)

func (t *tool) withdrawCommand() *cobra.Command {
	return &cobra.Command{Use: "withdraw", Short: "Unfinished.", Example: "  countersign withdraw", RunE: func(*cobra.Command, []string) error { return cli.Usagef("unfinished") }}
}
