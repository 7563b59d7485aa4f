package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/countersign-ota/countersign/cmd/countersign/internal/show"
	"github.com/countersign-ota/countersign/cmd/internal/cli"
	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// soon is how long before its end a role is listed (DESIGN 1.5: the first warning).
const soon = 60 * 24 * time.Hour

type expiryLine struct {
	Repository string         `json:"repository"`
	Role       string         `json:"role"`
	Version    int64          `json:"version"`
	Expires    string         `json:"expires"`
	Need       map[string]int `json:"need"`
	// Event is an open event that signs the role anew.
	Event string `json:"event,omitempty"`
	// Bins is, for a bin, how many of its product end within 60 days, by the server's words.
	Bins int `json:"bins,omitempty"`

	at   time.Time
	need string
}

// onlineLine is a role that the server signs by itself.
type onlineLine struct {
	Role    string `json:"role"`
	Version int64  `json:"version"`
	Expires string `json:"expires"`
	// Late says that the server should have signed a newer one.
	Late bool `json:"late"`

	at time.Time
}

// unwellLine is what the server says of itself.
type unwellLine struct {
	Reason  string `json:"reason"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

// expiries lists the roles that people sign, the first to end first. Retired products are left out. Of the
// bins of a product it lists the one that ends first, which the server names and this machine verifies:
// reading all of them would take too long.
func (v *view) expiries(events []waiting, said *pb.GetExpiryResponse) ([]expiryLine, error) {
	lines := []expiryLine{}
	if pin, err := v.state.Pin(metadata.Image); err != nil || pin.Version == 0 {
		return lines, err
	}
	if err := v.readAll(); err != nil {
		return nil, err
	}
	bins := map[string]int{}
	for _, e := range said.GetExpiries() {
		if _, kind, err := metadata.SplitRole(e.GetRole()); err != nil || kind != metadata.RoleBin {
			continue
		}
		if _, _, err := v.state.Role(metadata.Image, e.GetRole()); err != nil {
			return nil, err
		}
		bins[e.GetRole()] = int(e.GetBins())
	}
	for _, r := range v.state.Seen() {
		if gone, err := v.state.Retired(r.Role); gone || err != nil {
			if err != nil {
				return nil, err
			}
			continue
		}
		d, err := v.state.Delegation(r.Repository, r.Role)
		if err != nil {
			return nil, err
		}
		if d == nil || d.Quorum == nil {
			continue
		}
		line := expiryLine{
			Repository: string(r.Repository), Role: r.Role, Version: r.Version, Expires: rfc3339(r.Expires), Need: d.Quorum.Require,
			Bins: bins[r.Role], at: r.Expires, need: show.Classes(d.Quorum.Require),
		}
		for _, w := range events {
			if w.judged.Event.Proposal.Index(r.Repository, r.Role) >= 0 {
				line.Event = w.ID
			}
		}
		lines = append(lines, line)
	}
	slices.SortStableFunc(lines, func(a, b expiryLine) int { return a.at.Compare(b.at) })
	return lines, nil
}

// least is how long the newest file of an online role is good at least, while the server works: it signs a
// timestamp of 7 days each day, and a snapshot of 30 days when half of them are over (DESIGN 1.5).
var least = map[string]time.Duration{
	metadata.Timestamp: 6*24*time.Hour - lateness,
	metadata.Snapshot:  15*24*time.Hour - lateness,
}

// lateness is what the clocks of server and machine may differ, and a short stop of the server.
const lateness = 2 * time.Hour

// online reads the roles that the server signs by itself, verified by the root in force.
func (v *view) online(ctx context.Context, now time.Time) ([]onlineLine, error) {
	lines := []onlineLine{}
	pin, err := v.state.Pin(metadata.Image)
	if err != nil || pin.Version == 0 {
		return lines, err
	}
	data, err := v.state.RootFile(metadata.Image, pin.Version)
	if err != nil {
		return nil, err
	}
	root, err := metadata.ParseRoot(data, metadata.Profile)
	if err != nil {
		return nil, err
	}
	if root.Digest() != pin.Digest {
		return nil, reason.Errorf(reason.VersionUsed, "%s shows another image root %d than before", v.where(), pin.Version)
	}
	for _, role := range []string{metadata.Snapshot, metadata.Timestamp} {
		p, err := v.client.Published(ctx, metadata.Image, role, 0)
		if err != nil {
			return nil, err
		}
		version, at, err := v.readOnline(root, role, p.File)
		if err != nil {
			return nil, reason.Wrap(err, "%s of %s", role, v.where())
		}
		lines = append(lines, newOnlineLine(role, version, at, now))
	}
	return lines, nil
}

func newOnlineLine(role string, version int64, at, now time.Time) onlineLine {
	return onlineLine{Role: role, Version: version, Expires: rfc3339(at), Late: at.Sub(now) < least[role], at: at}
}

// readOnline verifies an online role and returns its version and when it expires.
func (v *view) readOnline(root *metadata.File[metadata.RootRole], role string, data []byte) (version int64, expires time.Time, err error) {
	d, err := metadata.RootDelegation(root, role, metadata.Profile)
	if err != nil {
		return 0, time.Time{}, err
	}
	var canonical []byte
	var sigs []metadata.Signature
	var more map[string]any
	switch role {
	case metadata.Snapshot:
		f, err := metadata.ParseSnapshot(data, metadata.Profile)
		if err != nil {
			return 0, time.Time{}, err
		}
		version, expires, canonical, sigs, more = f.Signed.Version, f.Signed.Expires, f.Canonical(), f.Signatures, f.Signed.UnrecognizedFields
	default:
		f, err := metadata.ParseTimestamp(data, metadata.Profile)
		if err != nil {
			return 0, time.Time{}, err
		}
		version, expires, canonical, sigs, more = f.Signed.Version, f.Signed.Expires, f.Canonical(), f.Signatures, f.Signed.UnrecognizedFields
	}
	if err := metadata.CheckScope(more, v.id, metadata.Image, role); err != nil {
		return 0, time.Time{}, err
	}
	return version, expires, d.Verify(canonical, sigs)
}

// unwellOf returns what the server says of itself; nil while it can do all of its work.
func unwellOf(said *pb.GetExpiryResponse) *unwellLine {
	if said.GetMessage() == "" {
		return nil
	}
	return &unwellLine{said.GetReason(), said.GetMessage(), said.GetHint()}
}

// serverLines are what the server must do by itself and does not. What is published is served on: a device
// that fetched it goes on until it expires.
func (doc *statusDoc) serverLines(now time.Time) []string {
	var lines []string
	if u := doc.Unwell; u != nil {
		code := ""
		if u.Reason != "" {
			code = fmt.Sprintf(" [%s]", cli.Safe(u.Reason))
		}
		lines = append(lines, fmt.Sprintf("server         is not well: %s%s; what is published is served on", cli.Safe(u.Message), code))
		if u.Hint != "" {
			lines = append(lines, "               "+cli.Safe(u.Hint))
		}
	}
	for _, o := range doc.Online {
		if o.Late {
			lines = append(lines, fmt.Sprintf("server         %s: the server must sign it anew, and is late", o.text(now)))
		}
	}
	return lines
}

// text is when an online role ends: "timestamp in 4 d".
func (o *onlineLine) text(now time.Time) string {
	if o.at.Before(now) {
		return fmt.Sprintf("%s was %s", o.Role, ago(now, o.at))
	}
	return fmt.Sprintf("%s in %s", o.Role, span(o.at.Sub(now)))
}

// text is one expiry: "pump-9 in 41 d: engineering 1 + quality 1 must sign d7704e1a55c0".
func (e *expiryLine) text(now time.Time) string {
	name := roleName(metadata.Repository(e.Repository), e.Role)
	if e.Bins > 1 {
		name += fmt.Sprintf(" and %d more bins", e.Bins-1)
	}
	when := "in " + span(e.at.Sub(now))
	if e.at.Before(now) {
		when = "was " + ago(now, e.at)
	}
	if e.Event == "" {
		return fmt.Sprintf("%s %s: %s must sign it anew", name, when, e.need)
	}
	return fmt.Sprintf("%s %s: %s must sign %s", name, when, e.need, short(e.Event))
}
