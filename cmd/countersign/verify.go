package main

import (
	"github.com/spf13/cobra"

	"github.com/countersign-ota/countersign/cmd/internal/cli"
)

func (t *tool) verifyCommand() *cobra.Command {
	return &cobra.Command{Use: "verify", Short: "Unfinished.", Example: "  countersign verify", RunE: func(*cobra.Command, []string) error { return cli.Usagef("unfinished") }}
}
