package event

import (
	"slices"
	"time"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// maxPast bounds how many earlier versions of a file are looked at.
const maxPast = 4096

// earlier calls each for the versions of a role below the one in force, the newest first, with the time
// when the version above it was published. It ends when each returns false.
func (s *State) earlier(role string, past Past, each func(t *targetsFile, next time.Time) (bool, error)) error {
	current, err := s.role(role)
	if err != nil || current == nil {
		return err
	}
	_, next, err := past.Version(role, current.Signed.Version)
	if err != nil {
		return reason.Wrap(err, "image %s version %d", role, current.Signed.Version)
	}
	for n, v := 0, current.Signed.Version-1; v > 0 && n < maxPast; v-- {
		data, published, err := past.Version(role, v)
		if err != nil {
			return reason.Wrap(err, "image %s version %d", role, v)
		}
		if len(data) == 0 {
			continue // a version that was skipped
		}
		n++
		t, err := metadata.ParseTargets(data, metadata.Profile)
		if err == nil {
			err = metadata.CheckScope(t.Signed.UnrecognizedFields, s.deployment, metadata.Image, role)
		}
		if err != nil {
			return reason.Wrap(err, "image %s version %d", role, v)
		}
		if more, err := each(t, next); err != nil || !more {
			return err
		}
		next = published
	}
	return nil
}

// everListed reports whether a product listed an image before, and when the image left: the time at
// which the first version without it was published.
func (s *State) everListed(product string, image stopImage, past Past) (was bool, left time.Time, err error) {
	role, err := s.listsIn(product, image.path)
	if err != nil || role == "" {
		return false, time.Time{}, err
	}
	err = s.earlier(role, past, func(t *targetsFile, next time.Time) (bool, error) {
		target, _, err := targetIn(t, image)
		was, left = target != nil, next
		return !was, err
	})
	return was, left, err
}

// listedBefore returns the targets of a release as the newest version that still had any listed them.
func (s *State) listedBefore(product, version string, past Past) ([]entry, error) {
	file, err := s.parent(product)
	if err != nil {
		return nil, err
	}
	roles := []string{product}
	if succinct := succinctOf(file); succinct != nil {
		roles = metadata.Bins(succinct)
	}
	var found []entry
	for _, role := range roles {
		if err := s.earlier(role, past, func(t *targetsFile, _ time.Time) (bool, error) {
			entries, err := ofRelease(t, role, version)
			found = append(found, entries...)
			return len(entries) == 0, err
		}); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(found, byPath)
	return found, nil
}
