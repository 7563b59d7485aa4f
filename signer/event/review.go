package event

import (
	"time"

	"github.com/countersign-ota/countersign/proto/metadata"
)

// Review is what a person must see before signing, computed from the bytes to be signed and the
// verified state (DESIGN 3). It holds everything in full; the caller makes text of it, and passes all
// names, reasons and meanings through its printing function, since others wrote them.
type Review struct {
	Event      string `json:"event"`
	Deployment string `json:"deployment"`
	Kind       string `json:"kind"`
	Subject    string `json:"subject"`
	// Reason is why a release is withdrawn; empty for other kinds.
	Reason string `json:"reason,omitempty"`
	// Files are the proposed files, in their order.
	Files []FileReview `json:"files"`
	// Added and Removed are targets, ordered by path.
	Added   []TargetReview `json:"added,omitempty"`
	Removed []TargetReview `json:"removed,omitempty"`
	// Stops are the entries that come into a stop list, in its order, and those that leave it.
	Stops []StopReview `json:"stops,omitempty"`
	// Roles are the roles whose people, keys or quorum change.
	Roles []RoleReview `json:"roles,omitempty"`
	// Consequences say what follows for devices and people, one sentence each.
	Consequences []string `json:"consequences,omitempty"`
	// Warnings are what a person should stop at.
	Warnings []string `json:"warnings,omitempty"`
	// Quorum is who signed and who still can, by file and delegation.
	Quorum []QuorumReview `json:"quorum"`
	// Complete says that every file has its quorum.
	Complete bool `json:"complete"`
}

// FileReview is one proposed file.
type FileReview struct {
	Repository metadata.Repository `json:"repository"`
	Role       string              `json:"role"`
	// OldVersion is 0, and OldExpires zero, for a new role.
	OldVersion int64     `json:"old_version"`
	Version    int64     `json:"version"`
	OldExpires time.Time `json:"old_expires,omitzero"`
	Expires    time.Time `json:"expires"`
	// SHA256 is that of the canonical signed part; for a root it is the fingerprint that people read
	// to each other.
	SHA256 string `json:"sha256"`
}

// TargetReview is one target that is added or removed. Old values are those in force for its
// component; OldSpreadHours is -1 where no earlier entry is visible.
type TargetReview struct {
	Path           string                          `json:"path"`
	Version        string                          `json:"version"`
	Length         int64                           `json:"length"`
	SHA256         string                          `json:"sha256"`
	OldCounter     int64                           `json:"old_counter"`
	Counter        int64                           `json:"counter"`
	OldFloor       int64                           `json:"old_floor"`
	Floor          int64                           `json:"floor"`
	Component      string                          `json:"component"`
	Hardware       []string                        `json:"hardware"`
	Installer      string                          `json:"installer"`
	InstallerArgs  map[string]any                  `json:"installer_args"`
	Requires       []metadata.Requirement          `json:"requires,omitempty"`
	Conditions     *metadata.Conditions            `json:"conditions,omitempty"`
	OldSpreadHours int                             `json:"old_spread_hours"`
	SpreadHours    int                             `json:"spread_hours"`
	Class          string                          `json:"class"`
	Fixes          []string                        `json:"fixes,omitempty"`
	Evidence       map[string]metadata.EvidenceRef `json:"evidence,omitempty"`
}

// Where the target of a stop stands.
const (
	// StopListed: the product lists it.
	StopListed = "listed"
	// StopWithdrawn: the product listed it before.
	StopWithdrawn = "withdrawn"
	// StopUnseen: the base does not show that the product ever listed it; the server judges.
	StopUnseen = "unseen"
)

// StopReview is one entry of a stop list that comes or leaves.
type StopReview struct {
	Path    string    `json:"path"`
	Counter int64     `json:"counter"`
	SHA256  string    `json:"sha256"`
	At      time.Time `json:"at"`
	Reason  string    `json:"reason"`
	// Leaves says that the entry goes; its target has been gone for long enough.
	Leaves bool `json:"leaves"`
	// Target is StopListed, StopWithdrawn or StopUnseen; empty for one that leaves.
	Target string `json:"target,omitempty"`
	// Component and Hardware are those of a listed target.
	Component string   `json:"component,omitempty"`
	Hardware  []string `json:"hardware,omitempty"`
}

// RoleReview is what changes in who signs a role.
type RoleReview struct {
	Repository metadata.Repository `json:"repository"`
	Role       string              `json:"role"`
	// New says that the role is delegated for the first time.
	New          bool           `json:"new"`
	OldThreshold int            `json:"old_threshold"`
	Threshold    int            `json:"threshold"`
	Classes      []ClassReview  `json:"classes,omitempty"`
	People       []PersonReview `json:"people,omitempty"`
	// OldOnlineKey and OnlineKey are key ids of a role that the server signs.
	OldOnlineKey string `json:"old_online_key,omitempty"`
	OnlineKey    string `json:"online_key,omitempty"`
	// OldSBOM and SBOM are the policy of a product.
	OldSBOM string `json:"old_sbom,omitempty"`
	SBOM    string `json:"sbom,omitempty"`
	// Bins is how many bins a new product has; 0 for a flat one.
	Bins int `json:"bins,omitempty"`
	// OldRetired and Retired say whether a product takes no release any more.
	OldRetired bool `json:"old_retired,omitempty"`
	Retired    bool `json:"retired,omitempty"`
}

// ClassReview is how many people of a class must sign; 0 where the class is not required.
type ClassReview struct {
	Class      string `json:"class"`
	OldNeed    int    `json:"old_need"`
	Need       int    `json:"need"`
	OldMeaning string `json:"old_meaning,omitempty"`
	Meaning    string `json:"meaning,omitempty"`
}

// PersonReview is one person of a role. The old values are empty for one who is added, the new ones for
// one who is removed.
type PersonReview struct {
	ID       string `json:"id"`
	OldName  string `json:"old_name,omitempty"`
	Name     string `json:"name,omitempty"`
	OldClass string `json:"old_class,omitempty"`
	Class    string `json:"class,omitempty"`
	OldKeyID string `json:"old_keyid,omitempty"`
	KeyID    string `json:"keyid,omitempty"`
}

// Change says in a word what happens to the person: added, removed, changed or same.
func (p PersonReview) Change() string {
	switch {
	case p.OldKeyID == "":
		return "added"
	case p.KeyID == "":
		return "removed"
	case p.OldName != p.Name || p.OldClass != p.Class || p.OldKeyID != p.KeyID:
		return "changed"
	}
	return "same"
}

// QuorumReview is how far one delegation of one file is.
type QuorumReview struct {
	// File is the index in Files.
	File int `json:"file"`
	// By says whose people they are, as Signers.By.
	By       string         `json:"by"`
	Classes  []QuorumOfRole `json:"classes"`
	Complete bool           `json:"complete"`
}

// QuorumOfRole is one class of a QuorumReview.
type QuorumOfRole struct {
	Class   string         `json:"class"`
	Meaning string         `json:"meaning"`
	Need    int            `json:"need"`
	Signed  []SignedReview `json:"signed"`
	// Can are the ids of those who still can, ordered.
	Can []string `json:"can"`
}

// SignedReview is one person who signed, with what their approval says.
type SignedReview struct {
	ID     string    `json:"id"`
	Name   string    `json:"name"`
	At     time.Time `json:"at"`
	Reason string    `json:"reason"`
}

// Review returns the review. It can be asked for again after Add.
func (j *Judgement) Review() *Review {
	p := &j.Event.Proposal
	r := &Review{Event: j.id, Deployment: p.Deployment, Kind: p.Kind, Subject: p.Subject, Reason: p.Reason, Complete: j.Complete}
	for i, f := range j.Files {
		r.Files = append(r.Files, FileReview{
			Repository: f.Repository, Role: f.Role, OldVersion: f.OldVersion, Version: f.NewVersion,
			OldExpires: f.OldExpires, Expires: f.Expires, SHA256: hexOf(f.Digest),
		})
		for _, s := range f.Signers {
			r.Quorum = append(r.Quorum, j.quorumReview(i, s))
		}
	}
	t := reviewer{j.trial, r}
	t.targets()
	t.stops()
	t.roles()
	t.nearLimit()
	t.versions()
	t.alike()
	if j.Example {
		r.Warnings = append(r.Warnings, "a key is one of keys-example, with which everybody can sign: servers and devices refuse it")
	}
	return r
}

func (j *Judgement) quorumReview(file int, s Signers) QuorumReview {
	q := QuorumReview{File: file, By: s.By, Complete: s.Tally.Complete}
	for _, c := range s.Tally.Classes {
		class := QuorumOfRole{Class: c.Class, Meaning: c.Meaning, Need: c.Need, Signed: []SignedReview{}, Can: []string{}}
		for _, p := range c.Signed {
			signed := SignedReview{ID: p.ID, Name: p.Name}
			for _, a := range j.tally.approvals {
				if a.statement.Person == p.ID && a.covers(j.trial.files[file]) {
					signed.At, signed.Reason = a.statement.At, a.statement.Reason
					break
				}
			}
			class.Signed = append(class.Signed, signed)
		}
		for _, p := range c.Can {
			class.Can = append(class.Can, p.ID)
		}
		q.Classes = append(q.Classes, class)
	}
	return q
}
