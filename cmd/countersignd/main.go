// Command countersignd is the Countersign server: it takes firmware and signing events from operators,
// publishes them, and serves devices and mirrors (docs/design.md 4, docs/commands.md 2).
package main

import (
	"os"

	"github.com/countersign-ota/countersign/cmd/internal/cli/tree"
)

// jobs are what the bare program prints.
const jobs = `countersignd serves firmware that several people signed. It cannot make any.

  make a server        countersignd init --deployment ID --url URL --dir DIR --operator ID
  run it               countersignd run --config DIR/server.yaml
  see who is let in    countersignd ports
  after a change       countersignd config check
  is all of it sound   countersignd check DIR
  keys were stolen     countersignd online new

countersignd help TOPIC, countersignd COMMAND --help`

func main() { os.Exit(program().Main(os.Args[1:])) }

func program() *tree.Program {
	p := tree.New(tree.Text{
		Name:  "countersignd",
		Short: "The Countersign server: takes signing events, publishes them, serves devices.",
		Jobs:  jobs,
	})
	p.Add(initCommand(p), runCommand(p), portsCommand(p), configCommand(p), checkCommand(p),
		onlineCommand(p), backupCommand(p), restoreCommand(p), recoverCommand(p))
	return p
}
