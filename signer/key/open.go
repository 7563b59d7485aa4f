package key

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"

	"github.com/countersign-ota/countersign/internal/kms"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// maxFile bounds an ID.key file in bytes.
const maxFile = 64 << 10

// Passphrase asks for the passphrase of a key file; it is told whose keys they are.
type Passphrase func(Public) ([]byte, error)

// Options say how keys are opened.
type Options struct {
	// Passphrase opens an encrypted file. Without it such a file is refused.
	Passphrase Passphrase
	// PIN opens a store; it is told the key's URI, and asked only if the store wants one.
	PIN func(ctx context.Context, uri string) ([]byte, error)
	// Stores are the schemes of stores that may be opened, such as "pkcs11". None is by itself.
	Stores []string
	// Repositories are those whose keys are opened; empty is all. A token of another need not be there.
	Repositories []metadata.Repository
}

func (o Options) wants(r metadata.Repository) bool {
	return len(o.Repositories) == 0 || slices.Contains(o.Repositories, r)
}

// store returns how the plug-in of one key is called.
func (o Options) store(uri string) kms.Options {
	k := kms.Options{Allow: o.Stores}
	if o.PIN != nil {
		k.PIN = func(ctx context.Context) ([]byte, error) { return o.PIN(ctx, uri) }
	}
	return k
}

// File is an ID.key file as it is read without a passphrase or PIN.
type File struct {
	Public Public
	// Stores has the URIs of keys that are in stores; it is empty for an encrypted file.
	Stores map[metadata.Repository]string
}

// Read reads a key file without opening its keys. The public half is as trustworthy as the file: Open
// compares it with the private keys. Reasons: secret-exposed (others may read it), malformed, not-found,
// those of ParseReference.
func Read(path string) (*File, error) {
	data, err := readSecret(path)
	if err != nil {
		return nil, err
	}
	if isReference(data) {
		ref, err := ParseReference(data)
		if err != nil {
			return nil, reason.Wrap(err, "%s", path)
		}
		return &File{ref.Public, ref.Stores()}, nil
	}
	_, public, err := split(data)
	if err != nil {
		return nil, reason.Wrap(err, "%s", path)
	}
	return &File{Public: *public}, nil
}

// Open opens the keys of a file: it decrypts them, or finds them in their stores. Signers of a store end
// with ctx. Reasons: those of Read, wrong-passphrase, those of kms.Open, and malformed when a store holds
// another key than the file names.
func Open(ctx context.Context, path string, o Options) (*Private, error) {
	data, err := readSecret(path)
	if err != nil {
		return nil, err
	}
	if !isReference(data) {
		return openEncrypted(path, data, o)
	}
	p, err := openReference(ctx, data, o)
	return p, reason.Wrap(err, "%s", path)
}

// Load is Open for encrypted files alone.
func Load(path string, ask Passphrase) (*Private, error) {
	return Open(context.Background(), path, Options{Passphrase: ask})
}

// openEncrypted decrypts the wanted keys; each costs the time and memory of its passphrase.
func openEncrypted(path string, data []byte, o Options) (*Private, error) {
	blocks, public, err := split(data)
	if err != nil {
		return nil, reason.Wrap(err, "%s", path)
	}
	if o.Passphrase == nil {
		return nil, reason.Errorf(reason.WrongPassphrase, "%s: the keys of %s are encrypted, and there is no passphrase", path, public.Person)
	}
	passphrase, err := o.Passphrase(*public)
	if err != nil {
		return nil, err // it was not the file
	}
	p, err := decrypt(blocks, public, passphrase, o.wants)
	return p, reason.Wrap(err, "%s", path)
}

// readSecret reads a file that only its owner may read.
func readSecret(path string) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, reason.Errorf(reason.NotFound, "no key file %q", path).WithHint("countersign key new --person ID")
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, reason.Errorf(reason.SecretExposed, "%s can be read by others, mode %04o", path, mode).
			WithHint("chmod 600 %s; if others use this machine, replace the key: countersign change", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, reason.Errorf(reason.Malformed, "%s has more than %d bytes", path, maxFile)
	}
	return data, nil
}

// isReference tells the two forms of a key file apart.
func isReference(data []byte) bool { return bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")) }
