package repository

import (
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/proto/strict"
)

// ManifestFile is the name of a backup's manifest. It is written last: a copy without it is half.
const ManifestFile = "manifest.json"

// manifestFormat rises only when older programs must refuse.
const manifestFormat = 1

// maxManifest bounds a manifest in bytes: more than a million files.
const maxManifest = 256 << 20

// Manifest says what a backup holds. Its sums show damage; they are no signature, so they do not show what
// somebody changed on purpose.
type Manifest struct {
	Format     int    `json:"countersign_backup"`
	Deployment string `json:"deployment"`
	// MadeAt is RFC 3339, UTC.
	MadeAt string `json:"made_at"`
	// Dir is the server's directory.
	Dir string `json:"dir"`
	// LastEntry is the number of the last entry of the audit log in the copy, LastEntrySHA256 that of its
	// record: the log's checkpoint until there is a Merkle log.
	LastEntry       int64  `json:"last_entry"`
	LastEntrySHA256 string `json:"last_entry_sha256"`
	// Files are ordered by path.
	Files []ManifestEntry `json:"files"`
	// Missing are the SHA-256 of files that the store knows and that could not be copied, sorted.
	Missing []string `json:"missing"`
	// Outside names what the server needs and the copy does not hold, such as a credential.
	Outside []string `json:"outside"`
}

// ManifestEntry is one file of a backup.
type ManifestEntry struct {
	// Path is relative, with slashes.
	Path   string `json:"path"`
	Length int64  `json:"length"`
	SHA256 string `json:"sha256"`
	// Public files may be read by everybody.
	Public bool `json:"public"`
}

// Bytes returns the manifest as it is written.
func (m *Manifest) Bytes() ([]byte, error) {
	data, err := json.MarshalIndent(m, "", " ")
	return append(data, '\n'), err
}

// Total is the length of all files in bytes.
func (m *Manifest) Total() (n int64) {
	for _, f := range m.Files {
		n += f.Length
	}
	return n
}

// ParseManifest reads a manifest strictly; every path in it is one that a backup may hold. Reasons:
// malformed, and those of strict.Unmarshal.
func ParseManifest(data []byte) (*Manifest, error) {
	m := &Manifest{}
	if err := strict.Unmarshal(data, m, maxManifest, "manifest"); err != nil {
		return nil, err
	}
	if m.Format != manifestFormat {
		return nil, reason.Errorf(reason.Malformed, "the backup has format %d, this program reads %d", m.Format, manifestFormat)
	}
	if err := metadata.CheckID("deployment", m.Deployment); err != nil {
		return nil, err
	}
	at, err := time.Parse(time.RFC3339, m.MadeAt)
	if err != nil || at.UTC().Format(time.RFC3339) != m.MadeAt {
		return nil, reason.Errorf(reason.Malformed, "made_at %q is not RFC 3339 in UTC", m.MadeAt)
	}
	if !filepath.IsAbs(m.Dir) {
		return nil, reason.Errorf(reason.Malformed, "dir %q is not an absolute path", m.Dir)
	}
	if m.LastEntry < 0 || !isSHA256(m.LastEntrySHA256) {
		return nil, reason.Errorf(reason.Malformed, "last entry %d, sha256 %q", m.LastEntry, m.LastEntrySHA256)
	}
	for i, f := range m.Files {
		if !backupPath(f.Path) || f.Length < 0 || !isSHA256(f.SHA256) {
			return nil, reason.Errorf(reason.Malformed, "file %q, length %d, sha256 %q: a backup holds no such file", f.Path, f.Length, f.SHA256)
		}
		if i > 0 && m.Files[i-1].Path >= f.Path {
			return nil, reason.Errorf(reason.Malformed, "file %q is out of order", f.Path)
		}
		if sum, ok := blobOf(f.Path); ok && sum != f.SHA256 {
			return nil, reason.Errorf(reason.Malformed, "file %q has sha256 %s", f.Path, f.SHA256)
		}
	}
	for _, sum := range m.Missing {
		if !isSHA256(sum) {
			return nil, reason.Errorf(reason.Malformed, "missing: %q is no sha256", sum)
		}
	}
	for _, name := range []string{storeFile, ConfigFile} {
		if !slices.ContainsFunc(m.Files, func(f ManifestEntry) bool { return f.Path == name }) {
			return nil, reason.Errorf(reason.Malformed, "the backup has no %s", name)
		}
	}
	return m, nil
}

func isSHA256(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == 32 && strings.ToLower(s) == s
}

// maxBackupPath bounds a path in a backup, in bytes.
const maxBackupPath = 1024

// backupPath reports whether a backup may hold a file under this path: relative, plain, and none that a
// server makes for itself.
func backupPath(path string) bool {
	if len(path) > maxBackupPath || !fs.ValidPath(path) || !filepath.IsLocal(filepath.FromSlash(path)) {
		return false
	}
	for part := range strings.SplitSeq(path, "/") {
		if part == "" || part[0] == '.' || strings.ContainsAny(part, "\\\x00") {
			return false
		}
	}
	if strings.HasPrefix(path, blobsDir+"/") {
		_, ok := blobOf(path)
		return ok
	}
	switch path {
	case ManifestFile, lockFile, socketFile:
		return false
	}
	return !strings.HasSuffix(path, tokenSuffix)
}

// blobOf returns the SHA-256 that the path of a blob names.
func blobOf(path string) (sum string, ok bool) {
	rest, ok := strings.CutPrefix(path, blobsDir+"/")
	folder, name, cut := strings.Cut(rest, "/")
	if !ok || !cut || !isSHA256(name) || folder != name[:2] {
		return "", false
	}
	return name, true
}

func blobPath(sum [32]byte) string {
	name := hex.EncodeToString(sum[:])
	return blobsDir + "/" + name[:2] + "/" + name
}
