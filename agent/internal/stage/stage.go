// Package stage brings the bytes of an image onto the disk and lets nobody see them before their hash
// matched (DESIGN 5.2).
//
// Bytes stream from a reader through SHA-256 into <sha256>.part, in one pass with a fixed buffer.
// From time to time what is written is made durable, and <sha256>.hash then says how far and with
// which hash state; a later process continues from there and cuts off what is beyond. Only when the
// whole file is durable and its hash matched does it get its name, <sha256>. A transfer that is too
// slow is cut and taken up again after a pause; none of that costs the bytes that arrived.
//
// Nothing on the disk is trusted because it is there: before it continues, Stage reads back what it
// continues from and compares the hash state, and a file that already has its name is hashed again.
// Whatever is damaged is thrown away and fetched anew. One process at a time may use a directory; the
// agent's lock sees to that.
//
// Start with Open and Dir.Stage; Verify is the check before an installation.
package stage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/countersign-ota/countersign/internal/durable"
	"github.com/countersign-ota/countersign/proto/reason"
)

// Defaults of Options.
const (
	// DefaultLeastRate is in bytes per second over DefaultWindow (DESIGN 5.2).
	DefaultLeastRate = 1 << 10
	DefaultWindow    = time.Minute
	DefaultAttempts  = 8
	DefaultPause     = time.Second
	DefaultPauseMax  = time.Minute
)

// bufferSize is the one buffer of a transfer, in bytes.
const bufferSize = 256 << 10

// Options tune a transfer. The zero value is the default in every field.
type Options struct {
	// LeastRate is the slowest transfer that is not cut, in bytes per second over Window.
	LeastRate int64
	Window    time.Duration
	// Attempts is how many times in a row a transfer may fail without having brought at least what
	// LeastRate brings in one Window; 1 means that it is not taken up again.
	Attempts int
	// Pause is how long to wait after the first failure. It doubles to PauseMax at most, and a
	// random half of it is left out so that devices do not return together.
	Pause, PauseMax time.Duration
	// Reserve is how many bytes must stay free on the disk, beyond the image.
	Reserve int64

	// Sleep waits, or returns the context's error; nil waits by the wall clock.
	Sleep func(ctx context.Context, d time.Duration) error
	// Tick returns a channel that gets a value every d, and a function that ends it; nil uses
	// time.NewTicker.
	Tick func(d time.Duration) (<-chan time.Time, func())
	// Random returns a number in [0,1) for the jitter; nil uses math/rand.
	Random func() float64
}

func (o Options) withDefaults() Options {
	set := func(v *int64, d int64) {
		if *v <= 0 {
			*v = d
		}
	}
	set(&o.LeastRate, DefaultLeastRate)
	set((*int64)(&o.Window), int64(DefaultWindow))
	set((*int64)(&o.Pause), int64(DefaultPause))
	set((*int64)(&o.PauseMax), int64(DefaultPauseMax))
	if o.Attempts <= 0 {
		o.Attempts = DefaultAttempts
	}
	if o.Sleep == nil {
		o.Sleep = sleep
	}
	if o.Tick == nil {
		o.Tick = func(d time.Duration) (<-chan time.Time, func()) {
			t := time.NewTicker(d)
			return t.C, t.Stop
		}
	}
	if o.Random == nil {
		o.Random = rand.Float64
	}
	return o
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// File is what is wanted, as signed.
type File struct {
	SHA256 [32]byte
	// Length in bytes.
	Length int64
}

// Source opens the bytes of a file from an offset on. A Read that blocks MUST return when ctx ends:
// that is how a stalled transfer is cut. A reason other than unreachable and busy is final.
type Source func(ctx context.Context, offset int64) (io.ReadCloser, error)

// Dir is a directory for staged files.
type Dir struct {
	path string
	o    Options
}

// Open makes the directory if need be, mode 0700, and returns it. Nothing is held open.
func Open(dir string, o Options) (*Dir, error) {
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return nil, local("make", dir, err)
	}
	return &Dir{path: dir, o: o.withDefaults()}, nil
}

// Path is where the file lies once it is whole.
func (d *Dir) Path(sha [32]byte) string { return filepath.Join(d.path, fmt.Sprintf("%x", sha)) }

func (d *Dir) partPath(sha [32]byte) string { return d.Path(sha) + ".part" }
func (d *Dir) hashPath(sha [32]byte) string { return d.Path(sha) + ".hash" }

// Has reports whether the file was staged whole. It may have been damaged since; see Verify.
func (d *Dir) Has(sha [32]byte) bool {
	info, err := os.Lstat(d.Path(sha))
	return err == nil && info.Mode().IsRegular()
}

// Stage makes the file complete and durable under Path and returns that path. It starts at the last
// durable offset of an earlier call, tells progress (which may be nil) how many bytes are there, and
// is done at once, after reading it, if the file is already there.
//
// Errors: disk-full before the first byte when there is no room; unreachable when the transfer failed
// or stalled too often; hash-mismatch or length-mismatch when other bytes came, which removes them;
// and what source returned. After an error other than these two and disk-full, and when ctx ends,
// what is durable stays for the next call.
func (d *Dir) Stage(ctx context.Context, f File, source Source, progress func(done, total int64)) (string, error) {
	if progress == nil {
		progress = func(int64, int64) {}
	}
	path := d.Path(f.SHA256)
	switch err := Verify(ctx, path, f.SHA256, f.Length); {
	case err == nil:
		progress(f.Length, f.Length)
		return path, d.tidy(f) // the power may have gone before the last call could
	case ctx.Err() != nil:
		return "", ctx.Err()
	case !errors.Is(err, fs.ErrNotExist):
		if err := d.remove(path); err != nil {
			return "", err
		}
	}
	p, err := d.openPart(ctx, f)
	if err != nil {
		return "", err
	}
	defer p.close()
	if err := d.room(p, f); err != nil {
		return "", err
	}
	progress(p.n, f.Length)
	if err := d.transfer(ctx, p, f, source, progress); err != nil {
		return "", d.failed(p, f, err)
	}
	if got := p.sum(); got != f.SHA256 {
		return "", d.failed(p, f, reason.Errorf(reason.HashMismatch, "sha256 %x…, signed %x…", got[:4], f.SHA256[:4]))
	}
	if err := p.finish(); err != nil {
		return "", d.failed(p, f, err)
	}
	// The name appears only now, when bytes and length are durable under the other one.
	if err := durable.Rename(d.partPath(f.SHA256), path); err != nil {
		return "", local("rename", d.partPath(f.SHA256), err)
	}
	return path, d.tidy(f)
}

// tidy removes what lay beside a file that is whole now.
func (d *Dir) tidy(f File) error {
	for _, name := range []string{d.hashPath(f.SHA256), d.partPath(f.SHA256)} {
		if _, err := os.Lstat(name); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := durable.Remove(name); err != nil {
			return local("remove", name, err)
		}
	}
	return nil
}

// failed ends a transfer that did not succeed. Bytes that are not the signed ones are removed, and
// what does not fit gives its space back; the rest is made durable for the next call.
func (d *Dir) failed(p *part, f File, err error) error {
	switch reason.Of(err) {
	case reason.HashMismatch, reason.LengthMismatch, reason.DiskFull:
		p.abandon()
		for _, name := range []string{d.hashPath(f.SHA256), d.partPath(f.SHA256)} {
			if e := durable.Remove(name); e != nil {
				return reason.Errorf(reason.Of(err), "%w; and cannot remove %q: %v", err, name, e)
			}
		}
		return err
	}
	if e := p.point(true); e != nil && reason.Of(err) == "" {
		return e
	}
	return err
}

// room checks that the rest of the file fits.
func (d *Dir) room(p *part, f File) error {
	free, err := freeBytes(d.path)
	if err != nil {
		return local("measure", d.path, err)
	}
	if wanted := f.Length - p.n; wanted+d.o.Reserve > free {
		return reason.Errorf(reason.DiskFull, "no room in %q: wanted %d bytes, free %d", d.path, wanted+d.o.Reserve, free).
			WithHint("free space on that disk")
	}
	return nil
}

// remove deletes a file, or whatever else lies under its name.
func (d *Dir) remove(path string) error {
	if err := os.RemoveAll(path); err != nil {
		return local("remove", path, err)
	}
	return nil
}

// local is the error of an operation on this machine's disk.
func local(what, path string, err error) error {
	if durable.IsFull(err) {
		return reason.Errorf(reason.DiskFull, "cannot %s %q: %w", what, path, err)
	}
	return reason.Errorf(reason.StateDamaged, "cannot %s %q: %w", what, path, err)
}
