package show

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/countersign-ota/countersign/cmd/internal/cli"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/signer/rehearse"
)

// Rehearsal returns the text of a report, without a newline at its end: what happens to devices, who
// must sign, what each role can lose, and then what to know, the worst last, where the eye is.
func Rehearsal(r *rehearse.Report, now time.Time) string {
	w := &writer{}
	what := "what is in force of " + cli.Safe(r.Deployment)
	if r.Kind != "" {
		what = fmt.Sprintf("%s %s in %s", r.Kind, cli.Safe(r.Subject), cli.Safe(r.Deployment))
		if r.Subject == r.Deployment || r.Subject == "" {
			what = r.Kind + " of " + cli.Safe(r.Deployment)
		}
	}
	if len(r.Lost) > 0 {
		what += gap + "lost: " + Nobody(r.Lost)
	}
	fmt.Fprintf(&w.b, "rehearsal of %s%sthis machine's clock: %s\n", what, gap, now.UTC().Format("2006-01-02 15:04 UTC"))
	for _, c := range r.Chains {
		w.line("devices", "%s", chain(&c))
	}
	w.needs(r)
	w.firstExpiry(r)
	w.lossTable(r)
	for _, severity := range []string{rehearse.Warning, rehearse.Stuck} {
		for _, f := range r.Findings {
			if f.Severity == severity {
				w.finding(&f)
			}
		}
	}
	w.line("result", "%s", result(r))
	return strings.TrimRight(w.b.String(), "\n")
}

// chain says "image root 1 to 4 reach 5, in 1 to 4 steps".
func chain(c *rehearse.Chain) string {
	if c.InForce == 0 {
		return fmt.Sprintf("%s root %d is the first: it goes into every device that is made", c.Repository, c.Newest)
	}
	var parts []string
	for i := 0; i < len(c.From); {
		k := i
		for k+1 < len(c.From) && c.From[k+1].Reaches == c.From[i].Reaches && c.From[k+1].Until == c.From[i].Until && c.From[k+1].Cycles == c.From[i].Cycles {
			k++
		}
		parts = append(parts, reach(c, &c.From[i], &c.From[k]))
		i = k + 1
	}
	return string(c.Repository) + " " + strings.Join(parts, "; ")
}

// reach speaks of the devices of a run of root versions that fare alike; last is the newest of them.
func reach(c *rehearse.Chain, first, last *rehearse.Reach) string {
	from, verb := fmt.Sprintf("root %d", first.Version), "reaches"
	if first != last {
		from, verb = fmt.Sprintf("root %d to %d", first.Version, last.Version), "reach"
	}
	switch {
	case !first.Reaches:
		return fmt.Sprintf("%s: STUCK at root %d, %s", from, first.Until, cli.Safe(first.Why))
	case first.Steps == 0:
		return from + " is the newest"
	}
	steps := count(int(last.Steps), "step")
	if first != last {
		steps = fmt.Sprintf("%d to %s", last.Steps, count(int(first.Steps), "step"))
	}
	if first.Cycles > 1 {
		steps += fmt.Sprintf(", %d cycles", first.Cycles)
	}
	return fmt.Sprintf("%s %s %d in %s", from, verb, c.Newest, steps)
}

// needs lists who must sign, files that need the same people together.
func (w *writer) needs(r *rehearse.Report) {
	var order []string
	files := map[string][]string{}
	for _, n := range r.Signatures {
		var classes []string
		for _, c := range n.Classes {
			text := fmt.Sprintf("%s %d of %s", c.Class, c.Need, cli.Safe(strings.Join(slices.Concat(c.Signed, c.Can), ", ")))
			if len(c.Signed)+len(c.Can) == 0 {
				text = fmt.Sprintf("%s %d of nobody", c.Class, c.Need)
			}
			if len(c.Signed) > 0 {
				text += fmt.Sprintf(" (signed: %s)", Nobody(c.Signed))
			}
			if len(c.Lost) > 0 {
				text += fmt.Sprintf(" (lost: %s)", Nobody(c.Lost))
			}
			classes = append(classes, text)
		}
		who := strings.Join(classes, ", ")
		switch {
		case !n.Reachable:
			who += ": TOO FEW"
		case len(n.Blockers) > 0:
			who += "; not without " + And(n.Blockers)
		}
		name := fmt.Sprintf("%s %d", fileName(n.Repository, n.Role), n.Version)
		if n.Role == metadata.Root {
			name += " by " + n.By
		}
		if files[who] == nil {
			order = append(order, who)
		}
		files[who] = append(files[who], name)
	}
	for _, who := range order {
		w.line("signs", "%s%s%s", cli.Safe(strings.Join(files[who], ", ")), gap, who)
	}
}

// firstExpiry names what ends first, and all that ends within 60 days.
func (w *writer) firstExpiry(r *rehearse.Report) {
	const soon = 60
	for i, x := range r.Expiry {
		if i > 0 && x.Days >= soon {
			break
		}
		var who []string
		for _, class := range slices.Sorted(maps.Keys(x.Need)) {
			who = append(who, fmt.Sprintf("%s %d of %s", class, x.Need[class], Nobody(x.Who[class])))
		}
		when := "in " + count(x.Days, "day")
		if x.Days < 0 {
			when = "EXPIRED"
		}
		first := ""
		if i == 0 {
			first = "first "
		}
		w.line("expires", "%s%s %s, %s%s%s must sign it anew", first, cli.Safe(fileName(x.Repository, x.Role)), x.Expires.UTC().Format(time.DateOnly), when, gap, strings.Join(who, ", "))
	}
}

// lossTable is a table of the roles: who can sign, how many one may lose, and without whom nothing goes.
// Roles of the same people stand in one row.
func (w *writer) lossTable(r *rehearse.Report) {
	type row struct{ need, can, lose, block string }
	var order [][]row
	names := map[string][]string{}
	keyOf := func(rows []row) string { return fmt.Sprintf("%q", rows) }
	for _, role := range r.Roles {
		var rows []row
		for _, c := range role.Classes {
			block := "-"
			if c.MayLose == 0 {
				block = Nobody(c.Left)
			}
			lose := fmt.Sprint(c.MayLose)
			if c.MayLose < 0 {
				lose = "STUCK"
			}
			rows = append(rows, row{fmt.Sprintf("%s %d", c.Class, c.Need), Nobody(c.Left), lose, block})
		}
		name := cli.Safe(fileName(role.Repository, role.Role))
		if role.Retired {
			name += " (retired)"
		}
		if names[keyOf(rows)] == nil {
			order = append(order, rows)
		}
		names[keyOf(rows)] = append(names[keyOf(rows)], name)
	}
	table := [][]string{{"role", "needs", "can sign", "may lose", "impossible without"}}
	for _, rows := range order {
		for i, x := range rows {
			name := ""
			if i == 0 {
				name = strings.Join(names[keyOf(rows)], ", ")
			}
			table = append(table, []string{name, x.need, x.can, x.lose, x.block})
		}
	}
	if len(table) > 1 {
		w.columns(table)
	}
}

// columns writes a table with columns as wide as their longest cell.
func (w *writer) columns(table [][]string) {
	width := make([]int, len(table[0]))
	for _, row := range table {
		for i, cell := range row {
			width[i] = max(width[i], len([]rune(cell)))
		}
	}
	for _, row := range table {
		line := ""
		for i, cell := range row {
			line += cell + strings.Repeat(" ", width[i]-len([]rune(cell))+2)
		}
		fmt.Fprintf(&w.b, "%s\n", strings.TrimRight(line, " "))
	}
}

func (w *writer) finding(f *rehearse.Finding) {
	where := ""
	if len(f.Roles) > 0 {
		where = cli.Safe(strings.Join(f.Roles, ", ")) + ": "
	}
	code := f.Code
	if f.Reason != "" {
		code += " [" + string(f.Reason) + "]"
	}
	w.line(f.Severity, "%s%s%s%s", code, gap, where, cli.Safe(f.What))
	w.line("", "%s", cli.Safe(f.Why))
	w.line("", "next: %s", cli.Safe(f.Next))
}

func result(r *rehearse.Report) string {
	stuck := len(r.Stuck())
	warnings := count(len(r.Findings)-stuck, "warning")
	switch {
	case r.Kind == "" && stuck > 0:
		return fmt.Sprintf("STUCK: %s, %s", count(stuck, "way to end"), warnings)
	case r.Kind == "":
		return "nothing would change; " + warnings
	case stuck > 0:
		return fmt.Sprintf("STUCK: %s, %s; do not sign it", count(stuck, "way to end"), warnings)
	case len(r.Findings) > 0:
		return fmt.Sprintf("it can be signed and every device follows; %s", warnings)
	}
	return "it can be signed and every device follows"
}

// count says "1 step", "2 steps"; ways, not ends, are counted.
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	if what == "way to end" {
		return fmt.Sprintf("%d ways to end", n)
	}
	return fmt.Sprintf("%d %ss", n, what)
}
