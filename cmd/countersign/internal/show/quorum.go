// Package show turns judgements and reviews of signing events into the words that people read before
// they sign (docs/commands.md 3). It decides nothing: what it shows was computed by signer/event from
// verified bytes. All outside text passes cli.Safe.
package show

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/countersign-ota/countersign/cmd/internal/cli"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/signer/event"
)

// Tallies says how far the quorum of a file is: "engineering 1/1, quality 0/1". A root that must
// satisfy two delegations lists both unless they stand alike.
func Tallies(f *event.FileJudgement) string {
	var texts []string
	for i := range f.Signers {
		s := &f.Signers[i]
		text := tally(&s.Tally)
		if len(f.Signers) > 1 {
			text = s.By + ": " + text
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, "; ")
}

func tally(t *metadata.Tally) string {
	var words []string
	for _, c := range t.Classes {
		words = append(words, fmt.Sprintf("%s %d/%d", c.Class, len(c.Signed), c.Need))
	}
	return strings.Join(words, ", ")
}

// Quorum says how far an event is: the tallies of its only file, or in how many files the quorum is
// complete.
func Quorum(j *event.Judgement) string {
	if len(j.Files) == 1 {
		return Tallies(&j.Files[0])
	}
	return InFiles(j)
}

// InFiles says "quorum complete in 1 of 3 files".
func InFiles(j *event.Judgement) string {
	complete := 0
	for i := range j.Files {
		if j.Files[i].Complete() {
			complete++
		}
	}
	return fmt.Sprintf("quorum complete in %d of %d files", complete, len(j.Files))
}

// SignedBy returns the ids of the people whose signatures count, in the order in which they approved.
func SignedBy(j *event.Judgement) []string {
	first := map[string]time.Time{}
	for _, q := range j.Review().Quorum {
		for _, c := range q.Classes {
			for _, s := range c.Signed {
				if at, ok := first[s.ID]; !ok || s.At.Before(at) {
					first[s.ID] = s.At
				}
			}
		}
	}
	ids := slices.Sorted(maps.Keys(first))
	slices.SortStableFunc(ids, func(a, b string) int { return first[a].Compare(first[b]) })
	return ids
}

// Can returns the ids of the people who still can bring the quorum on, sorted.
func Can(j *event.Judgement) []string {
	ids := []string{}
	for i := range j.Files {
		for _, s := range j.Files[i].Signers {
			for _, c := range s.Tally.Classes {
				if len(c.Signed) >= c.Need {
					continue
				}
				for _, p := range c.Can {
					ids = append(ids, p.ID)
				}
			}
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// Need says who must sign a role: "2 of rivera, chen, okafor" where there is one class, else
// "engineering 1 of rivera and quality 1 of chen, okafor". People have the order of first, others
// follow by id.
func Need(d *metadata.Delegation, first []string) string {
	q := d.Quorum
	rank := func(p string) int {
		if i := slices.Index(first, p); i >= 0 {
			return i
		}
		return len(first)
	}
	var parts []string
	for _, class := range slices.Sorted(maps.Keys(q.Require)) {
		var people []string
		for _, p := range q.People {
			if p.Class == class {
				people = append(people, p.ID)
			}
		}
		slices.SortStableFunc(people, func(a, b string) int { return rank(a) - rank(b) })
		text := fmt.Sprintf("%d of %s", q.Require[class], strings.Join(people, ", "))
		if len(q.Require) > 1 {
			text = class + " " + text
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, " and ")
}

// Classes says "engineering 1 + quality 1".
func Classes(require map[string]int) string {
	var words []string
	for _, class := range slices.Sorted(maps.Keys(require)) {
		words = append(words, fmt.Sprintf("%s %d", class, require[class]))
	}
	return strings.Join(words, " + ")
}

// Or joins names for a sentence: "chen or okafor"; "nobody" when there are none.
func Or(names []string) string { return enumerate(names, "or") }

// And joins names for a sentence: "okafor and rivera".
func And(names []string) string { return enumerate(names, "and") }

func enumerate(names []string, word string) string {
	switch len(names) {
	case 0:
		return "nobody"
	case 1:
		return cli.Safe(names[0])
	}
	last := len(names) - 1
	return cli.Safe(strings.Join(names[:last], ", ")) + " " + word + " " + cli.Safe(names[last])
}

// Nobody joins names with commas; "nobody" when there are none.
func Nobody(names []string) string {
	if len(names) == 0 {
		return "nobody"
	}
	return cli.Safe(strings.Join(names, ", "))
}
