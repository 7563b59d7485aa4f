package outsider

import (
	"time"

	"github.com/countersign-ota/countersign/proto/reason"
)

// Report says what a repository proves about a release. All of it was verified, but for what is said to
// be missing or not proven. The JSON names are stable.
type Report struct {
	Deployment string `json:"deployment"`
	// Subject is the release or target that was asked for.
	Subject string `json:"subject"`
	// Root is the root that the person trusts.
	Root Root `json:"root"`
	// Targets are ordered by path.
	Targets []Target `json:"targets"`
	// Released says who released the targets, by the role and version that listed them first.
	Released []Released `json:"released"`
	// Roles are the role files on the way: each root from the trusted one on, top-level targets, the
	// product, its bins, its stop list.
	Roles []Role `json:"roles"`
	// Online are snapshot and timestamp, which the server signs and nobody approves.
	Online []Role `json:"online"`
	// Refused is the reason for which the release is not to be used, although the rest of the report
	// holds; empty when it may.
	Refused reason.Reason `json:"refused,omitempty"`

	refusal error
}

// Err returns why the release is not to be used; nil when it may. What is not authentic comes first.
func (r *Report) Err() error { return r.refusal }

// refuse notes a reason. The first stays, unless the later one says that something is not authentic.
func (r *Report) refuse(err error) {
	if r.refusal == nil || (reason.Of(err).Class() == reason.NotAuthentic && r.Refused.Class() != reason.NotAuthentic) {
		r.refusal, r.Refused = err, reason.Of(err)
	}
}

// Root is a version of the image root.
type Root struct {
	Version int64 `json:"version"`
	// SHA256 is the fingerprint that people read to each other: that of the signed part.
	SHA256 string `json:"sha256"`
}

// Target is one image of the release.
type Target struct {
	Path      string   `json:"path"`
	Counter   int64    `json:"counter"`
	Floor     int64    `json:"floor"`
	Component string   `json:"component"`
	Installer string   `json:"installer"`
	Hardware  []string `json:"hardware"`
	Class     string   `json:"class"`
	Length    int64    `json:"length"`
	SHA256    string   `json:"sha256"`
	// Role is the role file that lists it.
	Role string `json:"role"`
	// Stop is the entry that stops it, if there is one.
	Stop *Stop `json:"stop,omitempty"`
	// Bytes are those that were compared; nil when there were none.
	Bytes *Bytes `json:"bytes,omitempty"`
}

// Stop is an entry of the product's stop list.
type Stop struct {
	At     time.Time `json:"at"`
	Reason string    `json:"reason"`
}

// Bytes is a file that was compared with a target.
type Bytes struct {
	// File is its path on this machine; empty for the image that the repository gave.
	File   string `json:"file,omitempty"`
	Length int64  `json:"length"`
	SHA256 string `json:"sha256"`
	Same   bool   `json:"same"`
}

// Role is a verified role file.
type Role struct {
	Role    string `json:"role"`
	Version int64  `json:"version"`
	// SHA256 is that of the canonical signed part; empty for online roles.
	SHA256  string    `json:"sha256,omitempty"`
	Expires time.Time `json:"expires"`
	Expired bool      `json:"expired"`
	// Signers are the people whose signatures count, by class and id; absent for online roles.
	Signers []Signer `json:"signers,omitempty"`
}

// Signer is a person whose signature of a role file is valid.
type Signer struct {
	Person string `json:"person"`
	// Name is the printed name that the quorum has; may be empty.
	Name    string `json:"name"`
	Class   string `json:"class"`
	Meaning string `json:"meaning"`
	KeyID   string `json:"keyid"`
	// Approval is what the person said; nil when the repository keeps none.
	Approval *Approval `json:"approval,omitempty"`
}

// Approval is a verified statement of a person about a role file (DESIGN 1.7).
type Approval struct {
	// Name, Class and Meaning are what they signed; the quorum may have other words by now.
	Name    string    `json:"name"`
	Class   string    `json:"class"`
	Meaning string    `json:"meaning"`
	At      time.Time `json:"at"`
	Reason  string    `json:"reason"`
	Event   string    `json:"event"`
}
