package state

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/countersign-ota/countersign/proto/reason"
)

func open(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func commit(t *testing.T, s *Store, r *Record) {
	t.Helper()
	if err := s.Commit(r); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, dir string, i int) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, copyName(i)))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestFirstOpen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	s := open(t, dir)
	if s.Lost() || !proto.Equal(s.Record(), new(Record)) {
		t.Errorf("Lost = %t, record %v; want a new, empty one", s.Lost(), s.Record())
	}
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("directory %v, %v; want mode 0700", info, err)
	}
	if _, err := os.Stat(filepath.Join(dir, copyName(0))); err == nil {
		t.Error("Open wrote a record before there was anything to commit")
	}
}

func TestCommitWritesBothCopies(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	commit(t, s, sample())
	r := s.Record()
	r.Contact++
	commit(t, s, r)
	if !bytes.Equal(read(t, dir, 0), read(t, dir, 1)) {
		t.Error("the copies differ after Commit")
	}
	before := read(t, dir, 0)
	commit(t, s, s.Record())
	if !bytes.Equal(read(t, dir, 0), before) {
		t.Error("committing an equal record wrote")
	}
	s.Close()
	if got := open(t, dir).Record(); !proto.Equal(got, r) {
		t.Errorf("after a restart %v, want %v", got, r)
	}
}

func TestRecordIsACopy(t *testing.T) {
	s := open(t, t.TempDir())
	commit(t, s, sample())
	s.Record().Components["main"].Counter = 0
	if got := s.Record().Components["main"].Counter; got != 17 {
		t.Errorf("counter %d, want 17", got)
	}
}

// TestSecondOpenIsLocked: two agents on one directory.
func TestSecondOpenIsLocked(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if _, err := Open(dir); !reason.Is(err, reason.Locked) {
		t.Errorf("second Open: %v, want reason locked", err)
	}
	s.Close()
	open(t, dir)
}

// TestUnknownFieldsAreKept: a newer agent's record must survive an older one (DESIGN 5.1).
func TestUnknownFieldsAreKept(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	future := protowire.AppendBytes(protowire.AppendTag(nil, 1000, protowire.BytesType), []byte("future"))
	r := sample()
	r.ProtoReflect().SetUnknown(future)
	r.Set.ProtoReflect().SetUnknown(future)
	commit(t, s, r)
	s.Close()
	s = open(t, dir)
	r = s.Record()
	r.Contact++
	commit(t, s, r)
	s.Close()
	got := open(t, dir).Record()
	if !bytes.Equal(got.ProtoReflect().GetUnknown(), future) || !bytes.Equal(got.Set.ProtoReflect().GetUnknown(), future) {
		t.Error("unknown fields were lost")
	}
}

// damages are what a disk may do to a file.
var damages = []struct {
	name string
	do   func(t *testing.T, path string)
}{
	{"missing", func(t *testing.T, path string) { must(t, os.Remove(path)) }},
	{"empty", func(t *testing.T, path string) { must(t, os.Truncate(path, 0)) }},
	{"one byte short", func(t *testing.T, path string) { must(t, os.Truncate(path, size(t, path)-1)) }},
	{"cut in the header", func(t *testing.T, path string) { must(t, os.Truncate(path, 7)) }},
	{"zeroed", func(t *testing.T, path string) { must(t, os.WriteFile(path, make([]byte, size(t, path)), 0o600)) }},
	{"longer", func(t *testing.T, path string) { edit(t, path, func(b []byte) []byte { return append(b, 0) }) }},
	{"huge", func(t *testing.T, path string) { must(t, os.Truncate(path, 64<<20)) }},
	{"flipped first bit", func(t *testing.T, path string) { flip(t, path, 0) }},
	{"flipped in seq", func(t *testing.T, path string) { flip(t, path, 11) }},
	{"flipped in length", func(t *testing.T, path string) { flip(t, path, 15) }},
	{"flipped in the record", func(t *testing.T, path string) { flip(t, path, headerLen+3) }},
	{"flipped in the sum", func(t *testing.T, path string) { flip(t, path, int(size(t, path))-1) }},
	{"another format", func(t *testing.T, path string) { must(t, os.WriteFile(path, []byte("csr2 and more"), 0o600)) }},
	{"seq overflows", func(t *testing.T, path string) {
		must(t, os.WriteFile(path, frame(t, math.MaxUint64, new(Record)), 0o600))
	}},
	{"unreadable", func(t *testing.T, path string) {
		// Root reads through any mode; a link in a circle fails for everybody.
		must(t, os.Remove(path))
		must(t, os.Symlink(filepath.Base(path), path))
	}},
}

// TestOneDamagedCopyLosesNothing: whichever copy it is, and whatever happened to it.
func TestOneDamagedCopyLosesNothing(t *testing.T) {
	for _, d := range damages {
		for i := range copies {
			t.Run(d.name+"/"+copyName(i), func(t *testing.T) {
				dir := t.TempDir()
				s := open(t, dir)
				for n := range 3 {
					r := sample()
					r.Contact = int64(n)
					commit(t, s, r)
				}
				want := s.Record()
				s.Close()
				d.do(t, filepath.Join(dir, copyName(i)))

				loaded, err := Load(dir)
				if err != nil || !proto.Equal(loaded, want) {
					t.Errorf("Load = %v, %v", loaded, err)
				}
				s = open(t, dir)
				if s.Lost() || !proto.Equal(s.Record(), want) {
					t.Errorf("Lost = %t, record %v, want %v", s.Lost(), s.Record(), want)
				}
				if !bytes.Equal(read(t, dir, 0), read(t, dir, 1)) {
					t.Error("Open did not heal the copy")
				}
				want.Contact++
				commit(t, s, want)
				s.Close()
				if got := open(t, dir).Record(); !proto.Equal(got, want) {
					t.Errorf("after the next commit %v, want %v", got, want)
				}
			})
		}
	}
}

func TestBothCopiesDamaged(t *testing.T) {
	for _, d := range damages {
		t.Run(d.name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir)
			commit(t, s, sample())
			roles, err := s.Roles("image")
			must(t, err)
			must(t, os.WriteFile(filepath.Join(roles, "root.json"), []byte("{}"), 0o600))
			s.Close()
			for i := range copies {
				d.do(t, filepath.Join(dir, copyName(i)))
			}
			if _, err := Load(dir); !reason.Is(err, reason.StateLost) {
				t.Errorf("Load: %v, want reason state-lost", err)
			}
			s = open(t, dir)
			if !s.Lost() || !proto.Equal(s.Record(), new(Record)) {
				t.Errorf("Lost = %t, record %v; want lost and empty", s.Lost(), s.Record())
			}
			s.Close()
			s = open(t, dir)
			if !s.Lost() {
				t.Error("not lost any more although nothing was committed")
			}
			commit(t, s, &Record{Contact: 1})
			s.Close()
			if s := open(t, dir); s.Lost() || s.Record().Contact != 1 {
				t.Errorf("Lost = %t, record %v after the commit", s.Lost(), s.Record())
			}
		})
	}
}

// TestCutBetweenTheCopies: the first copy has the new record, the second still the old one.
func TestCutBetweenTheCopies(t *testing.T) {
	for i := range copies {
		dir := t.TempDir()
		s := open(t, dir)
		commit(t, s, sample())
		old := read(t, dir, i)
		next := s.Record()
		next.Contact++
		commit(t, s, next)
		s.Close()
		must(t, os.WriteFile(filepath.Join(dir, copyName(i)), old, 0o600))
		if got := open(t, dir).Record(); !proto.Equal(got, next) {
			t.Errorf("with an old %s: %v, want %v", copyName(i), got, next)
		}
	}
}

// TestFailedCommit: after an error, Record is what a restart would find.
func TestFailedCommit(t *testing.T) {
	for i := range copies {
		dir := t.TempDir()
		s := open(t, dir)
		commit(t, s, sample())
		blocked := filepath.Join(dir, copyName(i))
		must(t, os.Remove(blocked))
		must(t, os.MkdirAll(filepath.Join(blocked, "x"), 0o700))
		next := s.Record()
		next.Contact = 99
		if err := s.Commit(next); !reason.Is(err, reason.StateDamaged) {
			t.Fatalf("Commit onto a folder: %v, want reason state-damaged", err)
		}
		inForce := s.Record()
		s.Close()
		must(t, os.RemoveAll(blocked))
		if got := open(t, dir).Record(); !proto.Equal(got, inForce) {
			t.Errorf("a restart finds %v, Record said %v", got, inForce)
		}
	}
}

func TestOpenSweeps(t *testing.T) {
	dir := t.TempDir()
	left := filepath.Join(dir, ".countersign-0123456789abcdef.tmp")
	must(t, os.WriteFile(left, []byte("half"), 0o600))
	open(t, dir)
	if _, err := os.Stat(left); err == nil {
		t.Error("a temporary file of a killed process is still there")
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func size(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	must(t, err)
	return info.Size()
}

func edit(t *testing.T, path string, f func([]byte) []byte) {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	must(t, os.WriteFile(path, f(data), 0o600))
}

func flip(t *testing.T, path string, at int) {
	t.Helper()
	edit(t, path, func(b []byte) []byte { b[at] ^= 1; return b })
}
