package main

import (
	"github.com/spf13/cobra"

	"github.com/countersign-ota/countersign/cmd/internal/cli"
	"github.com/countersign-ota/countersign/cmd/internal/cli/tree"
)

func backupCommand(_ *tree.Program) *cobra.Command {
	return &cobra.Command{Use: "backup", Short: "Unfinished.", Example: "countersignd backup", RunE: func(*cobra.Command, []string) error { return cli.Usagef("unfinished") }}
}
