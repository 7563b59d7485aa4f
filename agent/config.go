package agent

import (
	"context"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/countersign-ota/countersign/agent/gate"
	"github.com/countersign-ota/countersign/agent/install"
	"github.com/countersign-ota/countersign/agent/trust"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// Config is what an agent needs to know. Required are Dir, Root, Deployment, Device, Hardware and
// Components, and Transport for all that fetches.
type Config struct {
	// Dir is the agent's own directory, mode 0700; made if missing. It must survive updates.
	Dir string
	// Transport reaches the server; agent/transport/rpc and agent/transport/web make one. nil: only
	// what is stored can be used.
	Transport Transport
	// Root is an image root file of the deployment, as built into the image: the start of all trust.
	Root []byte
	// Deployment, Device and Hardware are ids (DESIGN 1.3).
	Deployment, Device, Hardware string
	// Components are what this agent updates, by component id: exactly one.
	Components map[string]Component
	// Gates are asked before installation and before activation. nil: only the signed conditions.
	Gates *gate.Gates
	// Confirm says who decides that a trial went well.
	Confirm Confirmation
	// AllowLocal permits instructions given on the device itself: CheckLocal.
	AllowLocal bool
	// SpreadExempt marks canaries and service benches, which do not wait for a release's spread.
	SpreadExempt bool
	// Interval is how long Run waits between two cycles, beside up to a tenth of jitter; at least
	// MinInterval. 0: DefaultInterval.
	Interval time.Duration
	// Clock is the wall clock; nil: time.Now. It is not believed below Built.
	Clock func() time.Time
	// Built is when the image was built that holds this agent; zero: unknown.
	Built time.Time
	// BootID names the current boot; empty: Linux's /proc/sys/kernel/random/boot_id.
	BootID string
	// Log gets what happened, once. nil: nothing is logged.
	Log *slog.Logger
}

// Component is one updatable part of the device.
type Component struct {
	// Product is the product whose releases the component takes.
	Product string
	// Installer writes and activates images.
	Installer Installer
	// Counter is that of the image in which this agent was built, for the component that holds the
	// agent; for others, of what left the factory. It counts as confirmed where the record is
	// missing, so wiping the agent's directory opens no way back.
	Counter int64
}

// Confirmation says who decides that a trial went well.
type Confirmation int

const (
	// ConfirmAuto confirms as soon as the agent runs in the new image, or, where no reboot is needed, after
	// activation.
	ConfirmAuto Confirmation = iota
	// ConfirmManual confirms on Confirm only.
	ConfirmManual
)

// Transport is how the agent reaches its server. Implementations authenticate the server as far as
// they can; the agent trusts none of the bytes.
type Transport interface {
	trust.Fetcher
	// Download opens a target from offset on. The caller closes it.
	Download(ctx context.Context, path string, sha256 [32]byte, offset int64) (io.ReadCloser, error)
}

// Installer puts images where they run (DESIGN 5.3); install.File and install.Slot are two. Every
// method MUST be idempotent, since a power cut repeats it, and its effect MUST be durable when it
// returns nil.
type Installer interface {
	// Name is what a release states as its installer, "file" or "slot".
	Name() string
	// Install writes the image beside what runs. What runs MUST stay untouched and bootable.
	Install(ctx context.Context, image install.Image) error
	// Activate verifies what Install wrote, read back, and makes it what runs now or after the next
	// boot, on trial.
	Activate(ctx context.Context, image install.Image) error
	// Confirm ends the trial of what runs: it stays.
	Confirm(ctx context.Context) error
	// Revert ends a trial the other way: what ran before runs now or after the next boot, and what
	// was tried does not boot again.
	Revert(ctx context.Context) error
	// Running says what runs and what the next boot takes.
	Running(ctx context.Context) (install.Running, error)
}

// Fallbacker is an Installer that keeps the image before, which could still boot. The agent has it
// made unbootable when it is below the floor or stopped.
type Fallbacker interface {
	// Fallback returns the hash of the image that is kept, and whether it can boot.
	Fallback(ctx context.Context) (sha256 [32]byte, bootable bool, err error)
	// MarkUnbootable sees that the image with this hash never boots. It MUST refuse what runs.
	MarkUnbootable(ctx context.Context, sha256 [32]byte) error
}

// Bounds of Config.Interval. MinInterval keeps a resident agent below two wake-ups a minute.
const (
	DefaultInterval = time.Hour
	MinInterval     = 30 * time.Second
)

// check returns what is wrong with the configuration, reason config.
func (c *Config) check() error {
	bad := func(format string, args ...any) error { return reason.Errorf(reason.Config, format, args...) }
	if c.Dir == "" {
		return bad("no directory for the agent's state")
	}
	if len(c.Root) == 0 {
		return bad("no image root")
	}
	for _, id := range []struct{ kind, id string }{
		{"deployment", c.Deployment}, {"device", c.Device}, {"hardware", c.Hardware},
	} {
		if err := metadata.CheckID(id.kind, id.id); err != nil {
			return bad("%w", err)
		}
	}
	if len(c.Components) != 1 {
		return bad("%d components, want exactly one", len(c.Components))
	}
	for id, comp := range c.Components {
		if err := metadata.CheckID("component", id); err != nil {
			return bad("%w", err)
		}
		if err := metadata.CheckID("product", comp.Product); err != nil {
			return bad("component %q: %w", id, err)
		}
		if comp.Installer == nil {
			return bad("component %q has no installer", id)
		}
		if comp.Counter < 0 {
			return bad("component %q: counter %d is negative", id, comp.Counter)
		}
	}
	if c.Interval != 0 && c.Interval < MinInterval {
		return bad("interval %s, at least %s", c.Interval, MinInterval)
	}
	return nil
}

// component returns the one component and its id.
func (c *Config) component() (string, Component) {
	id := slices.Collect(maps.Keys(c.Components))[0]
	return id, c.Components[id]
}

// now is the wall clock, not below what is known to have passed (DESIGN 1.6).
func (c *Config) now(floor int64) time.Time {
	now := time.Now
	if c.Clock != nil {
		now = c.Clock
	}
	t := now()
	if t.Before(c.Built) {
		t = c.Built
	}
	if f := time.Unix(floor, 0); t.Before(f) {
		t = f
	}
	return t.UTC()
}

// bootID returns a word that is another one after each boot.
func (c *Config) bootID() (string, error) {
	if c.BootID != "" {
		return c.BootID, nil
	}
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", reason.Errorf(reason.Config, "boot id: %w", err).
			WithHint("set Config.BootID on systems without it")
	}
	return strings.TrimSpace(string(data)), nil
}
