package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/countersign-ota/countersign/cmd/countersign/internal/show"
	"github.com/countersign-ota/countersign/cmd/internal/cli"
	"github.com/countersign-ota/countersign/internal/kms"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/signer/event"
	"github.com/countersign-ota/countersign/signer/key"
)

// ownKey is a person's keys with their public half; they are not unlocked.
type ownKey struct {
	path   string // of the ID.key file; "" for a URI
	public *key.Public
	stores map[metadata.Repository]string // where keys are that no file holds
	// private is set once keys were found in their stores.
	private *key.Private
	at      *storedKey // the key of a URI, of which no file says whose it is
}

// keys returns the public keys by repository. That of a URI is tried in both: no key is in both roots.
func (k ownKey) keys() map[metadata.Repository]*metadata.Key {
	if k.at != nil {
		return map[metadata.Repository]*metadata.Key{metadata.Image: k.public.Image, metadata.Director: k.public.Image}
	}
	return k.public.Keys()
}

// whose names the person for errors; that of a URI is not known.
func (k ownKey) whose() string {
	if k.public.Person == "" {
		return "of that URI"
	}
	return k.public.Person
}

// ownKeys returns the keys of this machine, by name.
func (t *tool) ownKeys() ([]ownKey, error) {
	h, err := t.home()
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(h.Paths.Keys)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var keys []ownKey
	for _, e := range entries {
		if e.IsDir() || !strings.HasSuffix(e.Name(), ".key") {
			continue
		}
		k, err := openKey(filepath.Join(h.Paths.Keys, e.Name()))
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	return keys, nil
}

func openKey(path string) (ownKey, error) {
	f, err := key.Read(path)
	if reason.Is(err, reason.NotFound) {
		return ownKey{}, cli.Usagef("there is no key %s", cli.Quote(path)).WithHint("countersign key show")
	}
	if err != nil {
		return ownKey{}, err
	}
	return ownKey{path: path, public: &f.Public, stores: f.Stores}, nil
}

// namedKey returns the key of a REF: a URI, a path, or a person among the keys of this machine.
func (t *tool) namedKey(ctx context.Context, ref string) (ownKey, error) {
	if kms.IsURI(ref) {
		return t.keyAt(ctx, ref)
	}
	path, err := t.findKey(ref)
	if err != nil {
		return ownKey{}, err
	}
	return openKey(path)
}

func people(keys []ownKey) []string {
	var ids []string
	for _, k := range keys {
		ids = append(ids, k.public.Person)
	}
	return ids
}

// signingKey returns the key that signs an event: that of --key, else that of the deployment's
// settings, else the only one here that may.
func (t *tool) signingKey(ctx context.Context, j *judged) (ownKey, *event.Signing, error) {
	ref := t.key
	if ref == "" {
		ref = j.settings.Key
	}
	if ref != "" {
		k, err := t.namedKey(ctx, ref)
		if err != nil {
			return ownKey{}, nil, err
		}
		s, err := j.MaySign(k.keys(), j.view.history)
		return k, s, notInRole(err, j, k)
	}
	own, err := t.ownKeys()
	if err != nil {
		return ownKey{}, nil, err
	}
	return t.onlyKey(j, own)
}

// onlyKey returns the only one of the keys that may sign the event.
func (t *tool) onlyKey(j *judged, own []ownKey) (ownKey, *event.Signing, error) {
	var can []ownKey
	var signing *event.Signing
	var refused error
	for _, k := range own {
		s, err := j.MaySign(k.keys(), j.view.history)
		switch {
		case err == nil:
			can, signing = append(can, k), s
		case refused == nil || !reason.Is(err, reason.KeyNotInRole):
			refused = err
		}
	}
	switch {
	case len(can) == 1:
		return can[0], signing, nil
	case len(can) > 1:
		ids := people(can)
		slices.Sort(ids)
		return ownKey{}, nil, cli.Usagef("several keys here may sign: %s", strings.Join(ids, ", ")).WithHint("add --key %s", ids[0])
	case refused != nil:
		return ownKey{}, nil, notInRole(refused, j, own[0])
	}
	return ownKey{}, nil, cli.Usagef("there is no key on this machine").WithHint("countersign key new --person ID")
}

// notInRole words the refusal of a key that is in no role of the event: whose key it is, the role, and
// who is in it.
func notInRole(err error, j *judged, k ownKey) error {
	if !reason.Is(err, reason.KeyNotInRole) {
		return err
	}
	id, kerr := metadata.KeyID(k.public.Image)
	if kerr != nil {
		return err
	}
	f := &j.Files[0]
	var ids []string
	for _, s := range f.Signers {
		for _, p := range s.Delegation.Quorum.People {
			ids = append(ids, p.ID)
		}
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	are := "are"
	if len(ids) == 1 {
		are = "is"
	}
	return reason.Errorf(reason.KeyNotInRole, "key %s (%s) is not in role %s; %s %s", short(id), k.whose(),
		roleName(f.Repository, f.Role), show.And(ids), are).WithHint("countersign key show lists your roles")
}

// keyList names keys: "key 3abd72ec6352", "keys 3abd72ec6352 and 90be44106c1e".
func keyList(ids []string) string {
	var some []string
	for _, id := range ids {
		some = append(some, short(id))
	}
	if len(some) == 1 {
		return "key " + some[0]
	}
	return "keys " + show.And(some)
}
