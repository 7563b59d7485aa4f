package outsider

import (
	"fmt"
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
		who := s.Person
		if s.Name != "" && s.Name != s.Person {
			who += " (" + cli.Quote(s.Name) + ")"
		}
		said := "no approval kept here"
		if a := s.Approval; a != nil {
			said = minute(a.At)
			if a.Reason != "" {
				said += " " + cli.Quote(a.Reason)
			}
			if a.Name != s.Name || a.Class != s.Class || a.Meaning != s.Meaning {
				said += fmt.Sprintf("%sby their own words as %s, %s %s", gap, cli.Quote(a.Name), cli.Safe(a.Class), cli.Quote(a.Meaning))
			}
		}
		w.line("signed", "%s%s%s %s%s%s", who, gap, s.Class, cli.Quote(s.Meaning), gap, said)
	}
}

func minute(at time.Time) string { return at.UTC().Format("2006-01-02 15:04 UTC") }
