package show

import (
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/countersign-ota/countersign/cmd/internal/cli"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/signer/event"
)

// target writes one target: counters, floor and where it runs; conditions and evidence; its bytes.
func (w *writer) target(word string, t *event.TargetReview, c Context) {
	facts := []string{t.Path}
	if word == "added" {
		facts = append(facts, fmt.Sprintf("counter %d → %d", t.OldCounter, t.Counter), fmt.Sprintf("floor %d → %d", t.OldFloor, t.Floor))
	} else {
		facts = append(facts, fmt.Sprintf("counter %d", t.Counter), fmt.Sprintf("floor %d", t.Floor))
	}
	facts = append(facts, "component "+t.Component, "installer "+plain(t.Installer))
	if word == "added" {
		facts = append(facts, spread(t))
	}
	w.line(word, "%s", strings.Join(facts, gap))
	if len(t.InstallerArgs) > 0 {
		args, err := json.Marshal(t.InstallerArgs) // maps are written in the order of their keys
		if err == nil {
			w.line("", "installer args %s", cli.Safe(string(args)))
		}
	}
	w.line("", "%s", strings.Join(terms(t), "    "))
	bytes := fmt.Sprintf("sha256 %s%s%s", t.SHA256, gap, cli.Bytes(t.Length))
	w.line("", "%s", bytes+atHand(t, c.Artifacts))
}

// stop writes one entry that comes into a stop list or leaves it.
func (w *writer) stop(s *event.StopReview) {
	word, where := "stopped", s.Target
	switch {
	case s.Leaves:
		word, where = "ends", "withdrawn long ago"
	case s.Target == event.StopListed:
		where = "component " + s.Component + gap + "hardware " + strings.Join(s.Hardware, ", ")
	case s.Target == event.StopWithdrawn:
		where = "withdrawn earlier"
	case s.Target == event.StopUnseen:
		where = "NOT IN THE BASE"
	}
	w.line(word, "%s%scounter %d%s%s", cli.Safe(s.Path), gap, s.Counter, gap, where)
	w.line("", "sha256 %s%sreason %s, %s", s.SHA256, gap, cli.Quote(s.Reason), s.At.UTC().Format("2006-01-02 15:04 UTC"))
}

// spread says "spread 72 h → 24 h (shorter)".
func spread(t *event.TargetReview) string {
	switch {
	case t.OldSpreadHours < 0:
		return fmt.Sprintf("spread %d h", t.SpreadHours)
	case t.SpreadHours < t.OldSpreadHours:
		return fmt.Sprintf("spread %d h → %d h (shorter)", t.OldSpreadHours, t.SpreadHours)
	case t.SpreadHours > t.OldSpreadHours:
		return fmt.Sprintf("spread %d h → %d h (longer)", t.OldSpreadHours, t.SpreadHours)
	}
	return fmt.Sprintf("spread %d h → %d h", t.OldSpreadHours, t.SpreadHours)
}

// terms are hardware, requirements, conditions, class and evidence.
func terms(t *event.TargetReview) []string {
	terms := []string{"hardware " + strings.Join(t.Hardware, ", ")}
	for _, r := range t.Requires {
		terms = append(terms, fmt.Sprintf("requires %s counter %d", r.Product, r.MinCounter))
	}
	if text := conditions(t.Conditions); text != "" {
		terms = append(terms, text)
	}
	if t.Class != "" {
		terms = append(terms, "class "+t.Class)
	}
	if len(t.Fixes) > 0 {
		fixes := make([]string, len(t.Fixes))
		for i, f := range t.Fixes {
			fixes[i] = plain(f)
		}
		terms = append(terms, "fixes "+strings.Join(fixes, ", "))
	}
	for _, kind := range slices.Sorted(maps.Keys(t.Evidence)) {
		terms = append(terms, kind+" "+plain(path.Base(t.Evidence[kind].Path)))
	}
	return terms
}

// conditions says "battery ≥ 40 %, idle, downtime 180 s".
func conditions(c *metadata.Conditions) string {
	if c == nil {
		return ""
	}
	var words []string
	if c.BatteryPercentMin > 0 {
		words = append(words, fmt.Sprintf("battery ≥ %d %%", c.BatteryPercentMin))
	}
	if c.Idle {
		words = append(words, "idle")
	}
	if c.DowntimeSeconds > 0 {
		words = append(words, fmt.Sprintf("downtime %d s", c.DowntimeSeconds))
	}
	return strings.Join(words, ", ")
}

// atHand says "   gw.img here: same bytes" of a file that was compared.
func atHand(t *event.TargetReview, artifacts []event.Artifact) string {
	for _, a := range artifacts {
		if a.Blob.Path != t.Path {
			continue
		}
		name := plain(path.Base(a.File))
		if a.Same {
			return gap + name + " here: same bytes"
		}
		return gap + name + " here: OTHER BYTES"
	}
	return ""
}

// plain returns outside text that is commonly one word, between quotes where it is not: it cannot pass
// for the facts beside it.
func plain(s string) string {
	const word = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+-/:@"
	if s != "" && strings.Trim(s, word) == "" {
		return s
	}
	return cli.Quote(s)
}

// Release summarises a release: "gw-100/2.4.1, counter 17, floor 12, spread 24 h, 1 file, SBOM; needs
// engineering 1, quality 1".
func Release(r *event.Review) string {
	facts := []string{r.Subject}
	if len(r.Added) > 0 {
		facts = append(facts, fmt.Sprintf("counter %d", r.Added[0].Counter))
	}
	facts = append(facts,
		"floor "+distinct(r.Added, func(t *event.TargetReview) string { return fmt.Sprint(t.Floor) }),
		"spread "+distinct(r.Added, func(t *event.TargetReview) string { return fmt.Sprint(t.SpreadHours) })+" h")
	files := "1 file"
	if n := len(r.Added); n != 1 {
		files = fmt.Sprintf("%d files", n)
	}
	facts = append(facts, files)
	if slices.ContainsFunc(r.Added, func(t event.TargetReview) bool { return t.Evidence["sbom"].Path != "" }) {
		facts = append(facts, "SBOM")
	}
	var needs []string
	for _, class := range r.Quorum[0].Classes {
		needs = append(needs, fmt.Sprintf("%s %d", class.Class, class.Need))
	}
	return cli.Safe(strings.Join(facts, ", ") + "; needs " + strings.Join(needs, ", "))
}

// distinct joins the different values of the targets, in their order.
func distinct(targets []event.TargetReview, of func(*event.TargetReview) string) string {
	var values []string
	for i := range targets {
		if v := of(&targets[i]); !slices.Contains(values, v) {
			values = append(values, v)
		}
	}
	return strings.Join(values, "/")
}
