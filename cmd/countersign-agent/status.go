package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/countersign-ota/countersign/agent"
	"github.com/countersign-ota/countersign/cmd/internal/cli"
	"github.com/countersign-ota/countersign/proto/reason"
)

// report is the JSON of status.
type report struct {
	Deployment string `json:"deployment"`
	Device     string `json:"device"`
	Hardware   string `json:"hardware"`
	Product    string `json:"product"`
	// Slot runs; Next is taken by the next boot if it is another. Both only with installer slot, and only
	// where boot control answers.
	Slot string `json:"slot,omitempty"`
	Next string `json:"next_slot,omitempty"`
	*agent.Status
}

func statusCommand() *command {
	return &command{
		name: "status", short: "Say what runs, what is under way and why it waits; needs no lock and no network.",
		example: name + " status --json",
		run:     func(ctx context.Context, p *program, _ []string) error { return p.status(ctx, time.Now()) },
	}
}

func (p *program) status(ctx context.Context, now time.Time) error {
	values, err := p.all()
	if err != nil {
		return err
	}
	if err := given(values, "deployment", "device", "hardware", "component"); err != nil {
		return err
	}
	component, err := parseComponent(values["component"])
	if err != nil {
		return err
	}
	s, err := agent.ReadStatus(values["dir"])
	if err != nil {
		return err
	}
	r := &report{
		Deployment: values["deployment"], Device: values["device"], Hardware: values["hardware"],
		Product: component.product, Status: s,
	}
	// Only root may ask boot control; the rest of the status needs nobody.
	if run, err := component.open(values["dir"]).Installer.Running(ctx); err == nil {
		r.Slot, r.Next = run.Slot, run.Next
	} else if component.installer == "slot" {
		p.out.Warn("boot control does not say which slot runs: %s", cli.Safe(err.Error()))
	}
	return p.out.Result(r, func() { p.out.Line("%s", r.text(now)) })
}

// text is the four lines of docs/commands.md 3.5.
func (r *report) text(now time.Time) string {
	head := len(r.Device)
	for _, c := range r.Components {
		head = max(head, len(c.ID))
	}
	head = max(head, len("guards"))
	var b strings.Builder
	line := func(first, rest string) { fmt.Fprintf(&b, "%-*s  %s\n", head, cli.Safe(first), rest) }
	line(r.Device, r.contact(now))
	for i := range r.Components {
		line(r.Components[i].ID, r.component(&r.Components[i]))
	}
	if next := r.next(); next != "" {
		line("next", next)
	}
	if len(r.Components) > 0 {
		line("guards", r.guards(now))
	}
	return b.String()
}

func (r *report) contact(now time.Time) string {
	text := r.Hardware + " in " + r.Deployment + "; "
	if r.Contact.IsZero() {
		return text + "no contact yet"
	}
	text += "contact " + ago(now.Sub(r.Contact))
	if r.StateLost {
		text += "; its record was lost, counters started from the image's own"
	}
	return text
}

func (r *report) component(c *agent.ComponentStatus) string {
	text := r.Product + " " + orFactory(c.Version) + ", counter " + cli.Grouped(c.Counter)
	if !c.Confirmed.IsZero() {
		text += ", confirmed " + c.Confirmed.Format("2006-01-02 15:04")
	}
	if r.Slot == "" {
		return text
	}
	other := map[string]string{"a": "b", "b": "a"}[r.Slot]
	return text + fmt.Sprintf(", slot %s (slot %s: %s)", r.Slot, other, orFactory(lastOf(c.Previous)))
}

func orFactory(version string) string {
	if version == "" {
		return "as it left the factory"
	}
	return cli.Safe(version)
}

// lastOf returns the version in a target path.
func lastOf(path string) string {
	parts := strings.Split(path, "/")
	if len(parts) != 3 {
		return ""
	}
	return parts[1]
}

// next says what is under way, or why nothing is.
func (r *report) next() string {
	refused := ""
	if f := r.Refusal; f != nil {
		refused = "refused, " + f.Reason
		if reason.Reason(f.Reason).Class() == reason.NotYet {
			refused = "waits, " + f.Reason
		}
		refused += "; again at the next poll"
	}
	if u := r.Update; u != nil && len(u.Members) > 0 {
		m := u.Members[0]
		text := fmt.Sprintf("%s %s, counter %s: %s", r.Product, cli.Safe(m.Version), cli.Grouped(m.Counter), u.State)
		if u.Reboot {
			text += ", waits for a reboot"
		}
		if u.Attempts > 0 {
			text += fmt.Sprintf(", %d of %d attempts failed", u.Attempts, agent.MaxAttempts)
		}
		if refused != "" {
			text += "; " + refused
		}
		return text
	}
	switch f := r.Refusal; {
	case f == nil:
		return ""
	case f.Path == "":
		return refused
	default:
		counter := ""
		if f.Counter > 0 {
			counter = ", counter " + cli.Grouped(f.Counter)
		}
		return fmt.Sprintf("%s %s%s: %s", r.Product, cli.Safe(f.Version), counter, refused)
	}
}

// guards says what binds: floor, stops, versions in force, the first expiry.
func (r *report) guards(now time.Time) string {
	versions := map[string]int64{}
	first := agent.RoleStatus{}
	for _, role := range r.Roles {
		versions[role.Name] = role.Version
		if !role.Expires.IsZero() && (first.Name == "" || role.Expires.Before(first.Expires)) {
			first = role
		}
	}
	stops := "none"
	if n := len(r.Stopped); n > 0 {
		stops = fmt.Sprintf("%d", n)
	}
	text := fmt.Sprintf("floor %s; stops %s", cli.Grouped(r.Components[0].Floor), stops)
	if first.Name == "" {
		return text + "; nothing verified yet"
	}
	text += fmt.Sprintf(" (list %d); image root %d, %s %d", versions["image/"+r.Product+".stop"], versions["image/root"],
		r.Product, versions["image/"+r.Product])
	role := strings.TrimPrefix(first.Name, "image/")
	if left := first.Expires.Sub(now); left > 0 {
		return text + fmt.Sprintf("; first expiry %s in %s", role, span(left))
	}
	return text + fmt.Sprintf("; %s expired %s", role, ago(now.Sub(first.Expires)))
}

// ago words a time that has passed.
func ago(d time.Duration) string {
	if d < time.Minute {
		return "just now"
	}
	return span(d) + " ago"
}

// span rounds for people.
func span(d time.Duration) string {
	switch {
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d d", int(d.Hours()/24))
}
