package outsider

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/countersign-ota/countersign/agent/trust"
	"github.com/countersign-ota/countersign/cmd/internal/cli"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// compare compares the file at hand with the targets, or without one the images that the repository
// gives. Other bytes are refused in the report.
func (v *verifier) compare(ctx context.Context, targets []*trust.Target) error {
	if v.Artifact != "" {
		return v.compareArtifact(ctx)
	}
	for i, t := range targets {
		if err := v.compareImage(ctx, &v.report.Targets[i], t); err != nil {
			return err
		}
	}
	return nil
}

// compareArtifact compares the file at hand: with the target that has its bytes, else with the one of
// its name, else with the only one.
func (v *verifier) compareArtifact(ctx context.Context) error {
	got, err := v.hashArtifact(ctx)
	if err != nil {
		return err
	}
	list := v.report.Targets
	at := slices.IndexFunc(list, func(t Target) bool { return t.SHA256 == got.SHA256 && t.Length == got.Length })
	got.Same = at >= 0
	if at < 0 {
		at = slices.IndexFunc(list, func(t Target) bool { return path.Base(t.Path) == filepath.Base(v.Artifact) })
	}
	if at < 0 && len(list) == 1 {
		at = 0
	}
	if at < 0 {
		v.report.refuse(reason.Errorf(reason.ArtifactDiffers, "%s is none of the %d files of %s: sha256 %s, %d bytes",
			v.Artifact, len(list), v.report.Subject, got.SHA256, got.Length))
		return nil
	}
	list[at].Bytes = got
	if !got.Same {
		v.report.refuse(reason.Errorf(reason.ArtifactDiffers, "%s is not %s: sha256 %s and %d bytes, signed are %s and %d",
			v.Artifact, list[at].Path, got.SHA256, got.Length, list[at].SHA256, list[at].Length))
	}
	return nil
}

func (v *verifier) hashArtifact(ctx context.Context) (*Bytes, error) {
	// A pipe would be waited for when it is opened.
	info, err := os.Stat(v.Artifact)
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	var f *os.File
	if err == nil {
		f, err = os.Open(v.Artifact)
	}
	if err != nil {
		return nil, reason.Errorf(reason.UsageError, "artifact %q: %v", v.Artifact, cause(err))
	}
	defer func() { _ = f.Close() }()
	got, err := v.hash(ctx, f, filepath.Base(v.Artifact), info.Size(), metadata.MaxImage)
	if err != nil {
		return nil, reason.Wrap(err, "artifact %q", v.Artifact)
	}
	got.File = v.Artifact
	return got, nil
}

// compareImage compares the image that the repository gives. That it gives none is no error: images may
// need a certificate, and a copy may be of metadata alone.
func (v *verifier) compareImage(ctx context.Context, d *Target, t *trust.Target) error {
	dir, file := path.Split(t.Path)
	r, err := v.Source.Open(ctx, "targets/"+dir+d.SHA256+"."+file)
	if errors.Is(err, trust.ErrNotFound) || errors.Is(err, ErrNotGiven) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	got, err := v.hash(ctx, r, t.Path, t.Length, t.Length)
	if err != nil {
		return reason.Wrap(err, "%s", t.Path)
	}
	got.Same = got.SHA256 == d.SHA256 && got.Length == d.Length
	d.Bytes = got
	switch {
	case got.Length > d.Length:
		v.report.refuse(reason.Errorf(reason.LengthMismatch, "the repository's %s has more than %d bytes, which are signed", t.Path, d.Length))
	case got.Length != d.Length:
		v.report.refuse(reason.Errorf(reason.LengthMismatch, "the repository's %s has %d bytes, signed are %d", t.Path, got.Length, d.Length))
	case !got.Same:
		v.report.refuse(reason.Errorf(reason.HashMismatch, "the repository's %s has sha256 %s, signed is %s", t.Path, got.SHA256, d.SHA256))
	}
	return nil
}

// hash reads at most limit bytes and one more, which shows in the length.
func (v *verifier) hash(ctx context.Context, r io.Reader, name string, size, limit int64) (*Bytes, error) {
	bar := v.Progress.Start(name, 0, size)
	defer bar.End()
	h := sha256.New()
	n, err := io.Copy(h, &watched{ctx, io.LimitReader(r, limit+1), bar})
	if err != nil {
		return nil, err
	}
	return &Bytes{Length: n, SHA256: hex.EncodeToString(h.Sum(nil))}, nil
}

// watched ends with its context and moves a bar.
type watched struct {
	ctx context.Context //nolint:containedctx // of the one copy
	r   io.Reader
	bar cli.Bar
}

// Read implements io.Reader.
func (w *watched) Read(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := w.r.Read(p)
	w.bar.Add(int64(n))
	return n, err
}
