package stage

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding"
	"hash"
	"io"
	"os"
	"time"

	"github.com/countersign-ota/countersign/internal/durable"
)

const (
	// pointEvery and pointAfter say how often what was written becomes durable: after so many bytes,
	// or so much time on a slow link. That is the most that a power cut costs.
	pointEvery = 32 << 20
	pointAfter = 15 * time.Second
	// writebackEvery is how many bytes are handed to the disk at once meanwhile.
	writebackEvery = 4 << 20
)

// part is a file that grows. Bytes go through the hash and to the file; a goroutine makes them durable
// behind.
type part struct {
	f        *os.File
	hashPath string
	h        hash.Hash
	n        int64 // bytes hashed and written
	length   int64 // of the whole file

	started int64 // bytes of which the writing out was begun
	asked   int64 // offset of the last resume point that was asked for
	askedAt time.Time

	points chan point // to the goroutine; closed by stop
	free   chan error // its answers: one when it is ready for a point
	idle   bool       // an answer was taken and no point given since
}

// openPart opens <sha256>.part at the last durable offset, or anew.
func (d *Dir) openPart(ctx context.Context, f File) (*part, error) {
	path := d.partPath(f.SHA256)
	p := &part{hashPath: d.hashPath(f.SHA256), h: sha256.New(), length: f.Length}
	if at, err := readPoint(p.hashPath, f.Length); err == nil {
		if p.resume(ctx, path, at) {
			p.run()
			return p, nil
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	for _, name := range []string{p.hashPath, path} {
		if err := d.remove(name); err != nil {
			return nil, err
		}
	}
	p.h.Reset()
	file, err := openRegular(path, os.O_RDWR|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return nil, local("create", path, err)
	}
	p.f, p.n = file, 0
	if err := durable.SyncDir(d.path); err != nil {
		_ = file.Close()
		return nil, local("sync", d.path, err)
	}
	p.run()
	return p, nil
}

// resume reads back what the point speaks of. The state of the hash over the bytes on the disk must
// be the one that the bytes had when they came; then the file is cut there and continued.
func (p *part) resume(ctx context.Context, path string, at point) bool {
	file, err := openRegular(path, os.O_RDWR)
	if err != nil {
		return false
	}
	ok := func() bool {
		if n, err := Copy(ctx, p.h, io.LimitReader(file, at.offset)); err != nil || n != at.offset {
			return false
		}
		if !bytes.Equal(state(p.h), at.state) {
			return false
		}
		return file.Truncate(at.offset) == nil
	}()
	if !ok {
		_ = file.Close()
		return false
	}
	dropCache(file, 0, at.offset)
	p.f, p.n = file, at.offset
	p.started, p.asked = at.offset, at.offset
	return true
}

// state returns the state of a SHA-256.
func state(h hash.Hash) []byte {
	b, err := h.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil {
		panic("stage: sha256 has no state: " + err.Error())
	}
	return b
}

// run starts the goroutine that makes points durable.
func (p *part) run() {
	p.askedAt = time.Now()
	p.points, p.free, p.idle = make(chan point), make(chan error, 1), true
	go func(points <-chan point, free chan<- error, from int64) {
		defer close(free)
		for at := range points {
			err := syncData(p.f)
			if err != nil {
				err = local("sync", p.f.Name(), err)
			} else if err = durable.Replace(p.hashPath, at.bytes(), 0o600); err != nil {
				err = local("write", p.hashPath, err)
			}
			dropCache(p.f, from, at.offset-from)
			from = at.offset
			free <- err
		}
	}(p.points, p.free, p.n)
}

// write hashes and writes b.
func (p *part) write(b []byte) error {
	p.h.Write(b)
	if _, err := p.f.WriteAt(b, p.n); err != nil {
		return local("write", p.f.Name(), err)
	}
	p.n += int64(len(b))
	if p.n-p.started >= writebackEvery {
		startWriteback(p.f, p.started, p.n-p.started)
		p.started = p.n
	}
	if p.n == p.length {
		return nil // finish makes it durable, or it is the wrong file
	}
	due := p.n - p.asked
	if due < pointEvery && (due == 0 || time.Since(p.askedAt) < pointAfter) {
		return nil
	}
	// A disk that is slower than the network holds the network back, not memory.
	return p.point(due >= 2*pointEvery)
}

// point asks that all bytes so far be made durable. Without wait it does nothing when the last point
// is still being written; with wait it returns when this one is.
func (p *part) point(wait bool) error {
	if p.points == nil {
		return nil
	}
	if !p.idle {
		if wait {
			return p.settleAndPoint()
		}
		select {
		case err := <-p.free:
			p.idle = true
			if err != nil {
				return err
			}
		default:
			return nil
		}
	}
	if p.n == p.asked {
		return nil
	}
	p.points <- point{offset: p.n, state: state(p.h)}
	p.asked, p.askedAt, p.idle = p.n, time.Now(), false
	if wait {
		return p.settle()
	}
	return nil
}

func (p *part) settleAndPoint() error {
	if err := p.settle(); err != nil {
		return err
	}
	return p.point(true)
}

// settle waits until the goroutine is ready.
func (p *part) settle() error {
	if p.points == nil || p.idle {
		return nil
	}
	p.idle = true
	return <-p.free
}

// sum is the hash of all bytes.
func (p *part) sum() [32]byte { return [32]byte(p.h.Sum(nil)) }

// finish makes the whole file durable.
func (p *part) finish() error {
	if err := p.settle(); err != nil {
		return err
	}
	if err := syncData(p.f); err != nil {
		return local("sync", p.f.Name(), err)
	}
	dropCache(p.f, 0, p.n)
	return nil
}

// abandon stops making points.
func (p *part) abandon() {
	_ = p.settle()
	if p.points != nil {
		close(p.points)
		p.points = nil
	}
}

// close ends the goroutine and closes the file; what is not durable may be lost.
func (p *part) close() {
	p.abandon()
	_ = p.f.Close()
}

// Copy copies r to w with one fixed buffer, in bytes a multiple of every block size, and stops when ctx
// ends. It returns how much was written.
func Copy(ctx context.Context, w io.Writer, r io.Reader) (int64, error) {
	buf := make([]byte, bufferSize)
	var total int64
	for {
		if err := ctx.Err(); err != nil {
			return total, err
		}
		n, err := r.Read(buf)
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return total, err
			}
			total += int64(n)
		}
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}
