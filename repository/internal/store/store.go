// Package store keeps what the server must not forget: published role files, events, operators,
// devices, tokens and the audit log, in typed transactions (DESIGN 4.4).
//
// Start with Store: View reads one state, Update changes it whole or not at all. The records are
// protobuf messages of proto/countersign/v1; keys and order are the interface's matter, so the same
// rooms can stand on bbolt (store/bolt) or another database later. storetest holds the suite that
// judges every implementation. Rules that must hold whatever the database are in this package
// (rules.go): no version has two contents, what is used up stays so, one open event a role, one owner
// a key, and no change without an audit entry.
//
// The store holds secrets (tokens) in the clear and trusts whoever can write its files.
package store

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"iter"

	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/metadata"
)

// ErrNotFound says that there is no such record. Errors that wrap it carry reason not-found.
var ErrNotFound = errors.New("not found")

// ErrNoAudit says that a transaction ended without an audit entry. It is a bug of the caller; nothing
// was changed.
var ErrNoAudit = errors.New("store: a change without an audit entry")

// Store is a set of records under transactions. It is safe for concurrent use.
type Store interface {
	// View calls fn with one state of the store, which no later Update changes. The View MUST NOT be
	// used after fn returned, nor may fn call Update, which could wait for ever. View returns what fn
	// returns.
	View(ctx context.Context, fn func(View) error) error

	// Update calls fn and makes its changes durable, all or none; when it returns nil, they survive a
	// power cut. If fn fails, nothing changes and Update returns fn's error.
	//
	// fn may run more than once, since many callers share one commit, so it MUST have no effects
	// outside of tx but on variables that it sets anew each time. It MUST call tx.Audit at least once
	// (ErrNoAudit otherwise). Calls take effect in one order, and each fn sees all before it.
	//
	// A ctx that ends before fn ran ends Update without a change; later it is not looked at, so that
	// nobody is told that a durable change failed. Reasons: disk-full, state-damaged, busy (the
	// store is closed) and those of Tx.
	Update(ctx context.Context, fn func(Tx) error) error

	// Close waits for transactions that run and closes the store; Update then fails with reason busy.
	Close() error
}

// EventID is the SHA-256 of an event's frozen proposal.
type EventID [32]byte

// String returns the id in hex.
func (id EventID) String() string { return hex.EncodeToString(id[:]) }

// View reads one state. Records that it returns belong to the caller. A record that is not there is
// ErrNotFound; one that cannot be read has reason state-damaged. Lists are sorted as stated.
type View interface {
	// Meta returns a value that SetMeta wrote.
	Meta(key string) (string, error)

	// Current returns the newest version of a role that was published.
	Current(r metadata.Repository, role string) (version int64, rec *pb.RoleRecord, err error)
	// Role returns one version of a role.
	Role(r metadata.Repository, role string, version int64) (*pb.RoleRecord, error)
	// Roles returns the newest version of every role of a repository, by role.
	Roles(r metadata.Repository) ([]RoleVersion, error)
	// Used returns up to where versions and counters of a role are used up.
	Used(r metadata.Repository, role string) (*pb.UsedRecord, error)

	// Event returns an event.
	Event(id EventID) (*pb.EventRecord, error)
	// EventsByPrefix returns the ids whose hex form begins with prefix (lower case), in order, at
	// most limit of them. A prefix that is no hex matches nothing.
	EventsByPrefix(prefix string, limit int) ([]EventID, error)
	// Events yields events, newest first by the order of opening, without reading more than it
	// yields. After an error it stops.
	Events(q EventQuery) iter.Seq2[Event, error]
	// OpenEvent returns the event that is open on a role, if there is one.
	OpenEvent(r metadata.Repository, role string) (id EventID, ok bool, err error)

	// Blob returns what is known of a file. Blobs yields all of them, by SHA-256, without reading more
	// than it yields; after an error it stops.
	Blob(sha256 [32]byte) (*pb.BlobRecord, error)
	Blobs() iter.Seq2[Blob, error]

	// Newer returns verified role files that are newer than those in force, by repository (image first),
	// role and version.
	Newer() ([]Newer, error)

	// Operator returns a person; OperatorByKey finds the person by the DER SubjectPublicKeyInfo of
	// the connection key in force or of the next one. Operators returns all, by id.
	Operator(id string) (*pb.OperatorRecord, error)
	OperatorByKey(spki []byte) (id string, rec *pb.OperatorRecord, err error)
	Operators() ([]Operator, error)

	// Device returns a device; DeviceByKey finds it by the key in force. Devices yields all, by id,
	// without reading more than it yields; after an error it stops.
	Device(id string) (*pb.DeviceRecord, error)
	DeviceByKey(spki []byte) (id string, rec *pb.DeviceRecord, err error)
	Devices() iter.Seq2[Device, error]

	// Token returns a one-time token; Tokens returns all, by id.
	Token(id string) (*pb.TokenRecord, error)
	Tokens() ([]Token, error)

	// AuditLog returns entries from sequence number from on, in order, at most limit of them. The
	// first one has number 1; there are no gaps.
	AuditLog(from uint64, limit int) ([]AuditEntry, error)
}

// Tx is a View that also writes; it sees its own writes. What is handed to it is copied.
type Tx interface {
	View

	// Audit writes an entry and returns its sequence number, which is final only once Update returned.
	Audit(rec *pb.AuditRecord) (seq uint64, err error)

	// SetMeta stores a value. Keys that the implementation uses itself (MetaFormat) are refused.
	SetMeta(key, value string) error

	// PutRole publishes a version of a role and makes it the current one. The same record again
	// changes nothing. Reasons: version-used if the version has other content (DESIGN 1.5),
	// event-published if it has the same content in other bytes, rollback if a newer one is current.
	PutRole(r metadata.Repository, role string, version int64, rec *pb.RoleRecord) error
	// PutUsed uses up versions and counters up to rec's; neither ever falls, lower ones change nothing.
	PutUsed(r metadata.Repository, role string, rec *pb.UsedRecord) error

	// PutEvent stores an event. A new one gets the next order, whatever rec says; a stored one keeps
	// its order. rec.Order is set on return.
	PutEvent(id EventID, rec *pb.EventRecord) error
	// SetOpen makes an event the one that is open on a role; reason role-open if another one is.
	SetOpen(r metadata.Repository, role string, id EventID) error
	// ClearOpen ends what is open on a role; that nothing is, is no error.
	ClearOpen(r metadata.Repository, role string) error

	// PutBlob stores what is known of a file.
	PutBlob(sha256 [32]byte, rec *pb.BlobRecord) error

	// PutNewer keeps a verified role file for recovery, in place of one that is kept for this version.
	// Reason integer-range.
	PutNewer(r metadata.Repository, role string, version int64, rec *pb.NewerRecord) error
	// DeleteNewer removes one; that there is none is no error.
	DeleteNewer(r metadata.Repository, role string, version int64) error

	// PutOperator and PutDevice store a person or device and find it by its keys from then on, no
	// longer by older ones. Reason key-twice if a key is another's.
	PutOperator(id string, rec *pb.OperatorRecord) error
	PutDevice(id string, rec *pb.DeviceRecord) error

	// PutToken stores a one-time token.
	PutToken(id string, rec *pb.TokenRecord) error
	// DeleteToken removes a token; that there is none is no error.
	DeleteToken(id string) error
}

// Keys of Meta.
const (
	// MetaFormat is the version of the stored form; the implementation writes it.
	MetaFormat = "format"
	// MetaDeployment is the name of the deployment, which never changes.
	MetaDeployment = "deployment"
	// MetaRestored says that the store is a restored copy and what is known about it: until recovery
	// empties it, nothing is signed, opened or published.
	MetaRestored = "restored"
	// MetaUnsigned is not empty while the snapshot in force does not name all roles in force, since the
	// root names online keys that this server does not have.
	MetaUnsigned = "unsigned"
)

// Snapshotter is a Store that can copy itself while it is used.
type Snapshotter interface {
	// Snapshot writes one state of the store to w, in the form that the implementation opens, and lets
	// updates go on meanwhile.
	Snapshot(ctx context.Context, w io.Writer) error
}

// RoleVersion is a role and its newest version.
type RoleVersion struct {
	Role    string
	Version int64
}

// Event is an event and its id.
type Event struct {
	ID     EventID
	Record *pb.EventRecord
}

// EventQuery chooses events. The zero value means all that are open, from the newest on.
type EventQuery struct {
	// All also yields events that hold no role open: published, stale, cancelled.
	All bool
	// Before yields only events of a lower order, for the next page; 0 means from the newest.
	Before uint64
}

// Operator is a person and their id.
type Operator struct {
	ID     string
	Record *pb.OperatorRecord
}

// Device is a device and its id.
type Device struct {
	ID     string
	Record *pb.DeviceRecord
}

// Blob is a file and its SHA-256.
type Blob struct {
	SHA256 [32]byte
	Record *pb.BlobRecord
}

// Newer is a version of a role that is not in force.
type Newer struct {
	Repository metadata.Repository
	Role       string
	Version    int64
	Record     *pb.NewerRecord
}

// Token is a one-time token and its id.
type Token struct {
	ID     string
	Record *pb.TokenRecord
}

// AuditEntry is an entry of the audit log and its number.
type AuditEntry struct {
	Seq    uint64
	Record *pb.AuditRecord
}
