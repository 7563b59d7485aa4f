//go:build faults

package durable

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// Fault points, for tests only. Before every sync, rename, remove and sync of a folder stands a
// numbered step. In the environment:
//
//	COUNTERSIGN_FAULT_AT=N        the process kills itself (SIGKILL) before its N-th step, from 1
//	COUNTERSIGN_FAULT_DROP=1      and first undoes what a power cut could undo: bytes that were not
//	                              synced, names and removals whose folder was not
//	COUNTERSIGN_FAULT_COUNT=FILE  appends one line a step to FILE: number, kind, path
//
// A real power cut keeps any part of what is not synced; tests see the two ends, all of it (without
// DROP) and none of it.
type faults struct {
	at    int
	drop  bool
	count string

	mu    sync.Mutex
	steps int // guarded by mu, as is loose
	loose []change
}

// change is something that a power cut could undo.
type change struct {
	kind string // "file": its bytes; "name": an entry of the folder dir
	path string
	dir  string
	undo func()
	// settle clears what undo would need.
	settle func()
}

var fault = func() *faults {
	at, _ := strconv.Atoi(os.Getenv("COUNTERSIGN_FAULT_AT"))
	return &faults{
		at:    at,
		drop:  os.Getenv("COUNTERSIGN_FAULT_DROP") != "",
		count: os.Getenv("COUNTERSIGN_FAULT_COUNT"),
	}
}()

// Step is a fault point for what other packages make durable in their own way, such as a commit of a
// database.
func Step(kind, path string) { step(kind, path) }

func step(kind, path string) {
	fault.mu.Lock()
	defer fault.mu.Unlock()
	fault.steps++
	if fault.count != "" {
		f, err := os.OpenFile(fault.count, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		if err != nil {
			panic("durable: fault count: " + err.Error())
		}
		fmt.Fprintf(f, "%d %s %s\n", fault.steps, kind, path)
		f.Close()
	}
	if fault.steps != fault.at {
		return
	}
	for i := len(fault.loose) - 1; i >= 0; i-- {
		fault.loose[i].undo()
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	for {
		time.Sleep(time.Second) // the signal is on its way; nothing else may happen
	}
}

func (f *faults) add(c change) {
	if !f.drop {
		return
	}
	c.dir = filepath.Clean(filepath.Dir(c.path))
	f.mu.Lock()
	defer f.mu.Unlock()
	f.loose = append(f.loose, c)
}

// settled forgets the changes that match.
func (f *faults) settled(match func(change) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	left := f.loose[:0]
	for _, c := range f.loose {
		if !match(c) {
			left = append(left, c)
		} else if c.settle != nil {
			c.settle()
		}
	}
	f.loose = left
}

func created(path string) {
	fault.add(change{kind: "name", path: path, undo: func() { _ = os.RemoveAll(path) }})
}

func wrote(path string, synced int64) {
	fault.settled(func(c change) bool { return c.kind == "file" && c.path == path })
	fault.add(change{kind: "file", path: path, undo: func() { _ = os.Truncate(path, synced) }})
}

func fileSynced(path string) {
	fault.settled(func(c change) bool { return c.kind == "file" && c.path == path })
}

// keep saves what a rename or removal is about to lose, under a temporary name.
func keep(path string) string {
	if !fault.drop {
		return ""
	}
	saved := tempName(filepath.Dir(path))
	if os.Link(path, saved) != nil {
		return ""
	}
	return saved
}

func renamed(from, to string) { replaced(from, to, "") }

func replaced(from, to, saved string) {
	fault.add(change{
		kind: "name", path: to,
		undo: func() {
			_ = os.Rename(to, from)
			if saved != "" {
				_ = os.Rename(saved, to)
			}
		},
		settle: func() { unsave(saved) },
	})
}

func removed(path, saved string) {
	if saved == "" {
		return
	}
	fault.add(change{
		kind: "name", path: path,
		undo:   func() { _ = os.Rename(saved, path) },
		settle: func() { unsave(saved) },
	})
}

func unsave(saved string) {
	if saved != "" {
		_ = os.Remove(saved)
	}
}

func dirSynced(dir string) {
	dir = filepath.Clean(dir)
	fault.settled(func(c change) bool { return c.kind == "name" && c.dir == dir })
}

func forget(path string) {
	fault.settled(func(c change) bool { return c.path == path })
}
