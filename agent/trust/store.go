package trust

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/countersign-ota/countersign/internal/durable"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// FileStore keeps each role file as served, at <Dir>/<role>.json without a version. The folder must
// exist and belongs to one process at a time.
type FileStore struct {
	Dir  string
	Mode metadata.Mode
}

var _ Store = (*FileStore)(nil)

// path returns the file of a role. In the profile a role name is a safe file name or refused; in plain
// TUF, where it may hold anything, it is escaped.
func (s *FileStore) path(role string) (string, error) {
	if s.Mode == metadata.Plain {
		return filepath.Join(s.Dir, EscapeRole(role)+".json"), nil
	}
	if role != RootCopy {
		if _, _, err := metadata.SplitRole(role); err != nil {
			return "", err
		}
	}
	return filepath.Join(s.Dir, role+".json"), nil
}

// Load reads a role file of any size that the role may have; a longer one is reason too-large.
func (s *FileStore) Load(role string) ([]byte, error) {
	path, err := s.path(role)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, reason.Errorf(reason.StateDamaged, "stored role file: %w", err)
	}
	defer f.Close() //nolint:errcheck // nothing was written
	bound := metadata.MaxSize(s.Mode, strings.TrimSuffix(role, ".copy"))
	data, err := io.ReadAll(io.LimitReader(f, bound+1))
	if err != nil {
		return nil, reason.Errorf(reason.StateDamaged, "stored role file: %w", err)
	}
	if int64(len(data)) > bound {
		return nil, reason.Errorf(reason.TooLarge, "stored role file %s: more than %d bytes", path, bound)
	}
	return data, nil
}

// Save replaces a role file. It is durable on return.
func (s *FileStore) Save(role string, data []byte) error {
	path, err := s.path(role)
	if err != nil {
		return err
	}
	if err := durable.Replace(path, data, 0o644); err != nil {
		r := reason.StateDamaged
		if durable.IsFull(err) {
			r = reason.DiskFull
		}
		return reason.Errorf(r, "role file not stored: %w", err)
	}
	return nil
}

// Drop removes a role file, if there is one. It is durable on return.
func (s *FileStore) Drop(role string) error {
	path, err := s.path(role)
	if err != nil {
		return err
	}
	if err := durable.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return reason.Errorf(reason.StateDamaged, "role file not removed: %w", err)
	}
	return nil
}

// EscapeRole returns a role name as it stands in URLs and file names of plain TUF: every byte but
// letters, digits and _.-~ as %XX.
func EscapeRole(role string) string {
	var b strings.Builder
	for i := range len(role) {
		c := role[i]
		alnum := (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')
		if alnum || strings.IndexByte("_.-~", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
