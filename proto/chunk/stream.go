package chunk

import (
	"errors"
	"io"
	"sync"

	"google.golang.org/grpc/mem"
)

// Sender is the sending half of a stream, on either side.
type Sender interface{ SendMsg(m any) error }

// Receiver is the receiving half of a stream, on either side.
type Receiver interface{ RecvMsg(m any) error }

// pool holds the buffers into which files are read. It is not gRPC's own, which would hand out and
// clear 1 MiB for each chunk.
var pool mem.BufferPool = &buffers{}

type buffers struct{ pool sync.Pool }

func (p *buffers) Get(length int) *[]byte {
	b, ok := p.pool.Get().(*[]byte)
	if !ok {
		fresh := make([]byte, Size)
		b = &fresh
	}
	*b = (*b)[:length]
	return b
}

func (p *buffers) Put(b *[]byte) {
	if cap(*b) >= Size {
		p.pool.Put(b)
	}
}

// Send sends all of r as Frames and returns how many bytes were given to the stream. On the server
// the receiver's flow control holds it back, so memory stays at a few chunks whatever the length. An
// error of r comes back as it is, one of the stream as gRPC gave it.
func Send(s Sender, r io.Reader) (int64, error) {
	return send(r, func(data mem.BufferSlice) error { return s.SendMsg(&Frame{Data: data}) })
}

// SendParts sends all of r as Parts; the header went before. When the receiver ends the call early
// the error is io.EOF, and the stream's RecvMsg says why.
func SendParts(s Sender, r io.Reader) (int64, error) {
	return send(r, func(data mem.BufferSlice) error { return s.SendMsg(&Part{Data: data}) })
}

func send(r io.Reader, msg func(mem.BufferSlice) error) (int64, error) {
	var total int64
	for {
		b := pool.Get(Size)
		n, err := io.ReadFull(r, *b)
		if n > 0 {
			*b = (*b)[:n]
			buf := mem.NewBuffer(b, pool)
			sendErr := msg(mem.BufferSlice{buf})
			buf.Free()
			if sendErr != nil {
				return total, sendErr
			}
			total += int64(n)
		} else {
			pool.Put(b)
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return total, nil
		case err != nil:
			return total, err
		}
	}
}

// Reader reads the data of a stream of Frames. It is not safe for concurrent use.
type Reader struct {
	s     Receiver
	frame Frame
	rest  mem.BufferSlice // what of frame.Data is unread
	off   int             // bytes of rest[0] that are read
	err   error
}

// NewReader returns a Reader on s.
func NewReader(s Receiver) *Reader { return &Reader{s: s} }

var _ io.WriterTo = (*Reader)(nil)

// Read fills p as far as the frames that arrived go; it waits for at most one. After the last frame
// it returns io.EOF, and an error of the stream as gRPC gave it.
func (r *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := r.fill(); err != nil {
		return 0, err
	}
	n := 0
	for n < len(p) && len(r.rest) > 0 {
		b := r.rest[0].ReadOnlyData()
		c := copy(p[n:], b[r.off:])
		n += c
		if r.off += c; r.off == len(b) {
			r.rest, r.off = r.rest[1:], 0
		}
	}
	return n, nil
}

// WriteTo writes all data to w, straight from the buffers that the transport filled.
func (r *Reader) WriteTo(w io.Writer) (int64, error) {
	var total int64
	for {
		if err := r.fill(); err != nil {
			if errors.Is(err, io.EOF) {
				return total, nil
			}
			return total, err
		}
		for len(r.rest) > 0 {
			n, err := w.Write(r.rest[0].ReadOnlyData()[r.off:])
			total += int64(n)
			if err != nil {
				r.off += n
				return total, err
			}
			r.rest, r.off = r.rest[1:], 0
		}
	}
}

// fill receives until there is something unread.
func (r *Reader) fill() error {
	for r.err == nil && len(r.rest) == 0 {
		r.frame.Free()
		if r.err = r.s.RecvMsg(&r.frame); r.err == nil {
			r.rest, r.off = r.frame.Data, 0
		}
	}
	return r.err
}

// Release frees what was received and not read. Read returns io.ErrClosedPipe from then on.
func (r *Reader) Release() {
	r.rest = nil
	r.frame.Free()
	if r.err == nil {
		r.err = io.ErrClosedPipe
	}
}
