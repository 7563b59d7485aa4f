package main

import (
	"context"

	"github.com/countersign-ota/countersign/agent"
	"github.com/countersign-ota/countersign/cmd/internal/cli"
)

func confirmCommand() *command {
	return &command{
		name: "confirm", short: "End the trial: what runs now stays.", example: name + " confirm",
		run: func(ctx context.Context, p *program, _ []string) error {
			return p.withAgent(ctx, false, func(d *device, a *agent.Agent) error {
				if err := a.Confirm(ctx); err != nil {
					return err
				}
				c := a.Status().Components[0]
				o := outcome{Result: "confirmed", Target: c.Path, Version: c.Version, Counter: c.Counter, Floor: c.Floor}
				return p.out.Result(o, func() { p.out.Line("confirmed: %s, floor %s", runs(d, &c), cli.Grouped(c.Floor)) })
			})
		},
	}
}

func revertCommand() *command {
	return &command{
		name: "revert", short: "End the trial the other way: the image before runs again.", example: name + " revert",
		run: func(ctx context.Context, p *program, _ []string) error {
			return p.withAgent(ctx, false, func(d *device, a *agent.Agent) error {
				if err := a.Revert(ctx); err != nil {
					return err
				}
				s := a.Status()
				if s.Update.Reboot {
					return p.idle(ctx, d, a)
				}
				c := s.Components[0]
				o := outcome{Result: "reverted", Target: c.Path, Version: c.Version, Counter: c.Counter, Floor: c.Floor}
				return p.out.Result(o, func() { p.out.Line("reverted: %s, floor %s", runs(d, &c), cli.Grouped(c.Floor)) })
			})
		},
	}
}
