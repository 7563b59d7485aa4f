// Package secret reads and writes the server's private keys: the two online keys, the key of the
// identity intermediate and the server's TLS key.
//
// A key is PKCS#8 in one PEM block, Ed25519 or ECDSA P-256, in a file that nobody else can read, or a
// credential that the service manager hands over (`credential:NAME`, a file in
// $CREDENTIALS_DIRECTORY). The online key of the image repository may also lie in a plug-in's token or
// KMS (Source.Online); the others sign too often for that. Keys of people never come here (DESIGN 1.4). Whoever can read these files
// can sign snapshot and timestamp, and nothing that a device installs by itself.
package secret

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/countersign-ota/countersign/internal/kms"
	"github.com/countersign-ota/countersign/proto/reason"
)

// maxKeyFile bounds a key file in bytes.
const maxKeyFile = 16 << 10

// Mode bits that a secret must not have. The service manager gives a credential to one user by an
// access list, whose mask shows as the group's bits, so those say nothing there.
const (
	privateMode    fs.FileMode = 0o077
	credentialMode fs.FileMode = 0o007
)

// CredentialPrefix marks a key that the service manager hands over.
const CredentialPrefix = "credential:"

// Source says where relative names and credentials are looked up.
type Source struct {
	// Dir is the folder of relative names.
	Dir string
	// Credentials is $CREDENTIALS_DIRECTORY; empty when there is none.
	Credentials string
	// KMS are the schemes of plug-ins that Online may run.
	KMS []string
}

// Path returns the file that ref names. Reason config if it names none.
func (s Source) Path(ref string) (string, error) {
	if err := kms.CheckPIN(ref); err != nil {
		return "", err
	}
	name, ok := strings.CutPrefix(ref, CredentialPrefix)
	switch {
	case !ok && ref == "":
		return "", reason.Errorf(reason.Config, "no key file is named")
	case kms.IsURI(ref):
		return "", reason.Errorf(reason.Config, "a key in a plug-in stands where a file or a credential must: it would sign too often")
	case !ok && filepath.IsAbs(ref):
		return filepath.Clean(ref), nil
	case !ok:
		return filepath.Join(s.Dir, ref), nil
	case name == "" || name != filepath.Base(name) || strings.HasPrefix(name, "."):
		return "", reason.Errorf(reason.Config, "%q is not the name of a credential", ref)
	case s.Credentials == "":
		return "", reason.Errorf(reason.Config, "%q wants a credential, and CREDENTIALS_DIRECTORY is not set", ref).
			WithHint("LoadCredential=%s:/path/to/key in the service's unit", name)
	}
	return filepath.Join(s.Credentials, name), nil
}

// Load reads the private key that ref names. Reasons: config, secret-exposed, key-malformed.
func (s Source) Load(ref string) (crypto.Signer, error) {
	path, err := s.Path(ref)
	if err != nil {
		return nil, err
	}
	forbidden := privateMode
	if strings.HasPrefix(ref, CredentialPrefix) {
		forbidden = credentialMode
	}
	data, err := read(path, forbidden)
	if err != nil {
		return nil, err
	}
	key, err := Parse(data)
	return key, reason.Wrap(err, "%s", path)
}

// ReadFile returns the bytes of a secret file. It looks at the mode of the file that it opened, not of
// the name, and refuses one that its group or others can read or write: secret-exposed.
func ReadFile(path string) ([]byte, error) { return read(path, privateMode) }

func read(path string, forbidden fs.FileMode) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, reason.Errorf(reason.Config, "key file %s does not exist", path)
	}
	if err != nil {
		return nil, reason.Errorf(reason.Config, "key file: %w", err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, reason.Errorf(reason.Config, "key file %s is not a regular file", path)
	}
	if info.Mode().Perm()&forbidden != 0 {
		return nil, reason.Errorf(reason.SecretExposed, "%s can be read by others, mode %#o", path, info.Mode().Perm()).
			WithHint("chmod 600 %s; if others use this machine, replace the key", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxKeyFile {
		return nil, reason.Errorf(reason.TooLarge, "key file %s has more than %d bytes", path, maxKeyFile)
	}
	return data, nil
}

// Parse reads one PKCS#8 PEM block and nothing else: key-malformed.
func Parse(data []byte) (crypto.Signer, error) {
	block, rest := pem.Decode(data)
	if block == nil || block.Type != "PRIVATE KEY" || len(strings.TrimSpace(string(rest))) != 0 {
		return nil, reason.Errorf(reason.KeyMalformed, "want one PEM block \"PRIVATE KEY\"")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, reason.Errorf(reason.KeyMalformed, "private key is not PKCS#8: %v", err)
	}
	switch k := key.(type) {
	case ed25519.PrivateKey:
		return k, nil
	case *ecdsa.PrivateKey:
		if k.Curve == elliptic.P256() {
			return k, nil
		}
	}
	return nil, reason.Errorf(reason.KeyMalformed, "private key is a %T, want Ed25519 or ECDSA P-256", key)
}

// Marshal returns the PEM form of a key that Parse reads.
func Marshal(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}
