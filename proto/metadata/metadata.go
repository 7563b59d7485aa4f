// Package metadata holds the TUF role files as Countersign uses them: strict bounded parsing, ids,
// key ids, scope, canonical signing, verification with quorum, the firmware document and the stop
// list. Signer, server and device share it, so there is one meaning of every signed byte.
//
// Start with Parse, which turns outside bytes into a File, and Delegation.Verify, which says whether
// enough people signed it. Nothing here reads a clock, a disk or a network. A File that was parsed is
// not yet verified; agent/trust and signer/event decide that.
package metadata

import (
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// RootRole is the signed part of a root file, as go-tuf has it, like the types below.
type RootRole = metadata.RootType

// TimestampRole is the signed part of a timestamp file.
type TimestampRole = metadata.TimestampType

// SnapshotRole is the signed part of a snapshot file.
type SnapshotRole = metadata.SnapshotType

// TargetsRole is the signed part of top-level targets, a product, a stop list or a bin.
type TargetsRole = metadata.TargetsType

// Key is a public key as role files list it.
type Key = metadata.Key

// Signature is one signature of a role file.
type Signature = metadata.Signature

// TargetFile is one entry of a targets file.
type TargetFile = metadata.TargetFiles

// Names of the four top-level roles.
const (
	Root      = metadata.ROOT
	Timestamp = metadata.TIMESTAMP
	Snapshot  = metadata.SNAPSHOT
	Targets   = metadata.TARGETS
)

// Repository is one of the two repositories of a deployment (DESIGN 1.1).
type Repository string

// The two repositories.
const (
	Image    Repository = "image"
	Director Repository = "director"
)

// Mode decides which rules Parse applies beyond TUF itself.
type Mode int

const (
	// Profile is the Countersign profile (DESIGN 1.1); the zero value.
	Profile Mode = iota
	// Plain is TUF 1.0.34 as other clients understand it, for conformance tests only.
	Plain
)
