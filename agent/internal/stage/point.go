package stage

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"os"
)

// A <sha256>.hash file says up to where <sha256>.part is durable and what the state of the hash was
// there. It is written after the bytes were synced, so it never promises too much.
//
//	"csh1" | offset u64 big-endian | state length u16 | hash state | SHA-256 of all before
const (
	pointMagic = "csh1"
	pointHead  = len(pointMagic) + 8 + 2
	maxPoint   = 512 // bytes; Go's SHA-256 state has 108
)

var errPoint = errors.New("not a resume point")

type point struct {
	offset int64
	state  []byte
}

func (p point) bytes() []byte {
	b := make([]byte, 0, pointHead+len(p.state)+sha256.Size)
	b = append(b, pointMagic...)
	b = binary.BigEndian.AppendUint64(b, uint64(p.offset))
	b = binary.BigEndian.AppendUint16(b, uint16(len(p.state)))
	b = append(b, p.state...)
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

// parsePoint reads a resume point; length bounds the offset.
func parsePoint(b []byte, length int64) (point, error) {
	if len(b) < pointHead+sha256.Size || len(b) > maxPoint || string(b[:len(pointMagic)]) != pointMagic {
		return point{}, errPoint
	}
	body, sum := b[:len(b)-sha256.Size], b[len(b)-sha256.Size:]
	if want := sha256.Sum256(body); !bytes.Equal(sum, want[:]) {
		return point{}, errPoint
	}
	offset := binary.BigEndian.Uint64(body[len(pointMagic):])
	state := body[pointHead:]
	if offset > uint64(length) || int(binary.BigEndian.Uint16(body[pointHead-2:])) != len(state) {
		return point{}, errPoint
	}
	return point{offset: int64(offset), state: bytes.Clone(state)}, nil
}

// readPoint reads the resume point at path; any fault makes it worthless, whatever the fault is.
func readPoint(path string, length int64) (point, error) {
	f, err := openRegular(path, os.O_RDONLY)
	if err != nil {
		return point{}, errPoint
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxPoint+1))
	if err != nil {
		return point{}, errPoint
	}
	return parsePoint(b, length)
}
