package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/countersign-ota/countersign/cmd/internal/cli"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/signer/event"
)

// offering has a command that met a server which is behind what this machine has seen show it what is
// newer here: a restored server takes it, after its operator agreed.
func (t *tool) offering(c *cobra.Command) {
	for _, sub := range c.Commands() {
		t.offering(sub)
	}
	if run := c.RunE; run != nil {
		c.RunE = func(cmd *cobra.Command, args []string) error {
			err := run(cmd, args)
			if t.met != nil && reason.Is(err, reason.BaseTooOld) {
				t.offer(cmd.Context(), t.met.id)
			}
			return err
		}
	}
}

// offer shows the deployment's server what is kept here and newer than what it has. Whatever comes of it
// is only told: the command has failed already.
func (t *tool) offer(ctx context.Context, deployment string) {
	d, err := t.connected(ctx, deployment)
	if err != nil {
		return
	}
	defer d.Close()
	newer, err := d.newerHere(ctx)
	if err != nil || len(newer) == 0 {
		return
	}
	answers, err := d.client.OfferFiles(ctx, newer)
	if err != nil {
		t.Out.Warn("the server of %s is behind, and was not shown what this machine has seen: %s", d.id, cli.Safe(err.Error()))
		return
	}
	var taken []string
	for _, a := range answers {
		name := fmt.Sprintf("%s %d", roleName(metadata.Repository(a.GetRepository()), a.GetRole()), a.GetVersion())
		switch {
		case a.GetNewer():
			taken = append(taken, name)
		case a.GetReason() != "":
			t.Out.Warn("the server did not take %s: %s [%s]", cli.Safe(name), cli.Safe(a.GetMessage()), cli.Safe(a.GetReason()))
		}
	}
	if len(taken) > 0 {
		t.Out.Warn("the server of %s is behind what this machine has seen, and was shown %s", d.id, cli.Safe(strings.Join(taken, ", ")))
	}
}

// newerHere returns the role files that were verified and kept here and are above the server's, in the
// order in which it can verify them.
func (d *deployment) newerHere(ctx context.Context) ([]event.BaseFile, error) {
	kept, err := d.place.Base()
	if err != nil {
		return nil, err
	}
	type versioned struct {
		event.BaseFile
		version int64
		kind    metadata.RoleKind
	}
	var newer []versioned
	there := map[place]int64{}
	for _, f := range kept {
		_, kind, err := metadata.SplitRole(f.Role)
		if err != nil {
			continue // no role that a server knows
		}
		v := versioned{f, fileVersion(f), kind}
		if f.Role == metadata.Root {
			v.kind = -1
		}
		p := place{f.Repository, f.Role, 0}
		if _, ok := there[p]; !ok {
			got, err := d.client.Published(ctx, f.Repository, f.Role, 0)
			if err != nil {
				return nil, err
			}
			there[p] = fileVersion(event.BaseFile{Repository: f.Repository, Role: f.Role, File: got.File})
		}
		if v.version > there[p] {
			newer = append(newer, v)
		}
	}
	slices.SortStableFunc(newer, func(a, b versioned) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.Repository, b.Repository), cmp.Compare(a.Role, b.Role), cmp.Compare(a.version, b.version))
	})
	files := make([]event.BaseFile, len(newer))
	for i, v := range newer {
		files[i] = v.BaseFile
	}
	return files, nil
}

// fileVersion returns the version that a role file claims; 0 if it is none.
func fileVersion(f event.BaseFile) int64 {
	if f.Role == metadata.Root {
		return rootVersion(f.File)
	}
	t, err := metadata.ParseTargets(f.File, metadata.Profile)
	if err != nil {
		return 0
	}
	return t.Signed.Version
}
