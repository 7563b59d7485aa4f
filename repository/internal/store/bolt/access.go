package bolt

import (
	"bytes"

	bolt "go.etcd.io/bbolt"
	"google.golang.org/protobuf/proto"

	"github.com/countersign-ota/countersign/proto/reason"
)

// tx is a transaction; it implements store.View and, when it writes, store.Tx. The methods here are
// the only ones that touch bbolt; nothing that they return points into the mapped file.
type tx struct {
	s       *Store
	b       *bolt.Tx
	wrote   bool
	audited bool
	// failed is the first write that failed; it ends the Update even if its function goes on.
	failed error
}

// get returns a copy of a value, nil if there is none.
func (t *tx) get(bucket, key []byte) (value []byte, err error) {
	err = t.s.guard(func() error {
		value = bytes.Clone(t.b.Bucket(bucket).Get(key))
		return nil
	})
	return value, err
}

// record reads a record and reports whether there is one.
func (t *tx) record(bucket, key []byte, m proto.Message) (found bool, err error) {
	err = t.s.guard(func() error {
		value := t.b.Bucket(bucket).Get(key)
		if value == nil {
			return nil
		}
		found = true
		return t.decode(bucket, key, value, m)
	})
	return found && err == nil, err
}

// decode reads a record. Unmarshalling copies.
func (t *tx) decode(bucket, key, value []byte, m proto.Message) error {
	if err := proto.Unmarshal(value, m); err != nil {
		return t.damaged(bucket, key)
	}
	return nil
}

func (t *tx) damaged(bucket, key []byte) error {
	return reason.Errorf(reason.StateDamaged, "store %q: the record %x in %q cannot be read", t.s.path, key, bucket)
}

// put stores a value, which the caller MUST NOT change afterwards.
func (t *tx) put(bucket, key, value []byte) error {
	return t.write(func() error { return t.b.Bucket(bucket).Put(key, value) })
}

// putRecord stores a copy of a record.
func (t *tx) putRecord(bucket, key []byte, m proto.Message) error {
	value, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return reason.Errorf(reason.Malformed, "record %x for %q: %w", key, bucket, err)
	}
	return t.put(bucket, key, value)
}

func (t *tx) delete(bucket, key []byte) error {
	return t.write(func() error { return t.b.Bucket(bucket).Delete(key) })
}

func (t *tx) write(fn func() error) error {
	t.wrote = true
	err := fileError(t.s.guard(fn), t.s.path)
	if t.failed == nil {
		t.failed = err
	}
	return err
}

// next returns the next number of a bucket, from 1.
func (t *tx) next(bucket []byte) (n uint64, err error) {
	err = t.write(func() (err error) {
		n, err = t.b.Bucket(bucket).NextSequence()
		return err
	})
	return n, err
}

// scan calls fn with keys and values from the first key at or after from on, in order, as long as fn
// returns true and keys begin with prefix. Key and value are only valid during the call, and fn MUST
// NOT call anything but decode.
func (t *tx) scan(bucket, from, prefix []byte, fn func(key, value []byte) (more bool, err error)) error {
	return t.s.guard(func() error {
		c := t.b.Bucket(bucket).Cursor()
		for k, v := c.Seek(from); k != nil && bytes.HasPrefix(k, prefix); k, v = c.Next() {
			more, err := fn(k, v)
			if err != nil || !more {
				return err
			}
		}
		return nil
	})
}

// pageRecords is how many records pages reads at a time.
const pageRecords = 512

// pages calls fn with every key and value of a bucket, in order, some at a time; what it returns then
// runs outside of bbolt, where it may call anything, and says whether to go on. Key and value are only
// valid during the call of fn, which MUST NOT call anything but decode.
func (t *tx) pages(bucket []byte, fn func(key, value []byte) (then func() bool, err error)) error {
	var from []byte
	for {
		var todo []func() bool
		err := t.scan(bucket, from, nil, func(k, v []byte) (bool, error) {
			then, err := fn(k, v)
			todo = append(todo, then)
			from = append(bytes.Clone(k), 0) // the least key above k
			return len(todo) < pageRecords, err
		})
		if err != nil {
			return err
		}
		for _, then := range todo {
			if !then() {
				return nil
			}
		}
		if len(todo) < pageRecords {
			return nil
		}
	}
}

// before returns copies of the last key below limit and of its value; nil if there is none.
func (t *tx) before(bucket, limit []byte) (key, value []byte, err error) {
	err = t.s.guard(func() error {
		c := t.b.Bucket(bucket).Cursor()
		var k, v []byte
		if limit == nil {
			k, v = c.Last()
		} else if k, _ = c.Seek(limit); k == nil {
			k, v = c.Last()
		} else {
			k, v = c.Prev()
		}
		key, value = bytes.Clone(k), bytes.Clone(v)
		return nil
	})
	return key, value, err
}
