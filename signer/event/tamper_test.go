package event_test

import (
	"encoding/json"
	"strconv"
	"testing"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/signer/event"
)

type object = map[string]any

// at walks down a decoded JSON value by member names and indices.
func at(v any, path ...string) any {
	for _, name := range path {
		switch x := v.(type) {
		case object:
			v = x[name]
		case []any:
			i, err := strconv.Atoi(name)
			if err != nil {
				panic(err)
			}
			v = x[i]
		}
	}
	return v
}

// set replaces the member at the end of path.
func set(v any, value any, path ...string) {
	parent, last := at(v, path[:len(path)-1]...), path[len(path)-1]
	switch x := parent.(type) {
	case object:
		x[last] = value
	case []any:
		i, err := strconv.Atoi(last)
		if err != nil {
			panic(err)
		}
		x[i] = value
	}
}

// edit changes the signed part of one proposed file.
func edit(t testing.TB, e *event.Event, r metadata.Repository, role string, change func(signed object)) {
	t.Helper()
	i := e.Proposal.Index(r, role)
	if i < 0 {
		t.Fatalf("no file %s %s", r, role)
	}
	text, err := metadata.FromCanonical(e.Proposal.Files[i].Signed)
	if err != nil {
		t.Fatal(err)
	}
	var signed object
	if err := json.Unmarshal(text, &signed); err != nil {
		t.Fatal(err)
	}
	change(signed)
	if e.Proposal.Files[i].Signed, err = metadata.Canonical(signed); err != nil {
		t.Fatal(err)
	}
}

// drop takes a file out of the proposal.
func drop(e *event.Event, r metadata.Repository, role string) {
	i := e.Proposal.Index(r, role)
	files := append([]event.ProposedFile{}, e.Proposal.Files[:i]...)
	e.Proposal.Files = append(files, e.Proposal.Files[i+1:]...)
}

// firmware returns the document of a target for changing.
func firmware(signed object, path string) object {
	return at(signed, "targets", path, "custom", "countersign").(object)
}

func clone(t testing.TB, v any) any {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var out any
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// swapKey puts one key in the place of another in all delegations of a targets file.
func swapKey(signed object, from, to *metadata.Key) {
	fromID, _ := metadata.KeyID(from)
	toID, _ := metadata.KeyID(to)
	keys := at(signed, "delegations", "keys").(object)
	delete(keys, fromID)
	keys[toID] = to
	for _, r := range at(signed, "delegations", "roles").([]any) {
		ids := at(r, "keyids").([]any)
		for i := range ids {
			if ids[i] == fromID {
				ids[i] = toID
			}
		}
		for _, p := range at(r, "x-countersign-quorum", "people").([]any) {
			if p.(object)["keyid"] == fromID {
				p.(object)["keyid"] = toID
			}
		}
	}
}
