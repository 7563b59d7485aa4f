package event

import (
	"strconv"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// whoSigns notes which delegations each file must satisfy.
func (t *trial) whoSigns() error {
	for _, p := range t.files {
		if err := t.signersOf(p); err != nil {
			return reason.Wrap(err, "%s", p)
		}
		for _, s := range p.signers {
			if err := t.examples(keysOf(s.Delegation)); err != nil {
				return reason.Wrap(err, "%s", p)
			}
		}
	}
	return nil
}

func (t *trial) signersOf(p *proposed) error {
	add := func(by string, d *metadata.Delegation, err error) error {
		if err != nil {
			return err
		}
		p.signers = append(p.signers, Signers{By: by, Delegation: d})
		return nil
	}
	if p.root != nil {
		// TUF 5.3.4: root N+1 is signed by the quorum of N and by its own.
		if p.oldRoot != nil {
			d, err := metadata.RootDelegation(p.oldRoot, metadata.Root, metadata.Profile)
			if err := add(label(metadata.Root, p.oldVersion), d, err); err != nil {
				return err
			}
		}
		d, err := metadata.RootDelegation(p.root, metadata.Root, metadata.Profile)
		return add("this root", d, err)
	}
	if p.kind == metadata.RoleTop {
		root, err := t.rootAfter(metadata.Image)
		if err != nil {
			return err
		}
		if root == nil {
			return reason.Errorf(reason.Malformed, "image root is not in the base")
		}
		d, err := metadata.RootDelegation(root, metadata.Targets, metadata.Profile)
		return add(label(metadata.Root, root.Signed.Version), d, err)
	}
	parent := metadata.Targets
	if p.kind == metadata.RoleBin {
		parent = p.product
	}
	file, err := t.delegator(parent)
	if err != nil {
		return err
	}
	d, err := metadata.TargetsDelegation(file, p.role, metadata.Profile)
	return add(label(parent, file.Signed.Version), d, err)
}

func label(role string, version int64) string { return role + " " + strconv.FormatInt(version, 10) }

// keysOf returns the keys that a delegation names.
func keysOf(d *metadata.Delegation) map[string]*metadata.Key {
	keys := map[string]*metadata.Key{}
	for _, id := range d.KeyIDs {
		if k := d.Keys[id]; k != nil {
			keys[id] = k
		}
	}
	return keys
}

// perSignature bounds a signature in a file: key id, 72 bytes in hex, names and punctuation.
const perSignature = 256

// sizeOf returns how many bytes a file will have at most, once everybody signed it.
func sizeOf(p *proposed) int64 {
	n := perSignature * len(keyIDsOf(p))
	if p.targets != nil {
		return int64(len(p.targets.Bytes()) + n)
	}
	return int64(len(p.signed) + len(p.signed)/32 + n)
}

func keyIDsOf(p *proposed) map[string]bool {
	ids := map[string]bool{}
	for _, s := range p.signers {
		for _, id := range s.Delegation.KeyIDs {
			ids[id] = true
		}
	}
	return ids
}

// sizes makes sure that each file stays within its bounds (DESIGN 6) once everybody signed it.
func (t *trial) sizes() error {
	for _, p := range t.files {
		if n := len(keyIDsOf(p)); n > metadata.MaxSignatures {
			return reason.Errorf(reason.Limit, "%s may be signed by %d keys, at most %d are allowed", p, n, metadata.MaxSignatures)
		}
		size := sizeOf(p)
		if limit := metadata.MaxSize(metadata.Profile, p.role); size > limit {
			return reason.Errorf(reason.Limit, "%s has %d bytes with its signatures, at most %d are allowed", p, size, limit).
				WithHint("%s", fullHint)
		}
	}
	return nil
}
