package event

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// Artifact is a file at hand for a blob of an event.
type Artifact struct {
	Blob Blob `json:"blob"`
	// File is its path on this machine.
	File string `json:"file"`
	// SHA256 and Length are those of the file.
	SHA256 string `json:"sha256"`
	Length int64  `json:"length"`
	// Same says that it is what the event names.
	Same bool `json:"same"`
}

// maxArtifacts bounds how many files a folder is searched through.
const maxArtifacts = 100_000

// CompareArtifact hashes the firmware at path, a file or a folder that is searched, and compares it
// with the blobs of the event. A file is compared with the blob of its name; where the event has only
// one target, a file of any name with that. Reasons: artifact-differs, not-found (nothing there has
// the name of a blob). With artifact-differs the artifacts are returned too.
func (j *Judgement) CompareArtifact(path string) ([]Artifact, error) {
	files, err := candidates(path)
	if err != nil {
		return nil, err
	}
	blobs := j.Event.Proposal.Blobs
	var found []Artifact
	for _, b := range blobs {
		var best *Artifact
		for _, file := range files[filepath.Base(b.Path)] {
			a, err := compare(b, file)
			if err != nil {
				return nil, err
			}
			if best == nil || a.Same {
				best = a
			}
			if a.Same {
				break
			}
		}
		if best != nil {
			found = append(found, *best)
		}
	}
	if targets := j.targetBlobs(); len(found) == 0 && len(files) == 1 && len(targets) == 1 {
		for _, list := range files {
			a, err := compare(targets[0], list[0])
			if err != nil {
				return nil, err
			}
			found = append(found, *a)
		}
	}
	if len(found) == 0 {
		return nil, reason.Errorf(reason.NotFound, "nothing at %s has the name of a file of event %.12s", path, j.id)
	}
	for _, a := range found {
		if !a.Same {
			return found, reason.Errorf(reason.ArtifactDiffers, "%s is not what event %.12s names: sha256 %.12s…, event %.12s…", filepath.Base(a.File), j.id, a.SHA256, a.Blob.SHA256).
				WithHint("ask who opened the event which build this is; do not sign")
		}
	}
	return found, nil
}

// targetBlobs returns the blobs that are targets, not evidence.
func (j *Judgement) targetBlobs() []Blob {
	var out []Blob
	if c := j.trial.release; c != nil {
		for _, b := range j.Event.Proposal.Blobs {
			for _, e := range c.added {
				if e.path == b.Path {
					out = append(out, b)
				}
			}
		}
	}
	return out
}

func compare(b Blob, file string) (*Artifact, error) {
	sha, length, err := hashFile(file)
	if err != nil {
		return nil, err
	}
	return &Artifact{Blob: b, File: file, SHA256: sha, Length: length, Same: sha == b.SHA256 && length == b.Length}, nil
}

// candidates returns the regular files at path by base name.
func candidates(path string) (map[string][]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, reason.Errorf(reason.NotFound, "%v", err)
	}
	if !info.IsDir() {
		return map[string][]string{filepath.Base(path): {path}}, nil
	}
	files := map[string][]string{}
	count := 0
	err = filepath.WalkDir(path, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if count++; count > maxArtifacts {
			return reason.Errorf(reason.UsageError, "%s holds more than %d files; name the folder of the build", path, maxArtifacts)
		}
		if d.Type().IsRegular() {
			files[d.Name()] = append(files[d.Name()], name)
		}
		return nil
	})
	return files, err
}

// hashFile streams a file through SHA-256: firmware is larger than memory is sure to be.
func hashFile(path string) (sha string, length int64, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", 0, reason.Errorf(reason.NotFound, "no file %q", path)
	}
	if err != nil {
		return "", 0, err
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	n, err := io.Copy(h, io.LimitReader(f, metadata.MaxImage+1))
	if err != nil {
		return "", 0, err
	}
	if n == 0 || n > metadata.MaxImage {
		return "", 0, reason.Errorf(reason.TooLarge, "%s has %d bytes, wanted 1 to %d", path, n, int64(metadata.MaxImage))
	}
	return hex.EncodeToString(h.Sum(nil)), n, nil
}
