// Package state keeps what the agent must not lose: the record, which is its commit point
// (DESIGN 5.1, docs/formats.md). It owns the agent's directory and its lock; role files lie beside
// the record and are written by agent/trust, staged images by agent/internal/stage.
//
// Start with Open, which takes the lock, reads the record and heals a damaged copy; Commit makes a
// new record durable. Load reads the record without the lock, for status.
//
// A record is authenticated by nothing: whoever can write the directory can write it. The checksum
// finds damage, not an attacker, who as the agent's own user has won already.
package state

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"google.golang.org/protobuf/proto"

	"github.com/countersign-ota/countersign/internal/durable"
	"github.com/countersign-ota/countersign/proto/reason"
)

// Names in the agent's directory.
const (
	lockName   = "lock"
	copies     = 2
	roleSuffix = ".json"
)

// repositories are the folders of role files.
var repositories = []string{"image", "director"}

func copyName(i int) string { return fmt.Sprintf("record.%d", i) }

// Store is the agent's directory, locked. It is not safe for concurrent use.
type Store struct {
	dir  string
	lock io.Closer
	rec  *Record
	seq  uint64
	// damaged holds what Open found wrong, one line a copy.
	damaged []string
	lost    bool
}

// Open creates dir (mode 0700) where it is missing, locks it and reads the record. A second process
// gets reason locked. A single damaged, missing or older copy is written again from the good one
// before Open returns. When both are damaged, or gone while role files are there, Lost reports true
// and the record is empty; nothing is written then until the first Commit.
func Open(dir string) (*Store, error) {
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return nil, machine(err, "directory %q", dir)
	}
	lock, err := durable.Lock(filepath.Join(dir, lockName))
	if err != nil {
		if errors.Is(err, durable.ErrLocked) {
			return nil, reason.Errorf(reason.Locked, "another process uses %q", dir).
				WithHint("stop the other agent, or wait until it is done")
		}
		return nil, machine(err, "lock of %q", dir)
	}
	s := &Store{dir: dir, lock: lock}
	if err := s.read(); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return s, nil
}

// read loads the record, heals the copies and removes what killed processes left behind.
func (s *Store) read() error {
	for _, name := range append([]string{"."}, repositories...) {
		dir := filepath.Join(s.dir, name)
		if err := durable.Sweep(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return machine(err, "directory %q", dir)
		}
	}
	found := readCopies(s.dir)
	s.rec, s.seq, s.lost = found.rec, found.seq, found.lost
	s.damaged = found.damaged
	if s.seq == 0 {
		return nil
	}
	for i := range copies {
		if found.seqs[i] == s.seq {
			continue
		}
		if err := s.write(i, s.seq, s.rec); err != nil {
			return err
		}
	}
	return nil
}

// Record returns a copy of the record in force.
func (s *Store) Record() *Record { return proto.Clone(s.rec).(*Record) }

// Lost reports whether Open found both copies damaged or gone.
func (s *Store) Lost() bool { return s.lost }

// Damaged returns one line for each copy that Open could not read, for the log.
func (s *Store) Damaged() []string { return s.damaged }

// Roles makes the folder for the role files of a repository, "image" or "director", and returns it.
func (s *Store) Roles(repository string) (string, error) {
	dir := filepath.Join(s.dir, repository)
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return "", machine(err, "directory %q", dir)
	}
	return dir, nil
}

// Commit makes r the record in force: when it returns nil, both copies are durable. Committing an
// equal record writes nothing. After an error, Record returns what a restart would find, which is
// the new record if one copy took it and the old one otherwise.
func (s *Store) Commit(r *Record) error {
	if s.seq > 0 && proto.Equal(r, s.rec) {
		return nil
	}
	next := proto.Clone(r).(*Record)
	seq := s.seq + 1
	for i := range copies {
		// The copies take turns in being first, so that neither wears out before the other.
		if err := s.write(int((seq+uint64(i))%copies), seq, next); err != nil {
			if found := readCopies(s.dir); found.seq >= s.seq && found.seq > 0 {
				s.rec, s.seq = found.rec, found.seq
			}
			return err
		}
	}
	s.rec, s.seq = next, seq
	return nil
}

// Close releases the lock. It writes nothing.
func (s *Store) Close() error { return s.lock.Close() }

func (s *Store) write(i int, seq uint64, r *Record) error {
	data, err := encode(seq, r)
	if err != nil {
		return err
	}
	if err := durable.Replace(filepath.Join(s.dir, copyName(i)), data, 0o600); err != nil {
		return machine(err, "record")
	}
	return nil
}

// Load reads the record in dir without the lock and changes nothing. It returns reason state-lost
// when no copy is valid, and an empty record where no agent has run yet.
func Load(dir string) (*Record, error) {
	if _, err := os.Stat(dir); err != nil {
		return nil, machine(err, "directory %q", dir)
	}
	found := readCopies(dir)
	if found.lost {
		return nil, reason.Errorf(reason.StateLost, "both copies of the record in %q are damaged", dir)
	}
	return found.rec, nil
}

// copiesFound is what the two copies hold. seq is 0 when neither is valid.
type copiesFound struct {
	rec     *Record
	seq     uint64
	seqs    [copies]uint64
	damaged []string
	lost    bool
}

func readCopies(dir string) copiesFound {
	found := copiesFound{rec: new(Record)}
	present := false
	for i := range copies {
		data, err := readBounded(filepath.Join(dir, copyName(i)), int64(headerLen+MaxRecord+sumLen))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		present = true
		var seq uint64
		var rec *Record
		if err == nil {
			seq, rec, err = decode(data)
		}
		if err != nil {
			found.damaged = append(found.damaged, fmt.Sprintf("%s: %v", copyName(i), err))
			continue
		}
		found.seqs[i] = seq
		if seq > found.seq {
			found.rec, found.seq = rec, seq
		}
	}
	// A directory with role files and no record is not a new one: its record was deleted.
	found.lost = found.seq == 0 && (present || hasRoles(dir))
	return found
}

// hasRoles reports whether a role file lies in the agent's directory.
func hasRoles(dir string) bool {
	for _, repository := range repositories {
		found, err := filepath.Glob(filepath.Join(dir, repository, "*"+roleSuffix))
		if err == nil && len(found) > 0 {
			return true
		}
	}
	return false
}

// readBounded reads a file of at most limit bytes; a longer one is damaged.
func readBounded(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // nothing was written
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%w: more than %d bytes", errDamaged, limit)
	}
	return data, nil
}

// machine gives an error of the file system its reason.
func machine(err error, format string, args ...any) error {
	what := fmt.Sprintf(format, args...)
	if durable.IsFull(err) {
		return reason.Errorf(reason.DiskFull, "%s: %w", what, err)
	}
	return reason.Errorf(reason.StateDamaged, "%s: %w", what, err)
}
