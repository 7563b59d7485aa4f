package metadata

import (
	"strings"

	"github.com/countersign-ota/countersign/proto/reason"
)

// ScopeField is the member of every signed part that says where the file belongs (DESIGN 1.1).
const ScopeField = "x-countersign-scope"

// Scope returns the scope of a role file: `<deployment>/image/<role>` or `<deployment>/director/root`.
// For the director's files of one device, role is `<device>/<role>`.
func Scope(deployment string, r Repository, role string) string {
	return deployment + "/" + string(r) + "/" + role
}

// CheckScope compares the scope in the unrecognized members of a signed part with the one asked for.
// It returns scope-missing or scope-mismatch; otherwise a director root signed by the same holders
// would pass as an image root, and one device's instruction at its neighbour.
func CheckScope(signedUnrecognized map[string]any, deployment string, r Repository, role string) error {
	want := Scope(deployment, r, role)
	got, ok := signedUnrecognized[ScopeField].(string)
	if !ok || got == "" {
		return reason.Errorf(reason.ScopeMissing, "%s %s: no %s, wanted %q", r, role, ScopeField, want)
	}
	if got != want {
		return reason.Errorf(reason.ScopeMismatch, "%s %s: %s is %q, wanted %q", r, role, ScopeField, got, want)
	}
	return nil
}

// ScopeOf returns the deployment, repository and role that a signed part claims; ok is false when the
// scope is missing or has another form. What it returns is a claim until it was compared.
func ScopeOf(signedUnrecognized map[string]any) (deployment string, r Repository, role string, ok bool) {
	s, _ := signedUnrecognized[ScopeField].(string)
	parts := strings.SplitN(s, "/", 3)
	if len(parts) != 3 || !isID(parts[0]) || parts[2] == "" {
		return "", "", "", false
	}
	r = Repository(parts[1])
	if r != Image && r != Director {
		return "", "", "", false
	}
	return parts[0], r, parts[2], true
}
