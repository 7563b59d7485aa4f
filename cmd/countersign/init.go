package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/countersign-ota/countersign/cmd/countersign/internal/show"
	"github.com/countersign-ota/countersign/cmd/internal/cli"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/signer/event"
)

// proposed is the document of commands that write or open an event.
type proposed struct {
	ID         string         `json:"id"`
	Deployment string         `json:"deployment"`
	Kind       string         `json:"kind"`
	Subject    string         `json:"subject"`
	File       string         `json:"file,omitempty"`
	Opened     bool           `json:"opened"`
	Files      []proposedFile `json:"files"`
}

// proposedFile is one role file of a proposal, and who must sign it.
type proposedFile struct {
	Repository  string         `json:"repository"`
	Role        string         `json:"role"`
	Version     int64          `json:"version"`
	Expires     string         `json:"expires"`
	Fingerprint string         `json:"fingerprint"`
	Need        map[string]int `json:"need"`
	People      []string       `json:"people"`
}

func (t *tool) initCommand() *cobra.Command {
	var out string
	c := &cobra.Command{
		Use:     "init PLAN -o FILE",
		Short:   "Write the event that founds a deployment: both roots, image targets, and the products of the plan.",
		Long:    "All holders sign the file or a copy of it, and read both root fingerprints to each other. Then one of them publishes it.",
		Example: "  countersign init plan.yaml -o acme.event",
		RunE:    func(_ *cobra.Command, args []string) error { return t.init(args[0], out) },
	}
	c.Flags().StringVarP(&out, "output", "o", "", "the event `FILE` to write")
	return c
}

func (t *tool) init(path, out string) error {
	if out == "" {
		return cli.Usagef("init wants a file for the event").WithHint("add -o DEPLOYMENT.event")
	}
	if err := eventPath(out); err != nil {
		return err
	}
	plan, err := event.LoadPlan(path)
	if err != nil {
		return err
	}
	d, err := t.choose(plan.Deployment)
	if err != nil {
		return err
	}
	history, err := d.place.History()
	if err != nil {
		return err
	}
	if seen, _ := history.Seen(metadata.Image, metadata.Targets); seen > 0 {
		return reason.Errorf(reason.Exists, "%s is founded: this machine has seen image root %d and targets %d", d.id, history.Pins().Image.Version, seen).
			WithHint("countersign change %s", cli.Safe(path))
	}
	e, err := event.NewInit(plan, t.opening(history))
	if err != nil {
		return err
	}
	s, err := event.StateFromBase(e, event.Pins{})
	if err != nil {
		return err
	}
	j, err := event.Judge(e, s, t.options(nil))
	if err != nil {
		return err
	}
	if err := writeEvent(out, e); err != nil {
		return err
	}
	doc := describe(j, out, false)
	return t.Out.Result(doc, func() {
		t.Out.Line("init of %s, event %s: %s", d.id, short(j.ID()), whoSigns(j, plan))
		for _, f := range sorted(j.Files) {
			if f.Role == metadata.Root {
				t.Out.Line("%s root 1  fingerprint %s", f.Repository, digest(f.Digest))
			}
		}
	})
}

// eventPath refuses a name that would not be taken for a file later, and one that is taken. Where none is
// given, the event is opened on the server.
func eventPath(path string) error {
	if path == "" {
		return nil
	}
	if !isFile(path) {
		return cli.Usagef("an event file ends in .event, or its path holds a /; got %s", cli.Quote(path)).WithHint("-o %s.event", cli.Safe(path))
	}
	return free(path)
}

func writeEvent(path string, e *event.Event) error {
	data, err := e.Bytes()
	if err != nil {
		return err
	}
	return create(path, data, 0o644)
}

// describe returns the document of a proposal.
func describe(j *event.Judgement, file string, opened bool) proposed {
	p := &j.Event.Proposal
	doc := proposed{ID: j.ID(), Deployment: p.Deployment, Kind: p.Kind, Subject: p.Subject, File: file, Opened: opened}
	for i := range j.Files {
		f := &j.Files[i]
		q := f.Signers[len(f.Signers)-1].Delegation.Quorum
		pf := proposedFile{
			Repository: string(f.Repository), Role: f.Role, Version: f.NewVersion, Expires: rfc3339(f.Expires),
			Fingerprint: digest(f.Digest), Need: q.Require,
		}
		for _, person := range q.People {
			pf.People = append(pf.People, person.ID)
		}
		doc.Files = append(doc.Files, pf)
	}
	return doc
}

// whoSigns lists the files of a proposal, those that the same people sign together: "image root 1,
// director root 1, image targets 1; each 2 of rivera, chen, okafor". People have the plan's order.
func whoSigns(j *event.Judgement, plan *event.Plan) string {
	var by, people []string
	for _, rule := range rules(plan) {
		for _, class := range slices.Sorted(maps.Keys(rule.People)) {
			people = append(people, rule.People[class]...)
		}
	}
	files := map[string][]string{}
	for _, f := range sorted(j.Files) {
		who := show.Need(f.Signers[len(f.Signers)-1].Delegation, people)
		if files[who] == nil {
			by = append(by, who)
		}
		files[who] = append(files[who], fmt.Sprintf("%s %d", fileName(&f), f.NewVersion))
	}
	var parts []string
	for _, who := range by {
		each := ""
		if len(files[who]) > 1 {
			each = "each "
		}
		parts = append(parts, strings.Join(files[who], ", ")+"; "+each+who)
	}
	return strings.Join(parts, "; ")
}

// fileName names a file of an event: top-level ones with their repository.
func fileName(f *event.FileJudgement) string {
	if f.Role == metadata.Root || f.Role == metadata.Targets {
		return string(f.Repository) + " " + f.Role
	}
	return f.Role
}

// rules are those of the roots and of each product, in a fixed order.
func rules(p *event.Plan) []event.Rule {
	all := []event.Rule{p.Roots}
	for _, product := range slices.Sorted(maps.Keys(p.Products)) {
		all = append(all, p.Products[product].Rule)
	}
	return all
}

// sorted returns the files of an event as people speak of them.
func sorted(files []event.FileJudgement) []event.FileJudgement {
	files = slices.Clone(files)
	slices.SortStableFunc(files, func(a, b event.FileJudgement) int {
		return show.Rank(a.Repository, a.Role) - show.Rank(b.Repository, b.Role)
	})
	return files
}
