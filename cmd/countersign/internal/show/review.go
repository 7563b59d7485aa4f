package show

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/countersign-ota/countersign/cmd/internal/cli"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/signer/event"
)

// Context is what a review is shown with.
type Context struct {
	// Now is this machine's clock.
	Now time.Time
	// Root is the version of the image root from which the base was verified; 0 when there is none.
	Root int64
	// Seen returns the highest version of a role that this machine has seen.
	Seen func(r metadata.Repository, role string) int64
	// Artifacts are the files at hand that were compared.
	Artifacts []event.Artifact
}

// gap stands between facts of one line.
const gap = "   "

// writer collects lines that begin with a word of eight letters.
type writer struct{ b strings.Builder }

// line writes one line. What others wrote passes cli.Safe here once more, so that no field can be
// forgotten: it cannot begin a line, move the cursor or hide a letter.
func (w *writer) line(word, format string, args ...any) {
	fmt.Fprintf(&w.b, "%-8s %s\n", word, cli.Safe(fmt.Sprintf(format, args...)))
}

// Review returns the text that a person reads before signing, without a newline at its end. Nothing
// is cut off.
func Review(r *event.Review, c Context) string {
	w := &writer{}
	fmt.Fprintf(&w.b, "%s\n", cli.Safe(heading(r, c)))
	w.line("event", "%s", r.Event)
	if r.Reason != "" {
		w.line("reason", "%s", cli.Quote(r.Reason))
	}
	if len(r.Files) > 1 {
		for _, f := range inOrder(r.Files, func(f event.FileReview) (metadata.Repository, string) { return f.Repository, f.Role }) {
			w.file(&f, c)
		}
	}
	for i := range r.Added {
		w.target("added", &r.Added[i], c)
	}
	for i := range r.Removed {
		w.target("removed", &r.Removed[i], c)
	}
	for i := range r.Stops {
		w.stop(&r.Stops[i])
	}
	w.roles(r.Roles)
	follows := safeAll(r.Consequences)
	switch {
	case len(r.Added) > 0 && len(r.Removed) == 0 && r.Kind == event.Release:
		w.line("removed", "nothing"+gap+"devices: %s", strings.Join(follows, "; "))
	case len(follows) > 0:
		w.line("follows", "%s", strings.Join(follows, "; "))
	}
	for _, text := range r.Warnings {
		w.line("warning", "%s", cli.Safe(text))
	}
	w.quorum(r, c)
	return strings.TrimRight(w.b.String(), "\n")
}

// heading is the first line. A single file stands in it, several stand below.
func heading(r *event.Review, c Context) string {
	what := fmt.Sprintf("%s %s in %s", r.Kind, cli.Safe(r.Subject), r.Deployment)
	if r.Subject == r.Deployment {
		what = r.Kind + " of " + r.Deployment
	}
	if len(r.Files) == 1 {
		f := &r.Files[0]
		return what + gap + "role " + versions(f, c) + gap + expires(f, c.Now)
	}
	if c.Root > 0 {
		what += fmt.Sprintf("%sverified from image root %d", gap, c.Root)
	}
	return what + gap + "this machine's clock: " + c.Now.UTC().Format("2006-01-02 15:04 UTC")
}

// versions says "gw-100 version 30 → 31 (30: newest seen here, verified from image root 4)".
func versions(f *event.FileReview, c Context) string {
	if f.OldVersion == 0 {
		return fmt.Sprintf("%s version %d (new)", fileName(f.Repository, f.Role), f.Version)
	}
	text := fmt.Sprintf("%s version %d → %d", fileName(f.Repository, f.Role), f.OldVersion, f.Version)
	var notes []string
	if c.Seen != nil && c.Seen(f.Repository, f.Role) == f.OldVersion {
		notes = append(notes, "newest seen here")
	}
	if c.Root > 0 {
		notes = append(notes, fmt.Sprintf("verified from image root %d", c.Root))
	}
	if len(notes) == 0 {
		return text
	}
	return fmt.Sprintf("%s (%d: %s)", text, f.OldVersion, strings.Join(notes, ", "))
}

// expires says "expires 2027-09-02 (in 281 d) → 2027-11-25 (in 365 d)".
func expires(f *event.FileReview, now time.Time) string {
	if f.OldVersion == 0 {
		return "expires " + dayIn(f.Expires, now)
	}
	return fmt.Sprintf("expires %s → %s", dayIn(f.OldExpires, now), dayIn(f.Expires, now))
}

func dayIn(at, now time.Time) string {
	days := int(at.Sub(now).Hours() / 24)
	text := fmt.Sprintf("in %d d", days)
	if at.Before(now) {
		text = fmt.Sprintf("%d d ago", -days)
	}
	return at.UTC().Format(time.DateOnly) + " (" + text + ")"
}

func (w *writer) file(f *event.FileReview, c Context) {
	c.Root = 0 // it stands in the heading
	w.line("file", "%s%s%s", versions(f, c), gap, expires(f, c.Now))
	if f.Role == metadata.Root {
		w.line("", "fingerprint %s, to be read to the others", f.SHA256)
	}
}

// fileName names a role: top-level ones with their repository.
func fileName(r metadata.Repository, role string) string {
	if role == metadata.Root || role == metadata.Targets || role == metadata.Snapshot || role == metadata.Timestamp {
		return string(r) + " " + role
	}
	return role
}

// Rank orders roles as people speak of them: image root, director root, targets, then the others.
func Rank(r metadata.Repository, role string) int {
	switch {
	case role == metadata.Root && r == metadata.Image:
		return 0
	case role == metadata.Root:
		return 1
	case role == metadata.Targets:
		return 2
	case role == metadata.Snapshot:
		return 4
	case role == metadata.Timestamp:
		return 5
	}
	return 3
}

// inOrder returns a copy of the list ordered by Rank; what ranks alike keeps its order.
func inOrder[T any](list []T, role func(T) (metadata.Repository, string)) []T {
	sorted := slices.Clone(list)
	slices.SortStableFunc(sorted, func(a, b T) int { return Rank(role(a)) - Rank(role(b)) })
	return sorted
}

// quorum writes who signed and who still can, files that stand alike on one line.
func (w *writer) quorum(r *event.Review, c Context) {
	var g groups
	byFile := func(q event.QuorumReview) (metadata.Repository, string) {
		return r.Files[q.File].Repository, r.Files[q.File].Role
	}
	for _, q := range inOrder(r.Quorum, byFile) {
		f := &r.Files[q.File]
		name := fileName(f.Repository, f.Role)
		for _, other := range r.Quorum {
			if other.File == q.File && other.By != q.By {
				name += " by " + cli.Safe(q.By)
				break
			}
		}
		g.add("quorum", classes(&q, c.Now), name)
	}
	for _, text := range g.order {
		if len(r.Quorum) == 1 {
			w.line(text.word, "%s", text.text)
			continue
		}
		w.line(text.word, "%s: %s", strings.Join(g.names[text], ", "), text.text)
	}
}

// groups gathers names of which the same is said.
type groups struct {
	order []said
	names map[said][]string
}

type said struct{ word, text string }

func (g *groups) add(word, text, name string) {
	if g.names == nil {
		g.names = map[said][]string{}
	}
	s := said{word, text}
	if g.names[s] == nil {
		g.order = append(g.order, s)
	}
	g.names[s] = append(g.names[s], name)
}

// classes says `engineering 1/1 rivera 09:14 "authored: build 8812"    quality 0/1: chen, okafor can`.
func classes(q *event.QuorumReview, now time.Time) string {
	var parts []string
	for _, class := range q.Classes {
		text := fmt.Sprintf("%s %d/%d", class.Class, len(class.Signed), class.Need)
		for i, s := range class.Signed {
			if i > 0 {
				text += ","
			}
			text += fmt.Sprintf(" %s %s %s", called(s.ID, s.Name), clock(s.At, now), cli.Quote(meant(class.Meaning, s.Reason)))
		}
		if len(class.Signed) < class.Need {
			text += ": " + Nobody(class.Can) + " can"
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, "    ")
}

// called is the id, and between quotes the printed name where it says more.
func called(id, name string) string {
	if name == "" || name == id {
		return id
	}
	return id + " (" + cli.Quote(name) + ")"
}

// meant is what a signature means, and why it was given.
func meant(meaning, why string) string {
	switch {
	case meaning == "":
		return why
	case why == "":
		return meaning
	}
	return meaning + ": " + why
}

// clock is the time of day for today, else the day too.
func clock(at, now time.Time) string {
	at, now = at.UTC(), now.UTC()
	if at.Format(time.DateOnly) == now.Format(time.DateOnly) {
		return at.Format("15:04")
	}
	return at.Format("2006-01-02 15:04")
}

func safeAll(texts []string) []string {
	safe := make([]string, len(texts))
	for i, t := range texts {
		safe[i] = cli.Safe(t)
	}
	return safe
}
