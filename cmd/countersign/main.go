// Command countersign is the tool for people: it makes keys, opens, reviews and signs events, and
// publishes them. docs/commands.md is its specification; `countersign help` lists what it can do.
//
// Each command has its file here and its testscript file in testdata. What a machine keeps between
// runs is in internal/home, the text of a review in internal/show; judging and signing are
// signer/event's, calls to a server signer/remote's.
package main

import (
	"os"
	"time"

	"github.com/countersign-ota/countersign/cmd/internal/cli/tree"
)

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	t := newTool(os.Getenv, time.Now)
	return t.Main(args)
}

const jobs = `countersign: firmware that several people sign
  first       countersign key new, init, login        keys, the first roots, a server
  change      countersign plan, rehearse, change      who may sign what, and what would follow
  release     countersign release, withdraw, refresh  open firmware for signing, take it back, keep it valid
  sign        countersign sign EVENT, publish EVENT   review and sign; make public what is complete
  stop        countersign stop R --reason T           one person stops a release on all devices
  look        countersign status, event list, verify  what waits for you, what expires, who signed
  carry       countersign event export, import        signing without a network
  people      countersign operator, device invite     tokens for people and devices
  more        countersign help, help sign, help ids   commands and topics
`

var topics = []tree.Topic{
	{Name: "ids", Short: "how releases, events and roles are named", Text: `A release is PRODUCT/VERSION, such as gw-100/2.4.1; a target is PRODUCT/VERSION/FILE.
An event is named by the SHA-256 of its proposal: 12 digits in tables, in full in reviews and JSON, any unique prefix
of 4 or more digits as an argument. An EVENT that ends in .event or holds a / is a file and touches no network.
Several files of one event are merged wherever an EVENT is taken.
`},
	{Name: "files", Short: "where the tool keeps keys, settings and memory", Text: `$XDG_CONFIG_HOME/countersign/config.yaml         server and key by deployment, written by login
$XDG_DATA_HOME/countersign/keys/ID.key           private keys, encrypted, or on which token they are
$XDG_STATE_HOME/countersign/DEPLOYMENT/          pinned roots, highest versions seen and signed, certificate
COUNTERSIGN_HOME puts all of them under one folder, as on a stick: config.yaml, keys/, state/DEPLOYMENT/.
`},
	{Name: "offline", Short: "signing on a machine without a network", Text: `countersign event export EVENT -o FILE       on a machine that reaches the server
countersign sign FILE --artifact PATH        on the one that does not; the file is signed in place
countersign event import FILE                back on the first
Copies of one event that several people signed are merged: countersign publish a.event b.event
`},
}

// newTool returns the tool with all its commands.
func newTool(getenv func(string) string, now func() time.Time) *tool {
	t := &tool{getenv: getenv, now: now, Program: tree.New(tree.Text{
		Name:   "countersign",
		Short:  "Make keys, open, review and sign events, and publish them.",
		Jobs:   jobs,
		Topics: topics,
	})}
	t.Root.PersistentFlags().StringVar(&t.asked, "deployment", "", "which deployment: `ID`")
	t.Add(
		t.keyCommand(),
		t.initCommand(), t.planCommand(), t.rehearseCommand(), t.changeCommand(),
		t.releaseCommand(), t.withdrawCommand(), t.refreshCommand(), t.stopCommand(),
		t.signCommand(), t.publishCommand(), t.eventCommand(), t.statusCommand(), t.verifyCommand(),
		t.loginCommand(), t.operatorCommand(), t.deviceCommand(),
	)
	t.offering(t.Root)
	return t
}
