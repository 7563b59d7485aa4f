package publish

import (
	"context"
	"sync"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/repository/internal/blob"
	"github.com/countersign-ota/countersign/repository/internal/store"
	"github.com/countersign-ota/countersign/signer/event"
)

// file is a file that a device may download: a target, or evidence of one, by path and content.
type file struct {
	path   string
	sha256 [32]byte
}

// index holds what role files in force name. A file that was uploaded and not published, or that was
// withdrawn, is not in it and is not served, whatever hash somebody guesses. It is safe for concurrent
// use.
type index struct {
	// cache is shared with the judgements, so that no file is parsed twice.
	cache *event.Cache

	mu sync.RWMutex
	// files counts the roles that name a file, and knows its length; guarded by mu, as is roles.
	files map[file]entry
	roles map[string][]file
}

type entry struct {
	length int64
	roles  int
}

// load fills the index from the store.
func (x *index) load(ctx context.Context, s store.Store) error {
	return s.View(ctx, func(v store.View) error {
		x.mu.Lock()
		defer x.mu.Unlock()
		x.files, x.roles = map[file]entry{}, map[string][]file{}
		roles, err := v.Roles(metadata.Image)
		if err != nil {
			return err
		}
		for _, r := range roles {
			_, rec, err := v.Current(metadata.Image, r.Role)
			if err != nil {
				return err
			}
			if err := x.put(r.Role, rec.GetData()); err != nil {
				return reason.Errorf(reason.StateDamaged, "stored image %s %d: %w", r.Role, r.Version, err).WithHint("countersignd check")
			}
		}
		return nil
	})
}

// announce serves what files that are about to be published name, besides what is in force: whoever
// reads the new metadata finds the files of it. The caller calls settle when it knows whether the files
// are public.
func (x *index) announce(files []published) (settle func(public bool), err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	named := map[string]map[file]int64{}
	for _, f := range files {
		if f.repository == metadata.Image {
			if named[f.role], err = x.named(f.role, f.data); err != nil {
				return nil, err
			}
		}
	}
	for role, files := range named {
		x.hold(announced+role, files)
	}
	return func(public bool) {
		x.mu.Lock()
		defer x.mu.Unlock()
		for role, files := range named {
			if public {
				x.hold(role, files)
			}
			x.hold(announced+role, nil)
		}
	}, nil
}

// announced begins the key in index.roles of a role file that is not public yet. No role's name holds it.
const announced = "announced "

// put replaces what one role names; x.mu is held.
func (x *index) put(role string, data []byte) error {
	named, err := x.named(role, data)
	if err == nil {
		x.hold(role, named)
	}
	return err
}

// named returns the files that a role file names, with their lengths in bytes.
func (x *index) named(role string, data []byte) (map[file]int64, error) {
	_, kind, err := metadata.SplitRole(role)
	if err != nil || (kind != metadata.RoleProduct && kind != metadata.RoleBin) {
		return nil, err
	}
	t, err := x.cache.Targets(data)
	if err != nil {
		return nil, err
	}
	named := map[file]int64{}
	for path, target := range t.Signed.Targets {
		doc, err := metadata.ParseFirmware(path, target, false)
		if err != nil {
			return nil, err
		}
		named[file{path, [32]byte(target.Hashes["sha256"])}] = target.Length
		for _, ref := range doc.Evidence {
			id, err := parseID(ref.SHA256)
			if err != nil {
				return nil, err
			}
			named[file{ref.Path, id}] = ref.Length
		}
	}
	return named, nil
}

// hold replaces what is held for key by named; x.mu is held.
func (x *index) hold(key string, named map[file]int64) {
	list := make([]file, 0, len(named))
	for f, length := range named {
		list = append(list, f)
		x.files[f] = entry{length: length, roles: x.files[f].roles + 1}
	}
	for _, old := range x.roles[key] {
		e := x.files[old]
		if e.roles--; e.roles == 0 {
			delete(x.files, old)
		} else {
			x.files[old] = e
		}
	}
	if len(list) == 0 {
		delete(x.roles, key)
		return
	}
	x.roles[key] = list
}

// length returns the length of a file in force in bytes, or blob.AnyLength where it is not stated; ok is
// false for a file that none names.
func (x *index) length(path string, sha256 [32]byte) (n int64, ok bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	e, ok := x.files[file{path, sha256}]
	if e.length == 0 {
		return blob.AnyLength, ok
	}
	return e.length, ok
}
