package home

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/countersign-ota/countersign/internal/durable"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/signer/event"
	"github.com/countersign-ota/countersign/signer/remote"
)

// Names of a deployment's files.
const (
	historyFile  = "history.json"
	baseFile     = "base.json"
	caFile       = "ca.pem"
	identityFile = "identity.pem"
	lockFile     = "lock"
)

// Place is the directory of one deployment. It need not exist for reading.
type Place struct {
	dir string
}

// Place returns the directory of a deployment.
func (h *Home) Place(deployment string) Place { return Place{h.Paths.Deployment(deployment)} }

// History returns what this machine saw and signed; an empty one if nothing.
func (p Place) History() (*event.History, error) {
	data, err := os.ReadFile(filepath.Join(p.dir, historyFile))
	if errors.Is(err, fs.ErrNotExist) {
		return &event.History{}, nil
	}
	if err != nil {
		return nil, err
	}
	h, err := event.ParseHistory(data)
	if err != nil {
		return nil, reason.Errorf(reason.StateDamaged, "%s: %w", filepath.Join(p.dir, historyFile), err).
			WithHint("restore it from a backup; without it this machine cannot refuse old versions")
	}
	return h, nil
}

// UpdateHistory reads the history again under the lock, changes it, and writes it durably. Two tools
// that run at the same time lose nothing.
func (p Place) UpdateHistory(change func(*event.History) error) error {
	l, err := p.lock()
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }()
	h, err := p.History()
	if err != nil {
		return err
	}
	if err := change(h); err != nil {
		return err
	}
	data, err := h.Bytes()
	if err != nil {
		return err
	}
	return durable.Replace(filepath.Join(p.dir, historyFile), data, 0o600)
}

// lockPatience is how long another tool may hold the lock; it does so for one small write.
const lockPatience = 5 * time.Second

func (p Place) lock() (*durable.Lockfile, error) {
	if err := durable.MkdirAll(p.dir, 0o700); err != nil {
		return nil, err
	}
	for start := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		l, err := durable.Lock(filepath.Join(p.dir, lockFile))
		if err == nil {
			return l, nil
		}
		if !errors.Is(err, durable.ErrLocked) || time.Since(start) > lockPatience {
			return nil, reason.Errorf(reason.Locked, "%w", err).WithHint("wait for the other countersign, or end it")
		}
	}
}

// CA returns the identity CA's root; nil before a login.
func (p Place) CA() (*x509.Certificate, error) {
	data, err := os.ReadFile(filepath.Join(p.dir, caFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, reason.Errorf(reason.StateDamaged, "%s is not a certificate", filepath.Join(p.dir, caFile)).
			WithHint("countersign login --token-file FILE")
	}
	ca, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, reason.Errorf(reason.StateDamaged, "%s: %v", filepath.Join(p.dir, caFile), err).
			WithHint("countersign login --token-file FILE")
	}
	return ca, nil
}

// KeepCA keeps the identity CA's root.
func (p Place) KeepCA(ca *x509.Certificate) error {
	return p.write(caFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw}))
}

// Identity returns connection key and certificate; nil before a login. Reason: secret-exposed.
func (p Place) Identity() (*remote.Identity, error) {
	data, err := p.secret(identityFile)
	if data == nil || err != nil {
		return nil, err
	}
	id, err := remote.ParseIdentity(data)
	if err != nil {
		return nil, reason.Errorf(reason.StateDamaged, "%s: %w", filepath.Join(p.dir, identityFile), err).
			WithHint("countersign login --token-file FILE")
	}
	return id, nil
}

// KeepIdentity replaces connection key and certificate.
func (p Place) KeepIdentity(id *remote.Identity) error {
	data, err := id.Bytes()
	if err != nil {
		return err
	}
	return p.write(identityFile, data)
}

// LoginKey returns the key with which a token is or was used, made and kept at the first call: an
// answer that was lost on the way costs no token.
func (p Place) LoginKey(token string) (*remote.Key, error) {
	name := "login-" + token + ".pem"
	data, err := p.secret(name)
	if err != nil {
		return nil, err
	}
	if data != nil {
		return remote.ParseKey(data)
	}
	k, err := remote.NewKey()
	if err != nil {
		return nil, err
	}
	if data, err = k.Bytes(); err != nil {
		return nil, err
	}
	return k, p.write(name, data)
}

// DropLoginKey removes the key of a token whose login is complete.
func (p Place) DropLoginKey(token string) error {
	return durable.Remove(filepath.Join(p.dir, "login-"+token+".pem"))
}

func (p Place) write(name string, data []byte) error {
	if err := durable.MkdirAll(p.dir, 0o700); err != nil {
		return err
	}
	return durable.Replace(filepath.Join(p.dir, name), data, 0o600)
}

// secret reads a file that only its owner may read; nil when it is absent.
func (p Place) secret(name string) ([]byte, error) {
	path := filepath.Join(p.dir, name)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, reason.Errorf(reason.SecretExposed, "%s can be read by others, mode %04o", path, info.Mode().Perm()).
			WithHint("chmod 600 %s; if others use this machine: countersign login --token-file FILE", path)
	}
	return os.ReadFile(path)
}
