package rehearse

import (
	"fmt"
	"slices"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// maxSteps is how many roots a device follows in one cycle (DESIGN 6).
const maxSteps = 256

// Chain says which roots of a repository lead to the newest one.
type Chain struct {
	Repository metadata.Repository `json:"repository"`
	// InForce is the newest published root, 0 when there is none; Newest the one after the change.
	InForce int64 `json:"in_force"`
	Newest  int64 `json:"newest"`
	// From are the published roots from 1 on.
	From []Reach `json:"from"`
}

// Reach is what becomes of a device that trusts one root.
type Reach struct {
	Version int64 `json:"version"`
	// Reaches says that it comes to the newest root once that is published with its signatures.
	Reaches bool `json:"reaches"`
	// Steps is how many roots it verifies, Cycles in how many contacts.
	Steps  int64 `json:"steps"`
	Cycles int64 `json:"cycles"`
	// Until is where it ends otherwise, and Why the reason.
	Until int64  `json:"until"`
	Why   string `json:"why,omitempty"`
}

// step is what stands between one root and the next.
type step struct {
	code string
	err  error
}

// chains follows the roots of both repositories as devices of every version do.
func (r *rehearsal) chains() error {
	for _, repository := range []metadata.Repository{metadata.Image, metadata.Director} {
		if r.after.roots[repository] == nil {
			continue
		}
		c := Chain{Repository: repository, Newest: r.after.roots[repository].Signed.Version, From: []Reach{}}
		if old := r.before.roots[repository]; old != nil {
			c.InForce = old.Signed.Version
		}
		if err := r.follow(&c); err != nil {
			return err
		}
		r.report.Chains = append(r.report.Chains, c)
	}
	return nil
}

func (r *rehearsal) follow(c *Chain) error {
	steps := make([]step, c.InForce) // steps[v-1] leads from v to v+1
	var prev *rootFile
	for v := int64(1); v <= c.InForce; v++ {
		data, err := r.state.RootFile(c.Repository, v)
		if err != nil {
			return reason.Wrap(err, "%s root %d", c.Repository, v)
		}
		root, s := r.at(c.Repository, v, data)
		if s.err == nil && prev != nil {
			if err := metadata.CheckRootStep(prev, root); err != nil {
				s = step{ChainUnsigned, err}
			}
		}
		if v > 1 && steps[v-2].err == nil {
			steps[v-2] = s
		}
		if root == nil {
			// What its own step is, nobody can say here.
			steps[v-1] = s
		}
		prev = root
	}
	until := c.Newest
	for v := c.InForce; v >= 1; v-- {
		if v < c.InForce && steps[v-1].err != nil {
			until = v
			r.broken(c, v, steps[v-1])
		}
		reach := Reach{Version: v, Until: until, Reaches: until == c.Newest, Steps: until - v}
		reach.Cycles = (reach.Steps + maxSteps - 1) / maxSteps
		if !reach.Reaches {
			reach.Why = steps[until-1].err.Error()
		}
		c.From = append(c.From, reach)
	}
	r.cycles(c)
	return nil
}

// at parses one root of the chain.
func (r *rehearsal) at(repository metadata.Repository, v int64, data []byte) (*rootFile, step) {
	if len(data) == 0 {
		return nil, step{ChainGap, fmt.Errorf("%s root %d is missing", repository, v)}
	}
	root, err := metadata.ParseRoot(data, metadata.Profile)
	if err == nil {
		err = metadata.CheckScope(root.Signed.UnrecognizedFields, r.state.Deployment(), repository, metadata.Root)
	}
	if err == nil && root.Signed.Version != v {
		err = fmt.Errorf("%s root %d stands where root %d must", repository, root.Signed.Version, v)
	}
	if err != nil {
		return nil, step{ChainGap, err}
	}
	return root, step{}
}

func (r *rehearsal) broken(c *Chain, v int64, s step) {
	f := Finding{
		Severity: Stuck, Code: s.code, Already: true, Roles: []string{string(c.Repository) + " root"},
		What: fmt.Sprintf("the chain breaks after %s root %d: %v", c.Repository, v, s.err),
		Why:  fmt.Sprintf("devices that trust root 1 to %d take no later root, whatever is signed now", v),
		Next: fmt.Sprintf("bring back %d.root.json as it was published: from a backup, a mirror, an event file or a device", v+1),
	}
	if v == 1 {
		f.Why = "devices that trust root 1 take no later root, whatever is signed now"
	}
	r.add(f)
}

// cycles warns of devices that need several contacts. c.From begins with the newest here.
func (r *rehearsal) cycles(c *Chain) {
	if len(c.From) == 0 {
		return
	}
	if oldest := c.From[len(c.From)-1]; oldest.Reaches && oldest.Cycles > 1 {
		r.add(Finding{
			Severity: Warning, Code: ManyCycles, Roles: []string{string(c.Repository) + " root"},
			What: fmt.Sprintf("a device at root 1 follows %d roots, %d in one cycle", oldest.Steps, maxSteps),
			Why:  fmt.Sprintf("it needs %d cycles before it takes anything else", oldest.Cycles),
			Next: "build the newest root into new images",
		})
	}
	slices.Reverse(c.From)
}
