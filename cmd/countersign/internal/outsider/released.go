package outsider

import (
	"cmp"
	"context"
	"encoding/hex"
	"slices"
	"time"

	"github.com/countersign-ota/countersign/agent/trust"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/proto/statement"
)

// Released says in which version of a role targets were listed first, and who signed that version. What
// is in force now is in the roles of the report: a later version, of other people perhaps.
type Released struct {
	// Targets are the paths that it is about.
	Targets []string `json:"targets"`
	Role    string   `json:"role"`
	// Version is the first that lists the targets; where that is not proven, the earliest at hand.
	Version int64 `json:"version"`
	// SHA256 is that of the version's canonical signed part.
	SHA256 string `json:"sha256"`
	// ByTargets is the version of top-level targets under which the signatures count; 0 when none is proven.
	ByTargets int64 `json:"by_targets,omitempty"`
	// At is when the last person approved that version; zero without approvals.
	At time.Time `json:"at,omitzero"`
	// Proven is false when the version, or that it is the first, is not proven; Why says what is missing.
	Proven bool   `json:"proven"`
	Why    string `json:"why,omitempty"`
	// Uncounted is how many signatures of the version are by nobody whom the proven delegation names.
	Uncounted int `json:"uncounted,omitempty"`
	// People signed the version; unproven ones are said to have.
	People []ReleasedBy `json:"people"`
}

// ReleasedBy is a person who signed the release, in the words of their approval where it is kept.
type ReleasedBy struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Class   string `json:"class"`
	Meaning string `json:"meaning"`
	// At and Reason are of the approval; At is zero when none is kept.
	At     time.Time `json:"at,omitzero"`
	Reason string    `json:"reason"`
	Event  string    `json:"event,omitempty"`
	// Proven means that the person's signature is verified, under a delegation that was in force, and
	// that the version is proven to be the first.
	Proven bool `json:"proven"`
}

// describeReleased notes who released the targets.
func (v *verifier) describeReleased(ctx context.Context, f trust.Fetcher, targets []*trust.Target) error {
	product := targets[0].Firmware.Product
	h := &history{fetch: f, known: map[pastKey]past{}}
	judge := &pastJudge{v: v, h: h, product: product, files: map[*targetsFile]*judged{}}
	found := make([]first, len(targets))
	for i, t := range targets {
		var err error
		if found[i], err = h.search(ctx, t, v.client.Role(t.Role)); err != nil {
			return err
		}
		for _, file := range []*targetsFile{found[i].file, found[i].before} {
			if err := judge.add(t.Role, file); err != nil {
				return err
			}
		}
	}
	if err := judge.judge(ctx); err != nil {
		return err
	}
	for i, t := range targets {
		version := found[i].file.Signed.Version
		at := slices.IndexFunc(v.report.Released, func(r Released) bool { return r.Role == t.Role && r.Version == version })
		if at >= 0 {
			v.report.Released[at].Targets = append(v.report.Released[at].Targets, t.Path)
			continue
		}
		why := h.doubt(t.Role, found[i], func(file *targetsFile) string { return judge.files[file].why })
		r, err := v.releasedIn(ctx, judge.files[found[i].file], why)
		if err != nil {
			return err
		}
		r.Targets = []string{t.Path}
		v.report.Released = append(v.report.Released, *r)
	}
	return nil
}

// releasedIn returns who signed a version; doubt says why it may not be the first.
func (v *verifier) releasedIn(ctx context.Context, j *judged, doubt string) (*Released, error) {
	r := &Released{Role: j.role, Version: j.file.Signed.Version, SHA256: digestHex(j.file), Why: cmp.Or(j.why, doubt), People: []ReleasedBy{}}
	r.Proven = r.Why == ""
	if j.by == nil {
		claims, err := claimsOf(ctx, v.Source, j)
		for _, a := range claims {
			r.People = append(r.People, ReleasedBy{ID: a.Person, Name: a.Name, Class: a.file.Class, Meaning: a.file.Meaning, At: a.At, Reason: a.Reason, Event: a.Event})
		}
		return r, err
	}
	role, err := v.signedRole(ctx, j)
	if err != nil {
		return nil, err
	}
	r.ByTargets, r.Uncounted = j.targets, len(j.file.Signatures)-len(j.valid)
	for _, s := range role.Signers {
		p := ReleasedBy{ID: s.Person, Name: s.Name, Class: s.Class, Meaning: s.Meaning, Proven: r.Proven}
		if a := s.Approval; a != nil {
			p.Name, p.Class, p.Meaning, p.At, p.Reason, p.Event = a.Name, a.Class, a.Meaning, a.At, a.Reason, a.Event
			if a.At.After(r.At) {
				r.At = a.At
			}
		}
		r.People = append(r.People, p)
	}
	return r, nil
}

// signedRole returns the people of a version and their approvals: of the one in force what the report
// has already.
func (v *verifier) signedRole(ctx context.Context, j *judged) (*Role, error) {
	version := j.file.Signed.Version
	if i := slices.IndexFunc(v.report.Roles, func(r Role) bool { return r.Role == j.role && r.Version == version }); i >= 0 {
		return &v.report.Roles[i], nil
	}
	s := subject{role: j.role, version: version, digest: j.file.Digest(), delegations: []*metadata.Delegation{j.by}}
	return v.role(ctx, &s, j.file.Signed.Expires, j.file.Canonical(), j.file.Signatures)
}

// claimsOf returns the approvals that a repository keeps for a version of which nobody's signature is
// proven: what anybody may have written.
func claimsOf(ctx context.Context, source Source, j *judged) ([]approval, error) {
	s := &subject{role: j.role, version: j.file.Signed.Version, digest: j.file.Digest()}
	claims, err := keptFor(ctx, source, s, func(_ *statement.Envelope, claim *statement.Approval) (*approval, error) {
		file := s.approvedIn(claim)
		if file == nil || file.Version != s.version || file.Digest != hex.EncodeToString(s.digest[:]) {
			return nil, nil
		}
		return &approval{claim.Person, claim, *file}, nil
	})
	if err != nil && reason.Of(err).Class() == reason.NotAuthentic {
		return nil, nil
	}
	return claims, err
}
