package repository

import (
	"context"
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"time"

	controlpb "github.com/countersign-ota/countersign/proto/countersign/control/v1"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/repository/internal/blob"
	"github.com/countersign-ota/countersign/repository/internal/identity"
	"github.com/countersign-ota/countersign/repository/internal/publish"
	"github.com/countersign-ota/countersign/repository/internal/store"
	"github.com/countersign-ota/countersign/repository/internal/store/bolt"
)

// CheckedOrder lists what Check counts, in the order in which people read it.
var CheckedOrder = []string{
	publish.CountRoots, publish.CountRoles, publish.CountTargets, publish.CountEvents, "files", "operators", "audit entries",
}

// Report says what Check looked at and what is wrong.
type Report struct {
	// Checked counts by CheckedOrder's words.
	Checked map[string]int
	// Problems are in the order of the checks.
	Problems []Problem
}

// Problem is one thing that is wrong.
type Problem struct {
	// Where names the record or file.
	Where string
	Err   error
}

// Check judges all that a server keeps in dir, beside the server that runs there or without one: every
// root chain, role file, reference, hash, signature and version; every event and what it holds open; every
// file, which it reads and hashes; certificates and keys; the audit log's sequence. It changes nothing. The
// error says that it could not look: locked, state-damaged.
func Check(ctx context.Context, dir string, now time.Time) (*Report, error) {
	return ask(ctx, dir, func(c controlpb.ControlClient) (*Report, error) {
		answer, err := c.CheckStore(ctx, &controlpb.CheckStoreRequest{})
		if err != nil {
			return nil, err
		}
		r := &Report{Checked: map[string]int{}}
		for what, n := range answer.GetChecked() {
			r.Checked[what] = int(n)
		}
		for _, p := range answer.GetProblems() {
			r.Problems = append(r.Problems, Problem{p.GetWhere(), &reason.Error{Reason: reason.Reason(p.GetReason()), Text: p.GetMessage()}})
		}
		return r, nil
	}, func() (*Report, error) { return checkStopped(ctx, dir, now) })
}

func checkStopped(ctx context.Context, dir string, now time.Time) (*Report, error) {
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = lock.Close() }()
	db, err := bolt.Open(filepath.Join(dir, storeFile), bolt.Options{})
	if err != nil {
		return nil, err
	}
	defer func() { _ = db.Close() }()
	return checkOpen(ctx, dir, db, now)
}

// checkOpen checks a store that is open, and used by others.
func checkOpen(ctx context.Context, dir string, db store.Store, now time.Time) (*Report, error) {
	blobs, err := blob.Open(filepath.Join(dir, blobsDir))
	if err != nil {
		return nil, err
	}
	c := &checker{ctx: ctx, dir: dir, blobs: blobs, report: &Report{Checked: map[string]int{}}}
	// Reading every image takes long, and a store that is held in one state meanwhile would grow.
	if err := db.View(ctx, func(v store.View) error { return c.run(v, now) }); err != nil {
		return nil, err
	}
	return c.report, c.hashes()
}

type checker struct {
	ctx    context.Context //nolint:containedctx // of the one call of Check
	dir    string
	blobs  *blob.Dir
	report *Report
}

func (c *checker) count(what string) { c.report.Checked[what]++ }

func (c *checker) problem(where string, err error) {
	if err != nil {
		if reason.Of(err) == "" {
			err = reason.Errorf(reason.StateDamaged, "%w", err)
		}
		c.report.Problems = append(c.report.Problems, Problem{where, err})
	}
}

func (c *checker) run(v store.View, now time.Time) error {
	deployment, err := v.Meta(store.MetaDeployment)
	if err != nil {
		return reason.Errorf(reason.StateDamaged, "%s does not say of which deployment it is", c.dir)
	}
	files, err := publish.CheckStored(c.ctx, v, deployment, c.count, c.problem)
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := c.file(v, f); err != nil {
			return err
		}
	}
	_, err = identity.OpenAuthority(c.dir, deployment, func() time.Time { return now })
	c.problem("identity", err)
	if err := c.people(v); err != nil {
		return err
	}
	return c.audit(v)
}

// file checks one file that a role file in force names.
func (c *checker) file(v store.View, f publish.NamedFile) error {
	where := fmt.Sprintf("%s (sha256 %x)", f.Path, f.SHA256)
	rec, err := v.Blob(f.SHA256)
	switch {
	case err != nil:
		c.problem(where, err)
		return nil
	case rec.GetMissing():
		c.problem(where, reason.Errorf(reason.StateDamaged, "its bytes were lost; who has them: countersign publish EVENT --artifact PATH"))
		return nil
	case !rec.GetComplete():
		c.problem(where, reason.Errorf(reason.StateDamaged, "its record says that it is not complete"))
		return nil
	case f.Length != 0 && rec.GetLength() != f.Length:
		c.problem(where, reason.Errorf(reason.LengthMismatch, "its record says %d bytes, signed are %d", rec.GetLength(), f.Length))
		return nil
	}
	r, err := c.blobs.Reader(f.SHA256, rec.GetLength())
	if err != nil {
		c.problem(where, err)
		return nil
	}
	return r.Close()
}

// hashes reads and hashes every complete file once.
func (c *checker) hashes() error {
	for e, err := range c.blobs.List(c.ctx) {
		if err != nil {
			return err
		}
		if e.Complete {
			c.count("files")
			c.problem(fmt.Sprintf("blob %x", e.SHA256), c.hash(e.SHA256))
		}
	}
	return nil
}

func (c *checker) hash(sum [32]byte) error {
	r, err := c.blobs.Reader(sum, blob.AnyLength)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	h := sha256.New()
	if err := copyUntil(c.ctx, h, r); err != nil {
		return err
	}
	if got := [32]byte(h.Sum(nil)); got != sum {
		return reason.Errorf(reason.HashMismatch, "the file has SHA-256 %x", got)
	}
	return nil
}

// people checks that each operator and device is found by its key, and by no other's.
func (c *checker) people(v store.View) error {
	ops, err := v.Operators()
	if err != nil {
		return err
	}
	for _, o := range ops {
		c.count("operators")
		c.problem("operator "+o.ID, metadata.CheckID("operator", o.ID))
		for _, key := range [][]byte{o.Record.GetPublicKey(), o.Record.GetNextPublicKey()} {
			if len(key) == 0 {
				continue
			}
			if _, err := identity.ParseSPKI(key); err != nil {
				c.problem("operator "+o.ID, err)
			}
			if id, _, err := v.OperatorByKey(key); err != nil || id != o.ID {
				c.problem("operator "+o.ID, reason.Errorf(reason.StateDamaged, "is not found by its key: %q, %v", id, err))
			}
		}
	}
	return nil
}

// audit checks that the log has no gap.
func (c *checker) audit(v store.View) error {
	const page = 1000
	next := uint64(1)
	for {
		entries, err := v.AuditLog(next, page)
		if err != nil {
			return err
		}
		for _, e := range entries {
			c.count("audit entries")
			if e.Seq != next {
				c.problem("audit log", reason.Errorf(reason.StateDamaged, "entry %d follows entry %d", e.Seq, next-1))
				next = e.Seq
			}
			next++
		}
		if len(entries) < page {
			return nil
		}
		if err := c.ctx.Err(); err != nil {
			return err
		}
	}
}
