package event

import (
	"os"
	"path/filepath"

	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/signer/key"
)

// Plan is a plan.yaml: who may sign what in a deployment (docs/formats.md). All that it says stands in
// signed files, so PlanOf reads it back from them.
type Plan struct {
	Deployment string
	Online     Online
	// People are the public keys by person.
	People map[string]*key.Public
	// Meaning says what a signature of a class means.
	Meaning  map[string]string
	Roots    Rule
	Products map[string]ProductPlan

	// name is the file's, for errors.
	name string
	// faults are those for which the plan may only be rehearsed.
	faults []PlanFault
}

// Rule says how many people of each class must sign, and who they are.
type Rule struct {
	Require map[string]int
	// People are ids by class, in the order of the file.
	People map[string][]string
}

// ProductPlan is one product of a plan.
type ProductPlan struct {
	Rule
	// Stop are those who may stop what the product released.
	Stop []string
	// Bins is 0 for a flat product, else 16 to 1,024 in powers of two.
	Bins int
	// SBOM is metadata.SBOMRequired or SBOMNone.
	SBOM string
	// Retired products take no release; they stay in the plan, since their names are never used again.
	Retired bool
}

// LoadPlan reads a plan, and the public key files that it names, beside it. Reason: plan.
func LoadPlan(path string) (*Plan, error) {
	data, err := readFile(path, maxYAML, reason.Plan)
	if err != nil {
		return nil, err
	}
	return ParsePlan(filepath.Base(path), data, beside(path))
}

// beside returns a function that reads the public key files that a plan names.
func beside(path string) func(file string) ([]byte, error) {
	return func(file string) ([]byte, error) {
		if !filepath.IsAbs(file) {
			file = filepath.Join(filepath.Dir(path), file)
		}
		return readFile(file, key.MaxPublic, reason.Plan)
	}
}

// readFile reads a file of at most limit bytes.
func readFile(path string, limit int64, why reason.Reason) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, reason.Errorf(why, "%v", err)
	}
	if info.Size() > limit {
		return nil, reason.Errorf(why, "%s: more than %d bytes", path, limit)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, reason.Errorf(why, "%v", err)
	}
	return data, nil
}
