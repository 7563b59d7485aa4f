package thief

import (
	"crypto"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"time"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	cs "github.com/countersign-ota/countersign/proto/metadata"
)

func (t *Thief) timestamp() (*cs.File[cs.TimestampRole], error) {
	return cs.ParseTimestamp(t.Get("timestamp.json"), cs.Profile)
}

// Online returns the version of the timestamp that the thief serves.
func (t *Thief) Online() (int64, error) {
	ts, err := t.timestamp()
	if err != nil {
		return 0, err
	}
	return ts.Signed.Version, nil
}

func (t *Thief) snapshot() (*cs.File[cs.SnapshotRole], error) {
	ts, err := t.timestamp()
	if err != nil {
		return nil, err
	}
	return cs.ParseSnapshot(t.Get(fmt.Sprintf("%d.snapshot.json", ts.Signed.Meta["snapshot.json"].Version)), cs.Profile)
}

// Role returns the newest stolen file of a delegated role or of targets.
func (t *Thief) Role(role string) (*cs.File[cs.TargetsRole], error) {
	snap, err := t.snapshot()
	if err != nil {
		return nil, err
	}
	m, ok := snap.Signed.Meta[role+".json"]
	if !ok {
		return nil, fmt.Errorf("no role %q was stolen", role)
	}
	return cs.ParseTargets(t.Get(fmt.Sprintf("%d.%s.json", m.Version, role)), cs.Profile)
}

// OnlineKey is the stolen key of snapshot and timestamp.
func (t *Thief) OnlineKey() (cs.Signer, error) {
	key, err := t.privateKey("online/image.key")
	if err != nil {
		return nil, err
	}
	return signature.LoadSigner(key, crypto.SHA256)
}

// Edit decodes the signed part of a file, lets edit change it, and returns its canonical form.
func Edit(canonical []byte, edit func(signed map[string]any)) ([]byte, error) {
	var signed map[string]any
	raw, err := cs.FromCanonical(canonical)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(raw, &signed); err != nil {
		return nil, err
	}
	edit(signed)
	return cs.Canonical(signed)
}

// Replace serves file, whatever its bytes are, as the version after the stolen one of a role, listed in
// a snapshot and a timestamp that the thief signs with the stolen online key: all that the keys of the
// server can do.
func (t *Thief) Replace(role string, file []byte) error {
	stolen, err := t.Role(role)
	if err != nil {
		return err
	}
	version := stolen.Signed.Version + 1
	t.Put(fmt.Sprintf("%d.%s.json", version, role), file)
	return t.Publish(func(meta map[string]*metadata.MetaFiles) { meta[role+".json"] = MetaOf(version, file) })
}

// Publish signs a snapshot, changed by edit, and a timestamp for it with the stolen online key, Ahead
// of the stolen ones.
func (t *Thief) Publish(edit func(meta map[string]*metadata.MetaFiles)) error {
	online, err := t.OnlineKey()
	if err != nil {
		return err
	}
	snap, err := t.snapshot()
	if err != nil {
		return err
	}
	s := snap.Signed
	s.Version += t.Ahead
	s.Expires = t.now().UTC().Add(24 * time.Hour).Truncate(time.Second)
	edit(s.Meta)
	data, err := seal(s, online)
	if err != nil {
		return err
	}
	ts, err := t.timestamp()
	if err != nil {
		return err
	}
	stamp := ts.Signed
	stamp.Version += t.Ahead
	stamp.Expires = s.Expires
	stamp.Meta["snapshot.json"] = MetaOf(s.Version, data)
	stampData, err := seal(stamp, online)
	if err != nil {
		return err
	}
	t.Put(fmt.Sprintf("%d.snapshot.json", s.Version), data)
	t.Put("timestamp.json", stampData)
	return nil
}

// Sign returns the role file of a canonical signed part, signed by each of the keys.
func Sign(canonical []byte, keys ...cs.Signer) ([]byte, error) {
	var sigs []cs.Signature
	for _, k := range keys {
		pub, err := k.PublicKey()
		if err != nil {
			return nil, err
		}
		key, err := cs.NewKey(pub)
		if err != nil {
			return nil, err
		}
		sig, err := cs.Sign(canonical, k, key)
		if err != nil {
			return nil, err
		}
		sigs = append(sigs, sig)
	}
	role, err := cs.TypeOf(canonical)
	if err != nil {
		return nil, err
	}
	return cs.EncodeRaw(role, canonical, sigs)
}

func seal[T metadata.Roles](signed T, key cs.Signer) ([]byte, error) {
	canonical, err := cs.Signed(signed)
	if err != nil {
		return nil, err
	}
	return Sign(canonical, key)
}

// MetaOf is how a snapshot or timestamp lists a file.
func MetaOf(version int64, data []byte) *metadata.MetaFiles {
	sum := sha256.Sum256(data)
	m := metadata.MetaFile(version)
	m.Length = int64(len(data))
	m.Hashes["sha256"] = sum[:]
	return m
}
