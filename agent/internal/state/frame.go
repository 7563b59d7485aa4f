package state

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"google.golang.org/protobuf/proto"
)

// One copy of the record, as it lies in record.0 and record.1. Integers are big-endian.
//
//	magic    4   "csr1"; another value is another format, which this agent does not read
//	seq      8   counts commits; the higher valid one wins
//	length   4   of the protobuf, at most MaxRecord
//	record   length
//	sum     32   SHA-256 of all before
const (
	magic     = "csr1"
	headerLen = len(magic) + 8 + 4
	sumLen    = sha256.Size
)

// MaxRecord bounds the protobuf of a record, in bytes. A device with the most stops, components
// and roles that DESIGN 6 allows stays below it.
const MaxRecord = 1 << 20

// maxSeq is where a sequence number stops being believed: no device commits so often, and the next
// one could not be counted.
const maxSeq = math.MaxInt64

// errDamaged is the cause of every refusal of decode.
var errDamaged = errors.New("damaged record")

// encode returns the bytes of one copy.
func encode(seq uint64, r *Record) ([]byte, error) {
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	if len(body) > MaxRecord {
		return nil, fmt.Errorf("record of %d bytes, at most %d", len(body), MaxRecord)
	}
	out := make([]byte, 0, headerLen+len(body)+sumLen)
	out = append(out, magic...)
	out = binary.BigEndian.AppendUint64(out, seq)
	out = binary.BigEndian.AppendUint32(out, uint32(len(body)))
	out = append(out, body...)
	sum := sha256.Sum256(out)
	return append(out, sum[:]...), nil
}

// decode reads one copy. It takes exactly what encode writes; every other input is errDamaged.
func decode(data []byte) (uint64, *Record, error) {
	if len(data) < headerLen+sumLen {
		return 0, nil, fmt.Errorf("%w: %d bytes, at least %d", errDamaged, len(data), headerLen+sumLen)
	}
	if string(data[:len(magic)]) != magic {
		return 0, nil, fmt.Errorf("%w: starts with %q, want %q", errDamaged, data[:len(magic)], magic)
	}
	body := data[:len(data)-sumLen]
	if sum := sha256.Sum256(body); !bytes.Equal(sum[:], data[len(data)-sumLen:]) {
		return 0, nil, fmt.Errorf("%w: checksum differs", errDamaged)
	}
	seq := binary.BigEndian.Uint64(data[len(magic):])
	if seq == 0 || seq >= maxSeq {
		return 0, nil, fmt.Errorf("%w: sequence number %d", errDamaged, seq)
	}
	length := binary.BigEndian.Uint32(data[len(magic)+8:])
	body = body[headerLen:]
	if int64(length) != int64(len(body)) || length > MaxRecord {
		return 0, nil, fmt.Errorf("%w: length %d, holds %d", errDamaged, length, len(body))
	}
	r := new(Record)
	if err := proto.Unmarshal(body, r); err != nil {
		return 0, nil, fmt.Errorf("%w: %v", errDamaged, err)
	}
	return seq, r, nil
}
