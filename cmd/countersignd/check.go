package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign-ota/countersign/cmd/internal/cli"
	"github.com/countersign-ota/countersign/cmd/internal/cli/tree"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/repository"
)

// checkResult is the document of check.
type checkResult struct {
	Dir      string         `json:"dir"`
	Checked  map[string]int `json:"checked"`
	Problems []checkProblem `json:"problems"`
}

type checkProblem struct {
	Where  string `json:"where"`
	Reason string `json:"reason"`
	Text   string `json:"text"`
}

func checkCommand(p *tree.Program) *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "check [DIR] [--config FILE]",
		Short: "Check every reference, hash, signature and version that a server keeps; change nothing.",
		Long: `It works beside the running server and on a stopped one. It reads every image once, so it takes as long
as the disk needs for them.`,
		Example: `countersignd check /var/lib/countersign`,
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := ""
			if len(args) == 1 {
				dir = args[0]
			} else {
				cfg, err := repository.LoadConfig(file)
				if err != nil {
					return err
				}
				dir = cfg.Dir
			}
			r, err := repository.Check(cmd.Context(), dir, time.Now())
			if err != nil {
				return err
			}
			result := checkResult{Dir: dir, Checked: r.Checked, Problems: []checkProblem{}}
			for _, pr := range r.Problems {
				result.Problems = append(result.Problems, checkProblem{pr.Where, string(reason.Of(pr.Err)), pr.Err.Error()})
			}
			if err := p.Out.Result(result, func() { printCheck(p.Out, r) }); err != nil {
				return err
			}
			if len(r.Problems) > 0 {
				return reason.Errorf(reason.StateDamaged, "%s: %d problems", dir, len(r.Problems))
			}
			return nil
		},
	}
	configFlag(c, &file)
	return c
}

func printCheck(out *cli.Output, r *repository.Report) {
	for _, pr := range r.Problems {
		out.Line("%s: %s [%s]", cli.Safe(pr.Where), cli.Safe(pr.Err.Error()), reason.Of(pr.Err))
	}
	for _, what := range repository.CheckedOrder {
		out.Line("%6d %s", r.Checked[what], what)
	}
}
