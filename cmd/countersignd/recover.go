package main

import (
	"github.com/spf13/cobra"

	"github.com/countersign-ota/countersign/cmd/internal/cli"
	"github.com/countersign-ota/countersign/cmd/internal/cli/tree"
)

func recoverCommand(_ *tree.Program) *cobra.Command {
	return &cobra.Command{Use: "recover", Short: "Unfinished.", Example: "countersignd recover", RunE: func(*cobra.Command, []string) error { return cli.Usagef("unfinished") }}
}
