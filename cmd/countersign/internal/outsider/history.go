package outsider

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/countersign-ota/countersign/agent/trust"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// Bounds of a look into the past.
const (
	// maxReads is how many old files one Verify asks for.
	maxReads = 4096
	// maxGap is how many versions in a row may be missing; what lies before them is not looked for.
	// Recovery skips 16 versions (DESIGN 1.5).
	maxGap = 256
)

// errReads ends a look into the past.
var errReads = fmt.Errorf("more than %d old files would have to be read", maxReads)

// targetsFile is a file of a product, of a bin, or of top-level targets.
type targetsFile = metadata.File[metadata.TargetsRole]

// pastKey names an old file.
type pastKey struct {
	role    string
	version int64
}

// past is an old file as the repository gives it: not verified; nil when it is missing, or bad says why
// it is as good as missing.
type past struct {
	file *targetsFile
	bad  error
}

// history reads old versions of role files. Nothing it returns is verified: see then.
type history struct {
	fetch trust.Fetcher
	reads int
	known map[pastKey]past
}

// first is where a target was listed first, as far as the files tell.
type first struct {
	// file is the earliest version at hand that lists the target.
	file *targetsFile
	// before is the newest version below file that is at hand; it does not list the target. nil without one.
	before *targetsFile
	// err is why the search ended early.
	err error
}

// search looks for the first version of a role that lists a target as current does. What is listed stays
// listed until it is withdrawn, and no counter comes back, so halving finds it. Versions may be missing:
// numbers are skipped, and copies need not hold what is old. The error says that the source failed.
func (h *history) search(ctx context.Context, t *trust.Target, current *targetsFile) (first, error) {
	found := first{file: current}
	low := int64(0) // no version from 1 to low that is at hand lists the target
	for step := int64(1); found.file.Signed.Version-low > 1; step *= 2 {
		high := found.file.Signed.Version
		at := low + (high-low)/2
		if low == 0 {
			at = max(1, high-step)
		}
		f, err := h.below(ctx, t.Role, at, low)
		switch {
		case errors.Is(err, errReads):
			found.err = err
			return found, nil
		case err != nil:
			return first{}, err
		case f == nil:
			low = at
		case lists(f, t):
			found.file = f
		default:
			found.before, low = f, at
		}
	}
	return found, nil
}

// below returns the newest version at hand from at down to, and without, low; nil when there is none,
// or none among the next maxGap.
func (h *history) below(ctx context.Context, role string, at, low int64) (*targetsFile, error) {
	for v := at; v > max(low, at-maxGap); v-- {
		p, err := h.read(ctx, role, v)
		if err != nil {
			return nil, err
		}
		if p.file != nil {
			return p.file, nil
		}
	}
	return nil, nil
}

// read returns an old file. The error says that the source failed, or errReads.
func (h *history) read(ctx context.Context, role string, version int64) (past, error) {
	key := pastKey{role, version}
	if p, ok := h.known[key]; ok {
		return p, nil
	}
	if h.reads++; h.reads > maxReads {
		return past{}, errReads
	}
	data, err := h.fetch.Fetch(ctx, role, version, metadata.MaxSize(metadata.Profile, role))
	var p past
	switch {
	case errors.Is(err, trust.ErrNotFound) || errors.Is(err, ErrNotGiven):
	case err != nil && reason.Of(err).Class() == reason.NotAuthentic:
		p.bad = err
	case err != nil:
		return past{}, err
	default:
		p.file, p.bad = metadata.ParseTargets(data, metadata.Profile)
		if p.bad == nil && p.file.Signed.Version != version {
			p.bad = reason.Errorf(reason.Malformed, "it is version %d", p.file.Signed.Version)
		}
		if p.bad != nil {
			p = past{bad: reason.Wrap(p.bad, "%d.%s.json", version, role)}
		}
	}
	if role != metadata.Targets || p.file == nil {
		h.known[key] = p
	}
	return p, nil
}

// lists reports whether a file lists a target with the same bytes and the same firmware document.
func lists(f *targetsFile, t *trust.Target) bool {
	entry, ok := f.Signed.Targets[t.Path]
	if !ok || entry.Length != t.Length || !bytes.Equal(entry.Hashes["sha256"], t.SHA256[:]) {
		return false
	}
	custom, err := metadata.CustomCanonical(entry)
	return err == nil && bytes.Equal(custom, t.Custom)
}

// doubt says why the first version that lists the target may be an earlier one than f.file; "" when the
// version before it is at hand, which proven says is genuine.
func (h *history) doubt(role string, f first, proven func(*targetsFile) string) string {
	version := f.file.Signed.Version
	switch {
	case f.err != nil:
		return f.err.Error()
	case version == 1:
		return ""
	case f.before == nil:
		return fmt.Sprintf("no version of %s before %d was found here", role, version) + h.badFrom(role, 1, version)
	}
	before := f.before.Signed.Version
	if before+1 < version {
		return fmt.Sprintf("of %s nothing between versions %d and %d was found here, be it skipped or kept back", role, before, version) +
			h.badFrom(role, before+1, version)
	}
	if why := proven(f.before); why != "" {
		return fmt.Sprintf("%s %d, the version before, is not proven: %s", role, before, why)
	}
	return ""
}

// badFrom tells of the newest file from low up to, and without, high that is there and cannot be read.
func (h *history) badFrom(role string, low, high int64) string {
	newest := pastKey{role, 0}
	for key, p := range h.known {
		if key.role == role && p.bad != nil && key.version >= max(low, newest.version) && key.version < high {
			newest = key
		}
	}
	if newest.version == 0 {
		return ""
	}
	return fmt.Sprintf("; %v", h.known[newest].bad)
}

func digestHex(f *targetsFile) string {
	digest := f.Digest()
	return hex.EncodeToString(digest[:])
}
