package agent

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/countersign-ota/countersign/agent/internal/state"
	"github.com/countersign-ota/countersign/proto/metadata"
)

// Status is what the record says, for people and supervisors. Its JSON form only grows.
type Status struct {
	// Contact is when the server was last heard in full; zero: never.
	Contact time.Time `json:"contact,omitzero"`
	// Components by id.
	Components []ComponentStatus `json:"components"`
	// Update is what is under way, or was given up; nil: nothing is.
	Update *UpdateStatus `json:"update,omitempty"`
	// Refusal is why the instructed image is not installed; nil: no refusal stands.
	Refusal *RefusalStatus `json:"refusal,omitempty"`
	// Roles are the role files in force, by name.
	Roles []RoleStatus `json:"roles"`
	// Stopped are the images that persons stopped and that this device could meet.
	Stopped []StopStatus `json:"stopped"`
	// StateLost is true from the moment both copies of the record were lost until the next confirmation.
	StateLost bool `json:"state_lost,omitempty"`
}

// ComponentStatus is what a component last confirmed.
type ComponentStatus struct {
	ID string `json:"id"`
	// Path, Version and SHA256 are empty for what left the factory.
	Path      string    `json:"path,omitempty"`
	Version   string    `json:"version,omitempty"`
	SHA256    string    `json:"sha256,omitempty"`
	Counter   int64     `json:"counter"`
	Floor     int64     `json:"floor"`
	Confirmed time.Time `json:"confirmed,omitzero"`
	// Previous is what ran before; empty: unknown, or what left the factory.
	Previous string `json:"previous,omitempty"`
}

// UpdateStatus is a set under way.
type UpdateStatus struct {
	// State is staging, staged, installing, trial, confirming, reverting or reverted.
	State   string         `json:"state"`
	Members []MemberStatus `json:"members"`
	// Attempts failed after staging, of MaxAttempts; Failure is the last one's cause.
	Attempts int    `json:"attempts"`
	Failure  string `json:"failure,omitempty"`
	// Reboot is true when only a reboot takes the update further.
	Reboot bool `json:"reboot"`
}

// MemberStatus is one image of an update.
type MemberStatus struct {
	Component string `json:"component"`
	Path      string `json:"path"`
	Version   string `json:"version"`
	Counter   int64  `json:"counter"`
	Length    int64  `json:"length"`
	SHA256    string `json:"sha256"`
}

// RefusalStatus is why an instructed image is not installed.
type RefusalStatus struct {
	// Path is empty when no target was reached.
	Path    string    `json:"path,omitempty"`
	Version string    `json:"version,omitempty"`
	Counter int64     `json:"counter,omitempty"`
	Reason  string    `json:"reason"`
	Text    string    `json:"text"`
	Since   time.Time `json:"since"`
}

// RoleStatus is a role file in force.
type RoleStatus struct {
	// Name is REPOSITORY/ROLE.
	Name    string    `json:"name"`
	Version int64     `json:"version"`
	Expires time.Time `json:"expires,omitzero"`
}

// StopStatus is a stopped image.
type StopStatus struct {
	Path    string `json:"path"`
	Counter int64  `json:"counter"`
	SHA256  string `json:"sha256"`
}

// ReadStatus reads the status in an agent's directory. It takes no lock and changes nothing, so it
// works beside a running agent. Reason state-lost when both copies of the record are damaged.
func ReadStatus(dir string) (*Status, error) {
	rec, err := state.Load(dir)
	if err != nil {
		return nil, err
	}
	return statusOf(rec), nil
}

// Status returns the status of an open agent.
func (a *Agent) Status() *Status {
	a.mu.Lock()
	defer a.mu.Unlock()
	return statusOf(a.store.Record())
}

func statusOf(rec *state.Record) *Status {
	s := &Status{
		Contact: unix(rec.Contact), StateLost: rec.Lost,
		Components: []ComponentStatus{}, Roles: []RoleStatus{}, Stopped: []StopStatus{},
	}
	for _, id := range slices.Sorted(maps.Keys(rec.Components)) {
		c := rec.Components[id]
		s.Components = append(s.Components, ComponentStatus{
			ID: id, Path: c.Path, Version: versionOf(c.Path), SHA256: hexOf(c.Sha256), Counter: c.Counter,
			Floor: c.Floor, Confirmed: unix(c.ConfirmedAt), Previous: c.PreviousPath,
		})
	}
	if set := rec.Set; set != nil {
		u := &UpdateStatus{State: stateName(set.State), Attempts: int(set.Attempts), Failure: set.Failure}
		for _, m := range set.Members {
			u.Members = append(u.Members, MemberStatus{
				Component: m.Component, Path: m.Path, Version: versionOf(m.Path), Counter: m.Counter,
				Length: m.Length, SHA256: hexOf(m.Sha256),
			})
			u.Reboot = u.Reboot || m.Reboot
		}
		s.Update = u
	}
	if r := rec.Refusal; r != nil {
		s.Refusal = &RefusalStatus{
			Path: r.Path, Version: versionOf(r.Path), Counter: r.Counter, Reason: r.Reason, Text: r.Text,
			Since: unix(r.At),
		}
	}
	for _, name := range slices.Sorted(maps.Keys(rec.Roles)) {
		r := rec.Roles[name]
		s.Roles = append(s.Roles, RoleStatus{Name: name, Version: r.Version, Expires: unix(r.Expires)})
	}
	for _, e := range rec.Stops {
		s.Stopped = append(s.Stopped, StopStatus{Path: e.Path, Counter: e.Counter, SHA256: hexOf(e.Sha256)})
	}
	return s
}

// stateName is the word for a state: "staging" of STATE_STAGING.
func stateName(s state.State) string {
	return strings.ToLower(strings.TrimPrefix(s.String(), "STATE_"))
}

func versionOf(path string) string {
	p, err := metadata.ParseTargetPath(path)
	if err != nil {
		return ""
	}
	return p.Version
}

func hexOf(b []byte) string { return fmt.Sprintf("%x", b) }

func unix(seconds int64) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0).UTC()
}
