package docrun

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Matcher compares output with a document's. It remembers which digits stand for which, over all its
// comparisons. The zero value remembers none.
type Matcher struct {
	// AnyNumber lets every number match every other, for transcripts of a deployment that has lived
	// longer than a test can.
	AnyNumber bool

	known []pair
}

// pair is an id of the document and the real one.
type pair struct{ document, real string }

// Lines compares lines of the document with those of the output and returns an error that shows both.
func (m *Matcher) Lines(document, output []string) error {
	want, got := kept(document), kept(output)
	known, rest := slices.Clone(m.known), got
	skip := false
	for _, line := range want {
		if line == "…" {
			skip = true
			continue
		}
		found := 0
		for found < len(rest) && !m.line(line, rest[found], &known) {
			if !skip {
				break
			}
			found++
		}
		if found == len(rest) || !skip && !m.line(line, rest[found], &known) {
			return differ(line, rest, got)
		}
		rest, skip = rest[found+1:], false
	}
	if len(rest) > 0 && !skip {
		return differ("(nothing more)", rest, got)
	}
	m.known = known
	return nil
}

func differ(want string, rest, all []string) error {
	next := "(nothing more)"
	if len(rest) > 0 {
		next = rest[0]
	}
	return fmt.Errorf("the document says  %s\nthe program says   %s\nall of it:\n%s", want, next, strings.Join(all, "\n"))
}

// kept returns lines without the empty ones and without space at their ends.
func kept(lines []string) []string {
	var some []string
	for _, l := range lines {
		if l = strings.TrimSpace(l); l != "" {
			some = append(some, l)
		}
	}
	return some
}

// What matches by kind, in the order in which it is looked for.
var kinds = regexp.MustCompile(`(?P<any>…)` +
	`|(?P<date>\b[0-9]{4}-[0-9]{2}-[0-9]{2}\b)` +
	`|(?P<time>\b[0-9]{2}:[0-9]{2}(?::[0-9]{2})?\b)` +
	`|(?P<in>\bin [0-9]+ (?:d|h|min|s)\b)` +
	`|(?P<ago>\b[0-9]+ (?:d|h|min|s) ago\b)` +
	`|(?P<long>\b[0-9]{8,}\b)` +
	`|(?P<hex>\b[0-9a-f]{8,64}\b)` +
	`|(?P<number>[0-9]+(?:,[0-9]{3})*)` +
	`|(?P<space> +)`)

// line compares one line and adds what it learned to known.
func (m *Matcher) line(document, output string, known *[]pair) bool {
	document = strings.TrimSpace(document)
	secret := false
	if p, ok := promptOf(document); ok && p.secret {
		document, secret = strings.TrimSpace(p.text), true
	}
	expr, ids := m.pattern(document)
	if secret {
		expr += ".*" // some programs show a star for each letter
	}
	found := regexp.MustCompile("^(?s:" + expr + ")$").FindStringSubmatch(output)
	if found == nil {
		return false
	}
	learned := slices.Clone(*known)
	for i, id := range ids {
		var ok bool
		if learned, ok = learn(learned, id, found[i+1]); !ok {
			return false
		}
	}
	*known = learned
	return true
}

// pattern returns a line of the document as a regular expression, with the ids that its groups stand for.
func (m *Matcher) pattern(document string) (expr string, ids []string) {
	var b strings.Builder
	last := 0
	for _, at := range kinds.FindAllStringSubmatchIndex(document, -1) {
		b.WriteString(regexp.QuoteMeta(document[last:at[0]]))
		last = at[1]
		text := document[at[0]:at[1]]
		switch kind(at) {
		case "any":
			b.WriteString(".*?")
		case "date":
			b.WriteString("[0-9]{4}-[0-9]{2}-[0-9]{2}")
		case "time":
			b.WriteString("[0-9]{2}:[0-9]{2}(?::[0-9]{2})?")
		case "in":
			b.WriteString("in [0-9]+ (?:d|h|min|s)")
		case "ago":
			b.WriteString("[0-9]+ (?:d|h|min|s) ago")
		case "long":
			b.WriteString("[0-9]{8,}")
		case "hex":
			ids = append(ids, text)
			fmt.Fprintf(&b, "([0-9a-f]{%d})", len(text))
		case "number":
			if !m.AnyNumber {
				b.WriteString(text)
				break
			}
			b.WriteString("[0-9]+(?:,[0-9]{3})*")
		case "space":
			b.WriteString(" +")
		}
	}
	b.WriteString(regexp.QuoteMeta(document[last:]))
	return b.String(), ids
}

func kind(at []int) string {
	for i, name := range kinds.SubexpNames() {
		if i > 0 && at[2*i] >= 0 {
			return name
		}
	}
	return ""
}

// learn takes a pair into known, unless it contradicts one.
func learn(known []pair, document, real string) ([]pair, bool) {
	for i, p := range known {
		sameDocument, sameReal := agree(p.document, document), agree(p.real, real)
		if sameDocument != sameReal {
			return known, false
		}
		if !sameDocument {
			continue
		}
		if len(document) > len(p.document) {
			known = slices.Clone(known)
			known[i] = pair{document, real}
		}
		return known, true
	}
	return append(known, pair{document, real}), true
}

// agree reports whether one of two ids is a beginning of the other.
func agree(a, b string) bool { return strings.HasPrefix(a, b) || strings.HasPrefix(b, a) }

var idInCommand = regexp.MustCompile(`\b[0-9a-f]{4,64}\b`)

// Real puts the real ids into a command of the document, as many digits as are known.
func (m *Matcher) Real(command string) string {
	return idInCommand.ReplaceAllStringFunc(command, func(word string) string {
		for _, p := range m.known {
			if strings.HasPrefix(p.document, word) {
				return p.real
			}
		}
		return word
	})
}
