// Package trust is the TUF client of a device: it decides which role files and which targets of one
// repository are genuine and current (TUF 1.0.34, client workflow 5.3 to 5.6).
//
// Start with New, then Refresh and Target. Image and director repository are two clients with two
// stores. A client reads the clock, the network and the disk only through its Config and a Fetcher.
// It writes role files, each as soon as it verified, and never a record: after every call, whether it
// failed or not, the caller commits InForce, so that versions bind even when a role file is damaged
// or gone (DESIGN 5.1).
//
// Two modes share the code. The Countersign profile (DESIGN 1.1 to 1.5) is the zero value; it checks
// scope, quorum and every rule of section 1 before a file reaches go-tuf's trustedmetadata, which
// then judges it a second time. Plain TUF serves conformance tests and is reached by no
// configuration of the agent.
//
// Not protected against: whoever can write the device's directory can replace role files and record
// together, as with every TUF client. Firmware bytes are not read here; a Target says what they must
// be.
package trust

import (
	"context"
	"errors"
	"time"

	"github.com/countersign-ota/countersign/proto/metadata"
)

// ErrNotFound is what a Fetcher returns, wrapped or not, for a file that the repository does not
// have. It ends a chain of roots; for every other role it is an error.
var ErrNotFound = errors.New("no such role file")

// Fetcher brings role files from a repository. It need not be trusted.
type Fetcher interface {
	// Fetch returns a role file as served. Version 0 means the newest: always for the timestamp,
	// and for the other roles except root where the root says that snapshots are not consistent. It
	// MUST NOT return more than max bytes: a longer file is reason too-large. A file that does not
	// exist is ErrNotFound.
	Fetch(ctx context.Context, role string, version, max int64) ([]byte, error)
}

// RootCopy is the name under which the profile stores the second copy of the root.
const RootCopy = "root.copy"

// Store keeps role files between runs, one a role, plus RootCopy. FileStore is one.
type Store interface {
	// Load returns the stored bytes, or nil without an error when there are none. An error counts
	// as a damaged file: the role is fetched anew.
	Load(role string) ([]byte, error)
	// Save replaces the stored bytes. They MUST be durable on return, and a power cut MUST leave the
	// old bytes or the new ones.
	Save(role string, data []byte) error
	// Drop removes the stored bytes, if any.
	Drop(role string) error
}

// InForce is the newest verified version of a role.
type InForce struct {
	Version int64
	// SHA256 is that of the whole file.
	SHA256 [32]byte
	// Expires is for people only; zero when unknown.
	Expires time.Time
	// Keys names the online keys of the root under which the file was verified, for roles under
	// online keys; nil for others. A version binds only while these are the keys of the root
	// (fast-forward recovery, DESIGN 1.5), so no order of writing files and record can lock a
	// device out.
	Keys []byte
}

// Config is what a Client needs. Mode, Deployment, Repository, Store and Now are required (the first
// and third have useful zero values only in tests of plain TUF).
type Config struct {
	// Mode is metadata.Profile, the zero value, everywhere but in conformance tests.
	Mode metadata.Mode
	// Deployment and Repository are what the scope of every file must name. Unused in plain mode.
	Deployment string
	Repository metadata.Repository
	// Root is the embedded root, trusted because it came with the agent. A newer stored root wins.
	// It may be empty when the store holds a root.
	Root []byte
	// Store holds the role files.
	Store Store
	// Now tells the time that expiry is judged by. A Refresh asks once (TUF 5.1).
	Now func() time.Time
	// Versions is what InForce returned when the record was last committed; nil without a record.
	Versions map[string]InForce
}

// Expiry says until when a role file that is in force holds.
type Expiry struct {
	Role    string
	Version int64
	Expires time.Time
	Expired bool
}

// Target is a target that verified metadata names: nobody but this package makes one. It says what
// the bytes must be, not that anybody has seen them.
type Target struct {
	Path   string
	Length int64
	// SHA256 is zero when only another hash is stated, which only plain TUF allows.
	SHA256 [32]byte
	// Hashes are all stated hashes by name; in the profile exactly sha256.
	Hashes map[string][]byte
	// Firmware is the signed firmware document; nil in plain mode.
	Firmware *metadata.Firmware
	// Custom is the canonical JSON of custom.countersign; nil in plain mode.
	Custom []byte
	// Role is the role file that lists the target.
	Role string
	// Expires is the earliest expiry among root, top-level targets and the roles that lead to the
	// target.
	Expires time.Time
	// Stop is the entry that stops this target; Target never returns one that has it.
	Stop *metadata.StopEntry
}
