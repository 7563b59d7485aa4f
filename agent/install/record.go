package install

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"

	"github.com/countersign-ota/countersign/internal/durable"
	"github.com/countersign-ota/countersign/proto/reason"
)

// maxRecord bounds an installer's record, in bytes.
const maxRecord = 16 << 10

// A record is one line of JSON and one line with the SHA-256 of the first in hex. Raise recordVersion
// when an older agent would misread it.
const recordVersion = 1

// entry is one image that an installer put somewhere.
type entry struct {
	SHA256  digest `json:"sha256"`
	Length  int64  `json:"length"`
	Counter int64  `json:"counter"`
	Path    string `json:"path"`
}

func entryOf(img Image) *entry {
	return &entry{SHA256: img.SHA256, Length: img.Length, Counter: img.Counter, Path: img.Path}
}

// is reports whether e is the image img; a missing entry is none.
func (e *entry) is(img Image) bool { return e != nil && e.SHA256 == img.SHA256 }

// sum returns the hash, zero for a missing entry.
func (e *entry) sum() [32]byte {
	if e == nil {
		return [32]byte{}
	}
	return e.SHA256
}

// digest is a SHA-256 in hex.
type digest [32]byte

// MarshalText implements encoding.TextMarshaler.
func (d digest) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, d[:]), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *digest) UnmarshalText(text []byte) error {
	if len(text) != hex.EncodedLen(len(d)) {
		return errors.New("not a SHA-256 in hex")
	}
	_, err := hex.Decode(d[:], text)
	return err
}

// parseRecord reads what formatRecord wrote into v.
func parseRecord(data []byte, v any) error {
	line, rest, ok := bytes.Cut(data, []byte{'\n'})
	if !ok || len(data) > maxRecord {
		return errors.New("not a record")
	}
	sum := sha256.Sum256(line)
	if want := hex.AppendEncode(nil, sum[:]); !bytes.Equal(rest, append(want, '\n')) {
		return errors.New("checksum differs")
	}
	return json.Unmarshal(line, v)
}

func formatRecord(v any) ([]byte, error) {
	line, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(line)
	data := append(line, '\n')
	return append(hex.AppendEncode(data, sum[:]), '\n'), nil
}

// loadRecord reads the record at path into v. An absent one leaves v as it is; a damaged one is
// state-damaged and must be treated as one that says nothing.
func loadRecord(path string, v any) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var data []byte
	if err == nil {
		defer f.Close()
		data, err = io.ReadAll(io.LimitReader(f, maxRecord+1))
	}
	if err == nil {
		err = parseRecord(data, v)
	}
	if err != nil {
		return reason.Errorf(reason.StateDamaged, "record %q: %w", path, err)
	}
	return nil
}

// saveRecord replaces the record durably.
func saveRecord(path string, v any) error {
	data, err := formatRecord(v)
	if err == nil {
		err = durable.Replace(path, data, 0o600)
	}
	if err != nil {
		return reason.Errorf(reason.InstallFailed, "cannot write record %q: %w", path, err)
	}
	return nil
}
