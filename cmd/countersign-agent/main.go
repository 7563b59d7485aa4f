// Command countersign-agent keeps a device's firmware current: package agent with flags
// (docs/commands.md 2).
//
// It reads agent.conf, keeps its state in one directory, and speaks gRPC or HTTPS to its server. It
// uses the standard library's flag package, since cobra is too large for a device; main.go starts it,
// command.go lists the commands, settings.go says where a setting comes from.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/countersign-ota/countersign/cmd/internal/cli"
)

const name = "countersign-agent"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	p := &program{
		out:    &cli.Output{Name: name, Stdout: os.Stdout, Stderr: os.Stderr},
		getenv: os.Getenv,
	}
	code := p.main(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}
