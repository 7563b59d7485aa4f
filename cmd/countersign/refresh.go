package main

import (
	"github.com/spf13/cobra"

	"github.com/countersign-ota/countersign/cmd/internal/cli"
)

func (t *tool) refreshCommand() *cobra.Command {
	return &cobra.Command{Use: "refresh", Short: "Unfinished.", Example: "  countersign refresh", RunE: func(*cobra.Command, []string) error { return cli.Usagef("unfinished") }}
}
