package event

import (
	"maps"
	"slices"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// people carries out what holds across roles (DESIGN 1.1, 1.2): a key means the same person
// everywhere, no key is both a person's and the server's, and none is an example. It runs when the
// event holds a file that names keys; without one nothing can have changed.
func (t *trial) people() error {
	names := func(p *proposed) bool { return p.role == metadata.Root || p.role == metadata.Targets }
	if !slices.ContainsFunc(t.files, names) {
		return nil
	}
	image, err := t.rootAfter(metadata.Image)
	if err != nil {
		return err
	}
	if image == nil {
		return reason.Errorf(reason.Malformed, "image root is not in the base")
	}
	// A signer without network may see only the root that the event touches; the server sees both.
	director, err := t.rootAfter(metadata.Director)
	if err != nil {
		return err
	}
	targets, err := t.roleAfter(metadata.Targets)
	if err != nil {
		return err
	}
	if err := metadata.CheckKeys(image, director, targets); err != nil {
		return err
	}
	if err := t.examples(image.Signed.Keys); err != nil {
		return err
	}
	if director != nil {
		if err := t.examples(director.Signed.Keys); err != nil {
			return err
		}
	}
	if targets != nil && targets.Signed.Delegations != nil {
		return t.examples(targets.Signed.Delegations.Keys)
	}
	return nil
}

// examples refuses keys that everybody can sign with (DESIGN 1.4), or notes them where the tool allows
// them.
func (t *trial) examples(keys map[string]*metadata.Key) error {
	for _, id := range slices.Sorted(maps.Keys(keys)) {
		if !metadata.ExampleKey(keys[id]) {
			continue
		}
		if !t.opts.AllowExample {
			return reason.Errorf(reason.KeyExample, "key %.12s is one of keys-example, with which everybody can sign", id).
				WithHint("make keys of your own: countersign key new")
		}
		t.example = true
	}
	return nil
}
