// Package gate decides whether now is the moment to touch a device that people depend on
// (DESIGN 5.4): the conditions that the signed release states, what the device's own configuration
// adds, and the maker's programs in a directory.
//
// Start with Gates and its Check, which the agent calls before it installs and again before it
// activates. Every doubt closes a gate: a condition that nobody can measure, a program that hangs,
// crashes, answers half a sentence or could have been replaced by somebody else. A closed gate
// defers the update; it is no failure, and the next cycle asks again.
//
// A gate does not protect against a maker's program that lies, and grants no lease: between its
// answer and the activation the device may leave the state that the program saw.
package gate

import (
	"context"
	"fmt"
	"time"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// Step is the moment at which a gate is asked.
type Step string

// The two moments of DESIGN 5.4.
const (
	Install  Step = "install"
	Activate Step = "activate"
)

// Request says what is about to happen to what.
type Request struct {
	Step       Step
	Device     string
	Component  string
	Product    string
	Version    string
	Counter    int64
	Class      string
	Conditions *metadata.Conditions // nil: the release states none
}

// Codes of deferrals, beside those that programs answer with.
const (
	CodeBattery        = "battery"
	CodeBatteryUnknown = "battery-unknown"
	CodeSpace          = "space"
	CodeWindow         = "window"
	CodeNotVouched     = "not-vouched"
	CodeProgram        = "program"
)

// Deferral is why a gate is closed. It is found by errors.As in what Check returns.
type Deferral struct {
	// Gate is "battery", "space", "window", "conditions" or the file name of a program.
	Gate string
	// Code is one of the constants above or a program's own word.
	Code string
	// Detail says what was wanted and what was found.
	Detail string
}

// Error returns gate, code and detail.
func (d *Deferral) Error() string {
	if d.Detail == "" {
		return fmt.Sprintf("gate %q is closed: %s", d.Gate, d.Code)
	}
	return fmt.Sprintf("gate %q is closed: %s: %s", d.Gate, d.Code, d.Detail)
}

func closed(gate, code, format string, args ...any) *Deferral {
	return &Deferral{Gate: gate, Code: code, Detail: fmt.Sprintf(format, args...)}
}

// Gates is what this device asks. The zero value asks only for the signed conditions, and lets
// none of them pass that it cannot measure.
type Gates struct {
	// BatteryMin is the least charge in percent that the device itself demands; the signed one
	// binds as well.
	BatteryMin int
	// Battery measures the charge in percent; ErrNoBattery when nothing can be measured.
	// nil: PowerSupply("/sys/class/power_supply").
	Battery func() (int, error)
	// FreeMin is how many bytes must stay free at FreeDir; 0: not asked.
	FreeMin int64
	FreeDir string
	// Window is when the device may be touched; the zero value is always.
	Window Window
	// Dir holds the maker's programs; empty: there are none.
	Dir string
	// Deadline bounds each program; 0: DefaultDeadline.
	Deadline time.Duration
}

// Check returns nil when every gate is open at now, and otherwise an error of reason gate that
// wraps a *Deferral. Programs are run one after the other in the order of their names, after what
// costs nothing was asked; the first closed gate ends the check. A cancelled ctx ends a program
// and closes its gate.
func (g *Gates) Check(ctx context.Context, r Request, now time.Time) error {
	if d := g.check(ctx, r, now); d != nil {
		return reason.Errorf(reason.Gate, "%w", d)
	}
	return nil
}

func (g *Gates) check(ctx context.Context, r Request, now time.Time) *Deferral {
	if d := g.Window.check(now); d != nil {
		return d
	}
	if d := g.checkBattery(r.Conditions); d != nil {
		return d
	}
	if d := g.checkSpace(); d != nil {
		return d
	}
	asked, d := g.checkPrograms(ctx, r)
	if d != nil {
		return d
	}
	// Whether the device is idle, and how long it may be down, only the maker's programs know:
	// they got the conditions, and opening the gate vouches for them.
	if c := r.Conditions; c != nil && asked == 0 && (c.Idle || c.DowntimeSeconds > 0) {
		return closed("conditions", CodeNotVouched,
			"the release demands idle %t and %d s of downtime, and no program is there to vouch for it",
			c.Idle, c.DowntimeSeconds)
	}
	return nil
}
