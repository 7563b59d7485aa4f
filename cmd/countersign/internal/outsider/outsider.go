// Package outsider answers what somebody who takes part in nothing may ask of a deployment: is this
// release genuine, and who says so? It needs a root that the person trusts and a repository that nobody
// need trust: a directory in the TUF layout, an https URL, or a bundle, which is a tar of such a
// directory.
//
// Open a Source and call Verify. The role files are judged by agent/trust, as a device judges them: the
// same chain of roots, quorums, versions, hashes and stops. What is added is for people: who signed, with
// which class and meaning, and their approvals, each verified under the keys that the signed delegation
// gives its person; and who released it, which is the people of the first version that listed it, under
// the delegations of then. An expired role or a stopped target is reported whole, with the reason that refuses
// it.
//
// Not protected against: a copy may be older than what its people have said since, such as a stop; its
// timestamp says how old. What a person approved without a kept approval is only their signature. And
// keys that were in force together and were all stolen since can forge what was signed then.
package outsider

import (
	"context"
	"encoding/hex"
	"time"

	"github.com/countersign-ota/countersign/agent/trust"
	"github.com/countersign-ota/countersign/cmd/internal/cli"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// Config is what Verify works with.
type Config struct {
	// Root is the trusted image root, of any version. It names the deployment.
	Root   []byte
	Source Source
	// Now is the time by which expiry is judged.
	Now time.Time
	// Deployment is the one that the root must be of; any if it is empty.
	Deployment string
	// Artifact is a file that is compared with the targets; without it the images of the repository are,
	// as far as it gives them.
	Artifact string
	// Progress shows how far an image is read.
	Progress cli.Progress
}

// Release names what is asked for: a release, or one target of it.
type Release struct {
	Product, Version string
	// File is empty for the whole release.
	File string
}

// String returns the name as people write it.
func (r Release) String() string {
	s := r.Product + "/" + r.Version
	if r.File != "" {
		s += "/" + r.File
	}
	return s
}

// verifier is one Verify.
type verifier struct {
	Config
	client *trust.Client
	// roots are the trusted root and those that follow, each verified.
	roots  []*metadata.File[metadata.RootRole]
	report *Report
}

// Verify follows the repository from the trusted root to the release. The error says that nothing can be
// said of it: it is not authentic, not there, or not reachable. What may be said, but not used, is in the
// report with its Err.
func Verify(ctx context.Context, c Config, what Release) (*Report, error) {
	v := &verifier{Config: c, report: &Report{Subject: what.String()}}
	if err := v.begin(); err != nil {
		return nil, err
	}
	f := &fetcher{source: c.Source, met: v.meet}
	if err := v.followRoots(ctx, f); err != nil {
		return nil, err
	}
	if err := v.client.Refresh(ctx, f); err != nil {
		return nil, err
	}
	targets, err := v.find(ctx, f, what)
	if err != nil {
		return nil, err
	}
	if err := v.describe(ctx, targets); err != nil {
		return nil, err
	}
	if err := v.describeReleased(ctx, f, targets); err != nil {
		return nil, err
	}
	if err := v.compare(ctx, targets); err != nil {
		return nil, err
	}
	v.judgeStops()
	v.judgeExpiry()
	return v.report, nil
}

// begin takes the trusted root.
func (v *verifier) begin() error {
	root, err := metadata.ParseRoot(v.Root, metadata.Profile)
	if err != nil {
		return reason.Wrap(err, "the trusted root")
	}
	deployment, repository, _, ok := metadata.ScopeOf(root.Signed.UnrecognizedFields)
	switch {
	case !ok:
		return reason.Errorf(reason.RootWithoutScope, "the trusted root does not say of which deployment it is")
	case repository != metadata.Image:
		return reason.Errorf(reason.ScopeMismatch, "the trusted root is %s's %s root, wanted the image root", deployment, repository)
	}
	if v.Deployment != "" && v.Deployment != deployment {
		return reason.Errorf(reason.ScopeMismatch, "the trusted root is of %s, wanted %s", deployment, v.Deployment)
	}
	v.client, err = trust.New(trust.Config{
		Deployment: deployment, Repository: metadata.Image, Root: v.Root, Store: memory{},
		// Every expiry is judged here, afterwards: an expired role is reported whole before it is refused.
		Now: func() time.Time { return time.Time{} },
	})
	if err != nil {
		return err
	}
	v.meet()
	digest := v.roots[0].Digest()
	v.report.Deployment = deployment
	v.report.Root = Root{v.roots[0].Signed.Version, hex.EncodeToString(digest[:])}
	return nil
}

// meet notes the root in use, if it is new. The client asks for a root once it has verified the one
// before, so none is missed.
func (v *verifier) meet() {
	root := v.client.Root()
	if n := len(v.roots); n == 0 || v.roots[n-1].Signed.Version < root.Signed.Version {
		v.roots = append(v.roots, root)
	}
}

// maxRootRounds bounds how many times 256 roots are followed.
const maxRootRounds = 16

// followRoots follows the whole chain: a client takes 256 roots at a time, and the next goes on.
func (v *verifier) followRoots(ctx context.Context, f trust.Fetcher) error {
	for range maxRootRounds {
		before := v.client.Root().Signed.Version
		if err := v.client.RefreshRoot(ctx, f); err != nil {
			return err
		}
		v.meet()
		if v.client.Root().Signed.Version-before < 256 {
			return nil
		}
	}
	return reason.Errorf(reason.Limit, "more than %d roots follow the trusted one", maxRootRounds*256)
}

// find returns the targets that were asked for, stopped ones too.
func (v *verifier) find(ctx context.Context, f trust.Fetcher, what Release) ([]*trust.Target, error) {
	if what.File == "" {
		return v.client.Release(ctx, f, what.Product, what.Version)
	}
	t, err := v.client.Listed(ctx, f, what.String())
	if err != nil {
		return nil, err
	}
	return []*trust.Target{t}, nil
}

// judgeStops refuses a release of which a target is stopped.
func (v *verifier) judgeStops() {
	for _, t := range v.report.Targets {
		if t.Stop != nil {
			v.report.refuse(reason.Errorf(reason.Stopped, "%s, counter %d, was stopped at %s: %q", t.Path, t.Counter, t.Stop.At.UTC().Format(time.RFC3339), t.Stop.Reason))
		}
	}
}

// judgeExpiry refuses expired roles. A stop list binds when it is expired (DESIGN 1.8); so may timestamp
// and snapshot of a copy be (DESIGN 5.6), and roots before the newest.
func (v *verifier) judgeExpiry() {
	newest := v.roots[len(v.roots)-1].Signed.Version
	refuse := func(r Role) {
		if r.Expired {
			v.report.refuse(reason.Errorf(reason.Expired, "%s version %d expired at %s, it is %s", r.Role, r.Version,
				r.Expires.UTC().Format(time.RFC3339), v.Now.UTC().Format(time.RFC3339)))
		}
	}
	for _, r := range v.report.Roles {
		_, kind, err := metadata.SplitRole(r.Role)
		if (r.Role == metadata.Root && r.Version != newest) || (err == nil && kind == metadata.RoleStop) {
			continue
		}
		refuse(r)
	}
	for _, r := range v.report.Online {
		if !v.Source.Copy() {
			refuse(r)
		}
	}
}

// memory keeps role files for one run.
type memory map[string][]byte

var _ trust.Store = memory{}

// Load implements trust.Store.
func (m memory) Load(role string) ([]byte, error) { return m[role], nil }

// Save implements trust.Store.
func (m memory) Save(role string, data []byte) error {
	m[role] = data
	return nil
}

// Drop implements trust.Store.
func (m memory) Drop(role string) error {
	delete(m, role)
	return nil
}
