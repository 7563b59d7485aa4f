package main

import (
	"context"
	"errors"
	"strings"

	"github.com/countersign-ota/countersign/agent"
	"github.com/countersign-ota/countersign/cmd/internal/cli"
	"github.com/countersign-ota/countersign/proto/reason"
)

// outcome is the JSON of a command that may change what the device runs.
type outcome struct {
	// Result is nothing, staged, confirmed, trial, reboot or reverted.
	Result  string `json:"result"`
	Target  string `json:"target,omitempty"`
	Version string `json:"version,omitempty"`
	Counter int64  `json:"counter,omitempty"`
	Floor   int64  `json:"floor,omitempty"`
	// Slot is where the target lies, with installer slot.
	Slot string `json:"slot,omitempty"`
}

func onceCommand() *command {
	return &command{
		name: "once", short: "Do one cycle: check, stage, install; exit 10 asks for a reboot.",
		example: name + " once",
		run: func(ctx context.Context, p *program, _ []string) error {
			return p.withAgent(ctx, true, func(d *device, a *agent.Agent) error {
				u, err := a.Check(ctx)
				return p.carryOut(ctx, d, a, u, err)
			})
		},
	}
}

func fetchCommand() *command {
	return &command{
		name: "fetch", short: "Check and stage, and install nothing.",
		example: name + " fetch && " + name + " install",
		run: func(ctx context.Context, p *program, _ []string) error {
			return p.withAgent(ctx, true, func(d *device, a *agent.Agent) error {
				u, err := a.Check(ctx)
				if err != nil {
					return p.explain(a, err)
				}
				if u == nil {
					return p.idle(ctx, d, a)
				}
				if err := p.stage(ctx, a, u); err != nil {
					return err
				}
				t := u.Targets()[0]
				o := outcome{Result: "staged", Target: t.Path, Version: t.Version, Counter: t.Counter}
				return p.out.Result(o, func() { p.out.Line("%s: verified, staged, %s", cli.Safe(t.Path), cli.Bytes(t.Length)) })
			})
		},
	}
}

func installCommand() *command {
	return &command{
		name: "install", args: "[TARGET]", most: 1,
		short:   "Install what is staged, or a target or image file given on the device (allow_local).",
		example: name + " install gw-100/2.4.1/gw.img\n" + name + " install ./gw.img",
		run: func(ctx context.Context, p *program, args []string) error {
			return p.withAgent(ctx, len(args) > 0, func(d *device, a *agent.Agent) error {
				if len(args) > 0 {
					u, err := a.CheckLocal(ctx, localOf(args[0]))
					return p.carryOut(ctx, d, a, u, err)
				}
				u := a.Staged()
				if u == nil {
					return p.idle(ctx, d, a)
				}
				if err := a.Install(ctx, u); err != nil {
					return p.explain(a, err)
				}
				return p.settled(ctx, d, a, u.Targets()[0], "")
			})
		},
	}
}

// localOf reads TARGET: a path that starts at the root or with a dot is a file, as in the shell.
func localOf(target string) agent.Local {
	if strings.HasPrefix(target, "/") || strings.HasPrefix(target, "./") || strings.HasPrefix(target, "../") {
		return agent.Local{File: target}
	}
	return agent.Local{Path: target}
}

func runCommand() *command {
	return &command{
		name: "run", short: "Do a cycle every interval until told to stop; exit 10 asks for a reboot.",
		example: name + " run -v",
		run: func(ctx context.Context, p *program, _ []string) error {
			return p.withAgent(ctx, true, func(d *device, a *agent.Agent) error {
				p.out.Note("%s of %s takes %s, every %s", d.values["device"], d.values["deployment"], d.component.product, d.values["interval"])
				err := a.Run(ctx)
				if errors.Is(err, agent.ErrReboot) {
					return p.idle(context.WithoutCancel(ctx), d, a)
				}
				return err
			})
		},
	}
}

// carryOut stages and installs what a check found.
func (p *program) carryOut(ctx context.Context, d *device, a *agent.Agent, u *agent.Update, err error) error {
	if err != nil {
		return p.explain(a, err)
	}
	if u == nil {
		return p.idle(ctx, d, a)
	}
	if err := p.stage(ctx, a, u); err != nil {
		return err
	}
	if err := a.Install(ctx, u); err != nil {
		return p.explain(a, err)
	}
	return p.settled(ctx, d, a, u.Targets()[0], "verified, staged, ")
}

// stage stages, with a line of progress on a terminal.
func (p *program) stage(ctx context.Context, a *agent.Agent, u *agent.Update) error {
	show, end := p.progress()
	err := a.Stage(ctx, u, show)
	end()
	if err != nil {
		return p.explain(a, err)
	}
	return nil
}

// settled says where an installed target stands; a reboot is exit 10.
func (p *program) settled(ctx context.Context, d *device, a *agent.Agent, t agent.Target, steps string) error {
	s := a.Status()
	o := outcome{Result: "confirmed", Target: t.Path, Version: t.Version, Counter: t.Counter}
	done := "installed, confirmed"
	if u := s.Update; u != nil {
		o.Result, done = "trial", "installed, in trial until `"+name+" confirm`"
		if u.Reboot {
			o.Result, done = "reboot", "installed; reboot to try it"
			if run, err := d.cfg.Components[d.component.id].Installer.Running(ctx); err == nil && run.Next != "" {
				o.Slot = run.Next
				done = "installed in slot " + cli.Safe(run.Next) + "; reboot to try it"
			}
		}
	} else {
		o.Floor = s.Components[0].Floor
	}
	if err := p.out.Result(o, func() { p.out.Line("%s: %s%s", cli.Safe(t.Path), steps, done) }); err != nil {
		return err
	}
	if o.Result == "reboot" {
		return &cli.ExitError{Code: cli.ExitReboot}
	}
	return nil
}

// idle says why nothing was done: it runs already, is in trial, or waits for a reboot.
func (p *program) idle(ctx context.Context, d *device, a *agent.Agent) error {
	s := a.Status()
	if u := s.Update; u != nil && len(u.Members) > 0 {
		m := u.Members[0]
		t := agent.Target{Path: m.Path, Version: m.Version, Counter: m.Counter}
		switch {
		case u.Reboot && u.State == "reverting":
			o := outcome{Result: "reboot", Target: m.Path, Version: m.Version, Counter: m.Counter}
			if err := p.out.Result(o, func() { p.out.Line("%s: taken back; reboot to leave it", cli.Safe(m.Path)) }); err != nil {
				return err
			}
			return &cli.ExitError{Code: cli.ExitReboot}
		case u.State == "trial":
			return p.settled(ctx, d, a, t, "")
		}
	}
	c := s.Components[0]
	o := outcome{Result: "nothing", Target: c.Path, Version: c.Version, Counter: c.Counter, Floor: c.Floor}
	return p.out.Result(o, func() { p.out.Line("nothing to do: %s", runs(d, &c)) })
}

// runs says what a component runs.
func runs(d *device, c *agent.ComponentStatus) string {
	version := c.Version
	if version == "" {
		version = "as it left the factory"
	}
	return d.component.product + " " + cli.Safe(version) + ", counter " + cli.Grouped(c.Counter)
}

// explain adds to a refusal what the device does now.
func (p *program) explain(a *agent.Agent, err error) error {
	var e *reason.Error
	if reason.HintOf(err) != "" || !errors.As(err, &e) {
		return err
	}
	version := a.Status().Components[0].Version
	if version == "" {
		version = "the factory's image"
	}
	hint := ""
	switch r := e.Reason; {
	case r == reason.HashMismatch || r == reason.LengthMismatch:
		hint = "server or mirror sent other bytes; " + version + " runs on untouched"
	case r.Class() == reason.NotAuthentic:
		hint = "what came is not authentic; " + version + " runs on untouched; tell the people who sign"
	case r == reason.InstallFailed:
		hint = version + " runs on; after three failures another release is needed"
	default:
		return err
	}
	return &reason.Error{Reason: e.Reason, Text: err.Error(), Hint: hint, Err: err}
}
