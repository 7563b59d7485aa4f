package outsider

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/countersign-ota/countersign/cmd/internal/cli"
	"github.com/countersign-ota/countersign/proto/metadata"
)

// gap stands between facts of one line.
const gap = "   "

// text gathers lines that begin with a word of eight letters.
type text struct{ b strings.Builder }

func (w *text) line(word, format string, args ...any) {
	fmt.Fprintf(&w.b, "%-8s %s\n", word, fmt.Sprintf(format, args...))
}

// Text returns the report for people, without a newline at its end. root and repo are how the person
// named them. Nothing is cut off, and all outside text is made safe.
func (r *Report) Text(root, repo string) string {
	w := &text{}
	verdict := "GENUINE"
	if r.Refused != "" {
		verdict = "REFUSED: " + string(r.Refused)
	}
	w.line("verify", "%s in %s%s%s%sby image root %d of %s and what %s holds", cli.Safe(r.Subject), r.Deployment, gap, verdict, gap,
		r.Root.Version, cli.Safe(root), cli.Safe(repo))
	w.line("", "root fingerprint %s", r.Root.SHA256)
	for i := range r.Targets {
		w.target(&r.Targets[i])
	}
	for i := range r.Released {
		w.released(&r.Released[i], r)
	}
	for i := range r.Roles {
		w.role(&r.Roles[i])
	}
	for _, o := range r.Online {
		late := ""
		if o.Expired {
			late = gap + "EXPIRED: newer files, such as a stop, may be missing here"
		}
		w.line("online", "%s %d%sexpires %s%s", o.Role, o.Version, gap, minute(o.Expires), late)
	}
	return strings.TrimRight(w.b.String(), "\n")
}

func (w *text) target(t *Target) {
	w.line("target", "%s%scounter %d%sfloor %d%scomponent %s%sinstaller %s%sclass %s", cli.Safe(t.Path), gap, t.Counter, gap, t.Floor, gap,
		cli.Safe(t.Component), gap, cli.Safe(t.Installer), gap, cli.Safe(t.Class))
	w.line("", "hardware %s", cli.Safe(strings.Join(t.Hardware, ", ")))
	w.line("", "sha256 %s%s%s", t.SHA256, gap, cli.Bytes(t.Length))
	switch b := t.Bytes; {
	case b == nil:
		w.line("", "no bytes were compared: the repository does not give this image")
	case b.File == "" && b.Same:
		w.line("", "the repository's image: same bytes")
	case b.File == "":
		w.line("", "the repository's image: OTHER BYTES, sha256 %s, %s", b.SHA256, cli.Bytes(b.Length))
	case b.Same:
		w.line("", "%s: same bytes", cli.Safe(b.File))
	default:
		w.line("", "%s: OTHER BYTES, sha256 %s, %s", cli.Safe(b.File), b.SHA256, cli.Bytes(b.Length))
	}
	if t.Stop != nil {
		w.line("stopped", "%s %s", minute(t.Stop.At), cli.Quote(t.Stop.Reason))
	}
}

// released writes who released the targets, and that it is not proven where it is not:
//
//	released in gw-100 31   2026-11-26 09:14 UTC   in force by gw-100 35   sha256 …
//	by       chen   quality "approved"   2026-11-26 09:14 UTC "record 8812"
func (w *text) released(r *Released, report *Report) {
	inForce := report.Roles[slices.IndexFunc(report.Roles, func(role Role) bool { return role.Role == r.Role })].Version
	if r.Proven {
		at := ""
		if !r.At.IsZero() {
			at = gap + minute(r.At)
		}
		w.line("released", "in %s %d%s%sin force by %s %d%ssha256 %s", r.Role, r.Version, at, gap, r.Role, inForce, gap, r.SHA256)
	} else {
		w.line("released", "NOT PROVEN%searliest here is %s %d%sin force by %s %d%ssha256 %s", gap, r.Role, r.Version, gap, r.Role, inForce, gap, r.SHA256)
		w.line("", "%s", cli.Safe(r.Why))
	}
	if len(r.Targets) < len(report.Targets) {
		for _, path := range r.Targets {
			w.line("", "lists %s", cli.Safe(path))
		}
	}
	for _, p := range r.People {
		word, said := "by", "no approval kept here"
		if !p.Proven {
			word = "unproven"
		}
		if !p.At.IsZero() {
			said = saidAt(p.At, p.Reason)
		}
		w.line(word, "%s%s%s %s%s%s", who(p.ID, p.Name), gap, cli.Safe(p.Class), cli.Quote(p.Meaning), gap, said)
	}
	if r.Uncounted > 0 {
		w.line("", "uncounted signatures of it: %d, by nobody whom image targets %d name", r.Uncounted, r.ByTargets)
	}
}

// role writes a role file and a line a signer: `signed   chen   quality "approved"   2026-11-26 09:14 UTC "record 8812"`.
func (w *text) role(r *Role) {
	name := r.Role
	if name == metadata.Root || name == metadata.Targets {
		name = "image " + name
	}
	late := ""
	if r.Expired {
		late = gap + "EXPIRED"
	}
	w.line("role", "%s %d%sexpires %s%s%ssha256 %s", name, r.Version, gap, minute(r.Expires), late, gap, r.SHA256)
	for _, s := range r.Signers {
		said := "no approval kept here"
		if a := s.Approval; a != nil {
			said = saidAt(a.At, a.Reason)
			if a.Name != s.Name || a.Class != s.Class || a.Meaning != s.Meaning {
				said += fmt.Sprintf("%sby their own words as %s, %s %s", gap, cli.Quote(a.Name), cli.Safe(a.Class), cli.Quote(a.Meaning))
			}
		}
		w.line("signed", "%s%s%s %s%s%s", who(s.Person, s.Name), gap, s.Class, cli.Quote(s.Meaning), gap, said)
	}
}

// who is a person's id, and the printed name where it says more.
func who(id, name string) string {
	if name == "" || name == id {
		return id
	}
	return id + " (" + cli.Quote(name) + ")"
}

// saidAt is an approval's time and reason.
func saidAt(at time.Time, why string) string {
	if why == "" {
		return minute(at)
	}
	return minute(at) + " " + cli.Quote(why)
}

func minute(at time.Time) string { return at.UTC().Format("2006-01-02 15:04 UTC") }
