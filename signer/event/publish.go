package event

import (
	"fmt"
	"slices"
	"strings"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// Publishable returns nil when every file has its quorum, else quorum-open, naming who still can sign.
func (j *Judgement) Publishable() error {
	if j.Complete {
		return nil
	}
	var open, people []string
	for i := range j.Files {
		f := &j.Files[i]
		for _, s := range f.Signers {
			if s.Tally.Complete {
				continue
			}
			var classes []string
			for _, c := range s.Tally.Classes {
				classes = append(classes, fmt.Sprintf("%s %d/%d", c.Class, len(c.Signed), c.Need))
				if len(c.Signed) < c.Need {
					for _, p := range c.Can {
						people = append(people, p.ID)
					}
				}
			}
			text := strings.Join(classes, ", ")
			if len(j.Files) > 1 {
				text = fmt.Sprintf("%s %s by %s: %s", f.Repository, f.Role, s.By, text)
			}
			open = append(open, text)
		}
	}
	slices.Sort(people)
	people = slices.Compact(people)
	return reason.Errorf(reason.QuorumOpen, "%.12s not published: %s", j.id, strings.Join(open, "; ")).
		WithHint("%s: countersign sign %.4s", enumerate(people, "or"), j.id)
}

// PublishedFile returns file i as it is published: with all signatures that count, which satisfy every
// delegation. It fails with quorum-open before that.
func (j *Judgement) PublishedFile(i int) ([]byte, error) {
	f := j.trial.files[i]
	if !j.Files[i].Complete() {
		return nil, reason.Errorf(reason.QuorumOpen, "%s has no quorum yet", f)
	}
	// The tally counted signatures one by one; what is published is verified as every reader will.
	for _, s := range f.signers {
		if err := s.Delegation.Verify(f.signed, j.tally.of(i)); err != nil {
			return nil, reason.Wrap(err, "%s by %s", f, s.By)
		}
	}
	name := metadata.Targets
	if f.root != nil {
		name = metadata.Root
	}
	return metadata.EncodeRaw(name, f.signed, j.tally.of(i))
}

// Merge joins copies of one event, such as those that people who never meet signed in parallel. The
// result is the union of their base files, signatures and approvals, the same for every order of the
// copies; nothing is verified, Judge says what counts. Copies of different events are refused with
// malformed.
func Merge(copies ...*Event) (*Event, error) {
	if len(copies) == 0 {
		return nil, reason.Errorf(reason.UsageError, "no event to merge")
	}
	merged := &Event{Proposal: copies[0].Proposal}
	for _, c := range copies {
		if got, want := c.ID(), merged.ID(); got != want {
			return nil, reason.Errorf(reason.Malformed, "event %.12s (%s) and event %.12s (%s) are two events", want, merged.Proposal.Subject, got, c.Proposal.Subject)
		}
		merged.Signatures = append(merged.Signatures, c.Signatures...)
		merged.Approvals = append(merged.Approvals, c.Approvals...)
		merged.Base = append(merged.Base, c.Base...)
	}
	merged.normalise()
	return merged, merged.sortBase()
}

// sortBase orders base files by repository, role and version, and drops repetitions. Copies that were
// exported at different moments may hold two versions of a role: the lower one goes.
func (e *Event) sortBase() error {
	versions := make([]int64, len(e.Base))
	for i, b := range e.Base {
		v, err := versionOf(b)
		if err != nil {
			return reason.Wrap(err, "base: %s %s", b.Repository, b.Role)
		}
		versions[i] = v
	}
	index := order(make([]struct{}, len(e.Base)), func(_, _ struct{}) int { return 0 })
	slices.SortFunc(index, func(x, y int) int {
		a, b := e.Base[x], e.Base[y]
		if c := strings.Compare(string(a.Repository), string(b.Repository)); c != 0 {
			return c
		}
		if c := strings.Compare(a.Role, b.Role); c != 0 {
			return c
		}
		if versions[x] != versions[y] {
			return int(max(-1, min(1, versions[x]-versions[y])))
		}
		return strings.Compare(string(a.File), string(b.File))
	})
	var sorted []BaseFile
	for n, i := range index {
		b := e.Base[i]
		if n > 0 {
			last := &sorted[len(sorted)-1]
			if last.Repository == b.Repository && last.Role == b.Role {
				same := versions[index[n-1]] == versions[i]
				if b.Role != metadata.Root || same {
					// Of one version with more or fewer signatures any copy will do: Judge verifies it.
					*last = b
					continue
				}
			}
		}
		sorted = append(sorted, b)
	}
	e.Base = sorted
	return nil
}

func versionOf(b BaseFile) (int64, error) {
	if b.Role == metadata.Root {
		f, err := metadata.ParseRoot(b.File, metadata.Profile)
		if err != nil {
			return 0, err
		}
		return f.Signed.Version, nil
	}
	f, err := metadata.ParseTargets(b.File, metadata.Profile)
	if err != nil {
		return 0, err
	}
	return f.Signed.Version, nil
}
