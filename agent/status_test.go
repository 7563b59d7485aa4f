package agent

import (
	"encoding/json"
	"testing"

	"github.com/countersign-ota/countersign/agent/internal/state"
	"github.com/countersign-ota/countersign/proto/reason"
)

func TestReadStatusOfNothing(t *testing.T) {
	_, err := ReadStatus(t.TempDir() + "/none")
	if err == nil || reason.Exit(err) != 8 {
		t.Errorf("status of a missing directory: %v", err)
	}
	s, err := ReadStatus(t.TempDir())
	must(t, err)
	data, err := json.Marshal(s)
	must(t, err)
	if string(data) != `{"components":[],"roles":[],"stopped":[]}` {
		t.Errorf("status of an empty directory: %s", data)
	}
}

// TestReadStatusBesideTheAgent: no lock, nothing changed, the same answer.
func TestReadStatusBesideTheAgent(t *testing.T) {
	v := newDevice(t, slotInstaller(t))
	path := v.release("2.4.1", 17, nil)
	a := v.open()
	_, err := a.Once(ctx, nil)
	must(t, err)
	mine, err := json.Marshal(a.Status())
	must(t, err)
	theirs, err := json.Marshal(v.status())
	must(t, err)
	if string(mine) != string(theirs) {
		t.Errorf("ReadStatus %s\nStatus     %s", theirs, mine)
	}
	s := v.status()
	if s.Contact.IsZero() || s.Update.Members[0].Path != path || len(s.Roles) != 6 {
		t.Errorf("%s", mine)
	}
	for _, r := range s.Roles {
		if r.Version < 1 || r.Expires.Before(v.now) {
			t.Errorf("role %+v", r)
		}
	}
}

func TestStateNames(t *testing.T) {
	for s, want := range map[state.State]string{
		state.State_STATE_STAGING: "staging", state.State_STATE_TRIAL: "trial", state.State_STATE_REVERTED: "reverted",
	} {
		if got := stateName(s); got != want {
			t.Errorf("%v is %q, want %q", s, got, want)
		}
	}
}
