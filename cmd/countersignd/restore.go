package main

import (
	"github.com/spf13/cobra"

	"github.com/countersign-ota/countersign/cmd/internal/cli"
	"github.com/countersign-ota/countersign/cmd/internal/cli/tree"
)

func restoreCommand(_ *tree.Program) *cobra.Command {
	return &cobra.Command{Use: "restore", Short: "Unfinished.", Example: "countersignd restore", RunE: func(*cobra.Command, []string) error { return cli.Usagef("unfinished") }}
}
