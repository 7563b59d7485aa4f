package main

import (
	"github.com/spf13/cobra"

	"github.com/countersign-ota/countersign/cmd/internal/cli"
)

func (t *tool) rehearseCommand() *cobra.Command {
	return &cobra.Command{Use: "rehearse", Short: "Unfinished.", Example: "  countersign rehearse", RunE: func(*cobra.Command, []string) error { return cli.Usagef("unfinished") }}
}
