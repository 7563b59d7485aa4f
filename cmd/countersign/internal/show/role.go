package show

import (
	"fmt"
	"slices"
	"strings"

	"github.com/countersign-ota/countersign/cmd/internal/cli"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/signer/event"
)

// roles writes who may sign the roles: all of it for a new one, else each change, old → new; people
// before the server's own.
func (w *writer) roles(roles []event.RoleReview) {
	var people, online groups
	for _, r := range inOrder(roles, func(r event.RoleReview) (metadata.Repository, string) { return r.Repository, r.Role }) {
		name := fileName(r.Repository, r.Role)
		switch {
		case r.OnlineKey != "" && r.New:
			online.add("online", fmt.Sprintf("key %.12s of the server", r.OnlineKey), name)
		case r.OnlineKey != "":
			online.add("online", fmt.Sprintf("key %.12s → %.12s of the server", r.OldOnlineKey, r.OnlineKey), name)
		case r.New:
			people.add("people", strings.Join(newRole(&r), "; "), name)
		default:
			people.add("changes", strings.Join(changes(&r), "; "), name)
		}
	}
	for _, g := range []groups{people, online} {
		for _, s := range g.order {
			w.line(s.word, "%s: %s", strings.Join(g.names[s], ", "), s.text)
		}
	}
	w.keys(roles)
}

// keys writes the id of each key that comes in full, once: its first digits could be those of another
// key that somebody looked for.
func (w *writer) keys(roles []event.RoleReview) {
	var owners, online []string
	for _, r := range roles {
		if r.OnlineKey != r.OldOnlineKey {
			online = append(online, r.OnlineKey)
		}
		for _, p := range r.People {
			if p.KeyID != "" && p.KeyID != p.OldKeyID {
				owners = append(owners, p.ID+" "+p.KeyID)
			}
		}
	}
	for i, list := range [][]string{owners, online} {
		slices.Sort(list)
		for _, text := range slices.Compact(list) {
			if i == 1 {
				text = "the server " + text
			}
			w.line("key", "%s", text)
		}
	}
}

// newRole says `holder 2 of chen 3abd72ec6352, rivera 8ba35ebe3d5c, "approved"`, by class.
func newRole(r *event.RoleReview) []string {
	var parts []string
	for _, c := range r.Classes {
		var people []string
		for _, p := range r.People {
			if p.Class == c.Class {
				people = append(people, person(p.ID, p.Name, p.KeyID))
			}
		}
		text := fmt.Sprintf("%s %d of %s", c.Class, c.Need, strings.Join(people, ", "))
		if c.Meaning != "" {
			text += ", " + cli.Quote(c.Meaning)
		}
		parts = append(parts, text)
	}
	if r.SBOM != "" {
		parts = append(parts, "sbom "+r.SBOM)
	}
	if r.Bins > 0 {
		parts = append(parts, fmt.Sprintf("%d bins", r.Bins))
	}
	if r.Retired {
		parts = append(parts, "retired")
	}
	return parts
}

func person(id, name, keyid string) string {
	return fmt.Sprintf("%s %.12s", called(id, name), keyid)
}

// changes lists what differs: needs and meanings of classes, people, threshold, SBOM policy.
func changes(r *event.RoleReview) []string {
	var parts []string
	if r.OldThreshold != r.Threshold {
		parts = append(parts, fmt.Sprintf("threshold %d → %d", r.OldThreshold, r.Threshold))
	}
	for _, c := range r.Classes {
		if c.OldNeed != c.Need {
			parts = append(parts, fmt.Sprintf("%s %d → %d", c.Class, c.OldNeed, c.Need))
		}
		if c.OldMeaning != c.Meaning {
			parts = append(parts, fmt.Sprintf("%s means %s → %s", c.Class, cli.Quote(c.OldMeaning), cli.Quote(c.Meaning)))
		}
	}
	for _, p := range r.People {
		switch p.Change() {
		case "added":
			parts = append(parts, fmt.Sprintf("added %s as %s", person(p.ID, p.Name, p.KeyID), p.Class))
		case "removed":
			parts = append(parts, fmt.Sprintf("removed %s, was %s", person(p.ID, p.OldName, p.OldKeyID), p.OldClass))
		case "changed":
			parts = append(parts, fmt.Sprintf("%s, was %s, as %s", person(p.ID, p.Name, p.KeyID), person(p.ID, p.OldName, p.OldKeyID), arrow(p.OldClass, p.Class)))
		}
	}
	if r.OldSBOM != r.SBOM {
		parts = append(parts, fmt.Sprintf("sbom %s → %s", r.OldSBOM, r.SBOM))
	}
	if r.OldRetired != r.Retired {
		parts = append(parts, "retired, for ever")
	}
	return parts
}

func arrow(old, now string) string {
	if old == now {
		return now
	}
	return old + " → " + now
}
