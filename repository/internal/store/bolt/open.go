package bolt

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/countersign-ota/countersign/internal/durable"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/repository/internal/store"
)

// Options adjust a store; the zero value is right for a server.
type Options struct {
	// LockTimeout is how long Open waits for another process to let go of the file; 0 means 1 s.
	LockTimeout time.Duration
	// Window is how long a commit waits for more writers; 0 means 1 ms.
	Window time.Duration
	// MaxBatch is the most writers that share a commit; 0 means 256, 1 gives each its own.
	MaxBatch int
}

// initialMap is how many bytes of address space are set aside for the file.
const initialMap = 1 << 30

func (o Options) withDefaults() Options {
	if o.LockTimeout == 0 {
		o.LockTimeout = time.Second
	}
	if o.Window == 0 {
		o.Window = time.Millisecond
	}
	if o.MaxBatch == 0 {
		o.MaxBatch = 256
	}
	return o
}

// Create makes a new file (0600) with empty buckets, durably, and opens it. The folder must exist.
// Reasons: exists, disk-full.
func Create(path string, o Options) (*Store, error) {
	if _, err := os.Lstat(path); err == nil {
		return nil, reason.Errorf(reason.Exists, "store %q exists", path)
	}
	// It gets its name when it is whole, so a power cut leaves no store without buckets.
	fresh, err := durable.Temp(filepath.Dir(path), 0o600)
	if err != nil {
		return nil, fileError(err, path)
	}
	if err := initialise(fresh.Name()); err != nil {
		return nil, fileError(errors.Join(err, fresh.Close()), path)
	}
	if err := fresh.RenameNew(path); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return nil, reason.Errorf(reason.Exists, "store %q exists", path)
		}
		return nil, fileError(err, path)
	}
	return Open(path, o)
}

func initialise(path string) error {
	db, err := bolt.Open(path, 0o600, boltOptions(time.Second))
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bolt.Tx) error {
		for _, name := range buckets {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		return tx.Bucket(bucketMeta).Put([]byte(store.MetaFormat), []byte(strconv.Itoa(format)))
	})
	return errors.Join(err, db.Close())
}

// Open opens a file that Create made and checks its structure. It makes none: a store that is gone
// must be noticed. Reasons: locked if another process has it, state-damaged if it is missing
// (fs.ErrNotExist then), empty or damaged, config if a newer program wrote it.
func Open(path string, o Options) (*Store, error) {
	o = o.withDefaults()
	s := &Store{path: path}
	options := boltOptions(o.LockTimeout)
	options.OpenFile = func(path string, flag int, mode os.FileMode) (*os.File, error) {
		return openChecked(path, flag&^os.O_CREATE, mode, o.LockTimeout)
	}
	err := s.guard(func() (err error) {
		s.db, err = bolt.Open(path, 0o600, options)
		return err
	})
	if err != nil {
		return nil, fileError(err, path)
	}
	if err := s.addBuckets(); err != nil {
		_ = s.db.Close()
		return nil, err
	}
	if err := s.checkFormat(); err != nil {
		_ = s.db.Close()
		return nil, err
	}
	s.group = newGroup(s, o.Window, o.MaxBatch)
	return s, nil
}

// addBuckets makes the buckets that came later, where the file is otherwise one of ours. It writes
// nothing when all are there.
func (s *Store) addBuckets() error {
	missing := false
	err := s.view(func(t *tx) error {
		return s.guard(func() error {
			for _, name := range added {
				missing = missing || t.b.Bucket(name) == nil
			}
			missing = missing && t.b.Bucket(bucketMeta) != nil
			return nil
		})
	})
	if err != nil || !missing {
		return err
	}
	return fileError(s.guard(func() error {
		return s.db.Update(func(tx *bolt.Tx) error {
			for _, name := range added {
				if _, err := tx.CreateBucketIfNotExists(name); err != nil {
					return err
				}
			}
			return nil
		})
	}), s.path)
}

// boltOptions are those of every handle. NoFreelistSync: the list of free pages is not written with
// each commit, which would cost pages that grow with the list; it is found again at Open, where the
// file is read once anyway. FreelistMapType: finding a run of free pages takes constant time; the
// array takes time that grows with the list.
func boltOptions(timeout time.Duration) *bolt.Options {
	return &bolt.Options{
		Timeout:        timeout,
		NoFreelistSync: true,
		FreelistType:   bolt.FreelistMapType,
		NoStatistics:   true,
		// Growing beyond the map waits for readers; this much address space costs no memory.
		InitialMmapSize: initialMap,
	}
}

// openChecked opens and locks the file and checks its pages before bbolt sees them. bbolt then locks
// the same open file again, which succeeds.
func openChecked(path string, flag int, mode os.FileMode, timeout time.Duration) (*os.File, error) {
	f, err := os.OpenFile(path, flag, mode)
	if err != nil {
		return nil, err
	}
	if err := lockFor(f, syscall.LOCK_EX, timeout); err != nil {
		_ = f.Close()
		return nil, err
	}
	if err := checkFile(f); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// checkFormat looks at what every transaction relies on.
func (s *Store) checkFormat() error {
	return s.view(func(t *tx) error {
		for _, name := range buckets {
			found := false
			err := t.s.guard(func() error { found = t.b.Bucket(name) != nil; return nil })
			if err != nil {
				return err
			}
			if !found {
				return reason.Errorf(reason.StateDamaged, "store %q has no bucket %q", s.path, name)
			}
		}
		got, err := t.Meta(store.MetaFormat)
		if err != nil {
			return reason.Errorf(reason.StateDamaged, "store %q does not state its format", s.path)
		}
		n, err := strconv.Atoi(got)
		if err != nil || n < 1 {
			return reason.Errorf(reason.StateDamaged, "store %q: format %q is no number", s.path, got)
		}
		if n > format {
			return reason.Errorf(reason.Config, "store %q has format %d, this program knows up to %d", s.path, n, format).
				WithHint("run the newer countersignd that wrote it")
		}
		return nil
	})
}
