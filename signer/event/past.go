package event

import (
	"slices"
	"time"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// maxPast bounds how many earlier versions of a file are looked at.
const maxPast = 4096

// earlier is one version of a role below the one in force.
type earlier struct {
	file *targetsFile
	// proven says that the file needs no trust in where it came from: it is the server's own, or those who
	// sign the role today signed it.
	proven bool
	// above is the version that followed, and next when that was published; zero where it is not known.
	above *targetsFile
	next  time.Time
}

// gone returns about when what this version was the last to list left: for an order, not for a rule.
func (e earlier) gone() time.Time {
	if e.next.IsZero() {
		return e.above.Signed.Expires.Add(-lifetime)
	}
	return e.next
}

// earlierOf calls each for the versions of a role below the one in force, the newest first. It ends when
// each returns false.
func (s *State) earlierOf(role string, past Past, each func(e earlier) (bool, error)) error {
	current, err := s.role(role)
	if err != nil || current == nil {
		return err
	}
	_, next, err := past.Version(role, current.Signed.Version)
	if err != nil {
		return reason.Wrap(err, "image %s version %d", role, current.Signed.Version)
	}
	above := current
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
		if err == nil && t.Signed.Version != v {
			err = reason.Errorf(reason.Malformed, "version %d stands in its place", t.Signed.Version)
		}
		if err != nil {
			return reason.Wrap(err, "image %s version %d", role, v)
		}
		if more, err := each(earlier{t, s.proven(role, t), above, next}); err != nil || !more {
			return err
		}
		above, next = t, published
	}
	return nil
}

// proven reports whether an earlier file of a role is known to be genuine. Where a server gives it, that
// takes the people of today: who signed for others is not known here.
func (s *State) proven(role string, t *targetsFile) bool {
	if !s.verify {
		return true
	}
	d, _, err := s.delegationOf(role)
	return err == nil && d.Verify(t.Canonical(), t.Signatures) == nil
}

// everListed returns the newest earlier version that listed an image; nil if none did.
func (s *State) everListed(product string, image stopImage, past Past) (last *earlier, err error) {
	role, err := s.listsIn(product, image.path)
	if err != nil || role == "" {
		return nil, err
	}
	err = s.earlierOf(role, past, func(e earlier) (bool, error) {
		target, _, err := targetIn(e.file, image)
		if target != nil {
			last = &e
		}
		return target == nil, err
	})
	return last, err
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
		if err := s.earlierOf(role, past, func(e earlier) (bool, error) {
			entries, err := ofRelease(e.file, role, version)
			found = append(found, entries...)
			return len(entries) == 0, err
		}); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(found, byPath)
	return found, nil
}
