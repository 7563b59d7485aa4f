package main

import (
	"github.com/spf13/cobra"

	"github.com/countersign-ota/countersign/cmd/internal/cli"
	"github.com/countersign-ota/countersign/cmd/internal/cli/tree"
)

func onlineCommand(_ *tree.Program) *cobra.Command {
	return &cobra.Command{Use: "online", Short: "Unfinished.", Example: "countersignd online", RunE: func(*cobra.Command, []string) error { return cli.Usagef("unfinished") }}
}
