package bolt

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/repository/internal/store"
)

// filled is a closed store with branches, overflow pages, inline buckets and free pages.
func filled(t testing.TB) []byte {
	t.Helper()
	s := create(t, Options{})
	for round := range 3 {
		err := s.Update(ctx, func(tx store.Tx) error {
			for i := range 400 {
				if _, err := tx.Audit(&pb.AuditRecord{Detail: fmt.Sprintf("%0100d", i)}); err != nil {
					return err
				}
				if err := tx.PutToken(fmt.Sprint("token", i), &pb.TokenRecord{Secret: make([]byte, 32)}); err != nil {
					return err
				}
			}
			rec := &pb.EventRecord{Event: make([]byte, 20_000)}
			if err := tx.PutEvent(store.EventID{byte(round)}, rec); err != nil {
				return err
			}
			data := &pb.RoleRecord{Data: []byte("x"), Digest: make([]byte, 32)}
			return tx.PutRole(metadata.Image, "root", int64(round+1), data)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	s.Close()
	b, err := os.ReadFile(s.path)
	if err != nil {
		t.Fatal(err)
	}
	c := &checker{r: bytes.NewReader(b), size: int64(len(b))}
	if err := c.check(); err != nil {
		t.Fatal(err)
	}
	return b[:(c.m.end+1)*uint64(c.pageSize)] // without the room to grow
}

// readAll opens a file and reads all that is in it; any error must have reason state-damaged.
func readAll(t *testing.T, path string) error {
	t.Helper()
	s, err := Open(path, Options{})
	if err != nil {
		return err
	}
	defer s.Close()
	if err := s.View(ctx, func(v store.View) error {
		for _, err := range v.Events(store.EventQuery{All: true}) {
			if err != nil {
				return err
			}
		}
		if _, err := v.Tokens(); err != nil {
			return err
		}
		if _, err := v.Roles(metadata.Image); err != nil {
			return err
		}
		if _, err := v.Roles(metadata.Director); err != nil {
			return err
		}
		_, err := v.AuditLog(0, 1<<20)
		return err
	}); err != nil {
		return err
	}
	return put(s, "after", "x")
}

func damage(t *testing.T, whole []byte, change func(b []byte) []byte) error {
	t.Helper()
	path := filepath.Join(t.TempDir(), "store.db")
	if err := os.WriteFile(path, change(bytes.Clone(whole)), 0o600); err != nil {
		t.Fatal(err)
	}
	return readAll(t, path)
}

func TestDamagedFiles(t *testing.T) {
	whole := filled(t)
	pageSize := os.Getpagesize()
	if err := damage(t, whole, func(b []byte) []byte { return b }); err != nil {
		t.Fatalf("the undamaged file: %v", err)
	}
	if err := damage(t, whole, func(b []byte) []byte { clear(b[:pageSize]); return b }); err != nil {
		t.Errorf("one meta page of two: %v", err)
	}
	// The page of a tree that is used, by what its header says.
	find := func(b []byte, flags uint16) int {
		for id := int(inForce(t, b).end) - 1; id > 1; id-- {
			p := b[id*pageSize:]
			records := flags == flagBranch || order.Uint32(p[headerSize:]) == 0 // not a leaf of buckets
			if order.Uint64(p) == uint64(id) && order.Uint16(p[8:]) == flags && records && reached(t, b, uint64(id)) {
				return id * pageSize
			}
		}
		t.Fatalf("no page with flags %x", flags)
		return 0
	}
	put64 := func(b []byte, v uint64) { order.PutUint64(b, v) }
	put32 := func(b []byte, v uint32) { order.PutUint32(b, v) }
	put16 := func(b []byte, v uint16) { order.PutUint16(b, v) }
	tests := []struct {
		name   string
		change func(b []byte) []byte
	}{
		{"zeroed", func(b []byte) []byte { clear(b); return b }},
		{"one byte", func(b []byte) []byte { return b[:1] }},
		{"half of a meta page", func(b []byte) []byte { return b[:pageSize/2] }},
		{"meta pages only", func(b []byte) []byte { return b[:2*pageSize] }},
		{"cut in the middle", func(b []byte) []byte { return b[:len(b)/2] }},
		{"both meta pages zeroed", func(b []byte) []byte { clear(b[:2*pageSize]); return b }},
		{"text", func(b []byte) []byte { return bytes.Repeat([]byte("text"), len(b)/4) }},
		{"a leaf zeroed", func(b []byte) []byte { p := find(b, flagLeaf); clear(b[p : p+pageSize]); return b }},
		{"a branch zeroed", func(b []byte) []byte { p := find(b, flagBranch); clear(b[p : p+pageSize]); return b }},
		{"a branch that leads to itself", func(b []byte) []byte {
			p := find(b, flagBranch)
			put64(b[p+headerSize+8:], uint64(p/pageSize))
			return b
		}},
		{"two branches to one page", func(b []byte) []byte {
			p := find(b, flagBranch)
			copy(b[p+headerSize+elementSize+8:][:8], b[p+headerSize+8:])
			return b
		}},
		{"a branch that leads nowhere", func(b []byte) []byte { put64(b[find(b, flagBranch)+headerSize+8:], 1<<60); return b }},
		{"a branch that leads to a meta page", func(b []byte) []byte { put64(b[find(b, flagBranch)+headerSize+8:], 1); return b }},
		{"a branch without children", func(b []byte) []byte { put16(b[find(b, flagBranch)+10:], 0); return b }},
		{"a leaf with too many elements", func(b []byte) []byte { put16(b[find(b, flagLeaf)+10:], 0xFFFF); return b }},
		{"a leaf of 4 GiB of pages", func(b []byte) []byte { put32(b[find(b, flagLeaf)+12:], 1<<32-1); return b }},
		{"a key beyond its page", func(b []byte) []byte { put32(b[find(b, flagLeaf)+headerSize+8:], 1<<31); return b }},
		{"a value beyond its page", func(b []byte) []byte { put32(b[find(b, flagLeaf)+headerSize+12:], 1<<32-1); return b }},
		{"an element beyond its page", func(b []byte) []byte { put32(b[find(b, flagLeaf)+headerSize+4:], 1<<32-1); return b }},
		{"an empty key", func(b []byte) []byte { put32(b[find(b, flagLeaf)+headerSize+8:], 0); return b }},
		{"a record that claims to be a bucket", func(b []byte) []byte { put32(b[find(b, flagLeaf)+headerSize:], 1); return b }},
		{"another kind of page", func(b []byte) []byte { put16(b[find(b, flagLeaf)+8:], flagFreelist); return b }},
		{"two kinds of page at once", func(b []byte) []byte { put16(b[find(b, flagLeaf)+8:], flagLeaf|flagBranch); return b }},
		{"another page's number", func(b []byte) []byte { put64(b[find(b, flagLeaf):], 3); return b }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			wantReason(t, damage(t, whole, tt.change), reason.StateDamaged)
		})
	}
}

// Random damage to pages never ends the process; it is found, or it lies where nothing is checked: in
// free pages and inside of values.
func TestRandomDamage(t *testing.T) {
	whole := filled(t)
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 1))
	t.Logf("seed %d", seed)
	found := 0
	const rounds = 150
	for range rounds {
		err := damage(t, whole, func(b []byte) []byte {
			at := r.IntN(len(b))
			switch r.IntN(4) {
			case 0:
				b[at] ^= 1 << r.IntN(8)
			case 1:
				page := at - at%os.Getpagesize()
				clear(b[page : page+os.Getpagesize()])
			case 2:
				for i := at; i < min(at+64, len(b)); i++ {
					b[i] = byte(r.Uint32())
				}
			case 3:
				header := at - at%os.Getpagesize() + r.IntN(64)
				b[header] = byte(r.Uint32())
			}
			return b
		})
		if err != nil {
			found++
			wantReason(t, err, reason.StateDamaged)
		}
	}
	if found == 0 {
		t.Errorf("none of %d damages was found", rounds)
	}
}

// A file that becomes shorter under the map faults in memory; that is an error like any other.
func TestFileCutWhileItIsOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	if err := os.WriteFile(path, filled(t), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 2*int64(os.Getpagesize())); err != nil {
		t.Fatal(err)
	}
	read := func(v store.View) error { _, err := v.AuditLog(0, 1<<20); return err }
	wantReason(t, s.View(ctx, read), reason.StateDamaged)
	for range 2 {
		wantReason(t, put(s, "a", "x"), reason.StateDamaged)
	}
	if err := s.Close(); err != nil && reason.Of(err) != reason.StateDamaged {
		t.Error(err)
	}
}

func inForce(t *testing.T, b []byte) meta {
	t.Helper()
	c := &checker{r: bytes.NewReader(b), size: int64(len(b))}
	if err := c.readMeta(); err != nil {
		t.Fatal(err)
	}
	return c.m
}

// reached reports whether a page is part of a tree of an undamaged file.
func reached(t *testing.T, b []byte, id uint64) bool {
	t.Helper()
	c := &checker{r: bytes.NewReader(b), size: int64(len(b))}
	if err := c.check(); err != nil {
		t.Fatal(err)
	}
	return c.seen[id/64]&(1<<(id%64)) != 0
}

// The checker reads outside bytes: it must fail or pass, not panic, and what it passes bbolt opens.
func FuzzCheck(f *testing.F) {
	whole := filled(f)
	f.Add(uint32(0), []byte{1})
	f.Add(uint32(2*os.Getpagesize()+16), []byte{0xff, 0xff})
	f.Add(uint32(3*os.Getpagesize()), []byte{0, 0, 0, 0, 0, 0, 0, 0, 2, 0})
	f.Add(uint32(len(whole)), []byte{})
	f.Fuzz(func(t *testing.T, at uint32, change []byte) {
		b := bytes.Clone(whole)
		if int(at) >= len(b) {
			b = b[:int(at)%len(b)]
		} else {
			copy(b[at:], change)
		}
		c := &checker{r: bytes.NewReader(b), size: int64(len(b))}
		if c.check() != nil {
			return
		}
		path := filepath.Join(t.TempDir(), "store.db")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := readAll(t, path); err != nil && reason.Of(err) != reason.StateDamaged && reason.Of(err) != reason.Config {
			t.Error(err)
		}
	})
}
