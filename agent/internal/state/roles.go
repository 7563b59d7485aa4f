package state

import (
	"fmt"
	"path/filepath"
	"regexp"

	"github.com/countersign-ota/countersign/internal/durable"
)

// maxRole bounds a stored role file, in bytes; no role of the profile is larger (DESIGN 6).
const maxRole = 512 << 10

const roleSuffix = ".json"

// roleName is what a role file may be called: ids, derived names with a dot, and root.copy.
var roleName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{0,191}$`)

// repositories are the folders of role files.
var repositories = []string{"image", "director"}

// Roles stores the role files of one repository, one file a role. It trusts nothing that it reads:
// the trust client verifies each file again.
type Roles struct{ dir string }

// Roles returns the role files of a repository, "image" or "director".
func (s *Store) Roles(repository string) *Roles {
	return &Roles{dir: filepath.Join(s.dir, repository)}
}

// Load returns the file of a role, or nil where there is none. A file that cannot be read, or is
// longer than any role, counts as absent: it is fetched again, and the version in the record binds.
func (r *Roles) Load(role string) ([]byte, error) {
	path, err := r.path(role)
	if err != nil {
		return nil, err
	}
	data, err := readBounded(path, maxRole)
	if err != nil {
		return nil, nil //nolint:nilerr // said above
	}
	return data, nil
}

// Save replaces the file of a role; it is durable when Save returns.
func (r *Roles) Save(role string, data []byte) error {
	path, err := r.path(role)
	if err != nil {
		return err
	}
	if err := durable.MkdirAll(r.dir, 0o700); err != nil {
		return machine(err, "role %q", role)
	}
	if err := durable.Replace(path, data, 0o600); err != nil {
		return machine(err, "role %q", role)
	}
	return nil
}

// Drop deletes the file of a role; a missing one is dropped already.
func (r *Roles) Drop(role string) error {
	path, err := r.path(role)
	if err != nil {
		return err
	}
	if err := durable.Remove(path); err != nil {
		return machine(err, "role %q", role)
	}
	return nil
}

func (r *Roles) path(role string) (string, error) {
	if !roleName.MatchString(role) {
		return "", fmt.Errorf("role %q is no file name", role)
	}
	return filepath.Join(r.dir, role+roleSuffix), nil
}

// hasRoles reports whether a role file lies in the agent's directory.
func hasRoles(dir string) bool {
	for _, repo := range repositories {
		found, err := filepath.Glob(filepath.Join(dir, repo, "*"+roleSuffix))
		if err == nil && len(found) > 0 {
			return true
		}
	}
	return false
}
