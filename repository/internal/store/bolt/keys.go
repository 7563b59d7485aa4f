package bolt

import (
	"bytes"
	"encoding/binary"

	"github.com/countersign-ota/countersign/proto/metadata"
)

// number is 8 bytes, big endian, so that keys sort by it. Versions are never negative.
func number(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// parseNumber reads what number wrote; 0 and false if it did not.
func parseNumber(b []byte) (uint64, bool) {
	if len(b) != 8 {
		return 0, false
	}
	return binary.BigEndian.Uint64(b), true
}

// repositoryByte is r. Callers checked the repository.
func repositoryByte(r metadata.Repository) byte {
	if r == metadata.Director {
		return 'd'
	}
	return 'i'
}

// roleKey is r ‖ role.
func roleKey(r metadata.Repository, role string) []byte {
	return append([]byte{repositoryByte(r)}, role...)
}

// versionKey is r ‖ role ‖ 0 ‖ version.
func versionKey(r metadata.Repository, role string, version int64) []byte {
	return binary.BigEndian.AppendUint64(append(roleKey(r, role), 0), uint64(version))
}

// parseVersionKey reads what versionKey wrote; false if it did not.
func parseVersionKey(b []byte) (r metadata.Repository, role string, version int64, ok bool) {
	end := len(b) - 9
	if end < 1 || b[end] != 0 || bytes.IndexByte(b[:end], 0) >= 0 {
		return "", "", 0, false
	}
	switch b[0] {
	case 'i':
		r = metadata.Image
	case 'd':
		r = metadata.Director
	default:
		return "", "", 0, false
	}
	return r, string(b[1:end]), int64(binary.BigEndian.Uint64(b[end+1:])), true //nolint:gosec // versionKey wrote an int64
}
