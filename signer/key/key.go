// Package key makes, protects and loads the keys with which people sign.
//
// A person has one or two files: ID.key, the encrypted private keys, which never leaves the machine
// or stick, and ID.pub, which goes into the plan. One file may hold a second key for the director
// root, since the two roots share no key (DESIGN 1.4). Start with Generate and Load. The encrypted
// form is the one that cosign reads: scrypt and secretbox around PKCS#8. It does not protect against
// a machine that is not the person's own while the passphrase is typed.
package key

import (
	"crypto"

	"github.com/sigstore/sigstore/pkg/signature"

	"github.com/countersign-ota/countersign/proto/metadata"
)

// Type is the kind of a key.
type Type string

// The types of keys that people sign with (DESIGN 1.4).
const (
	Ed25519 Type = "ed25519"
	P256    Type = "p256"
)

// Private is a person's keys, decrypted. Its Public half is that of the keys.
type Private struct {
	Public Public
	keys   map[metadata.Repository]crypto.Signer
}

// Generate makes the keys of a person: one for the image repository and, if director is set, one for
// the director root. about gives Person, Name and Class.
func Generate(t Type, about Public, director bool) (*Private, error) { panic("key: being written") }

// Signers returns the signers by repository, for event.Sign.
func (p *Private) Signers() (map[metadata.Repository]signature.Signer, error) {
	panic("key: being written")
}

// Public is the content of an ID.pub file.
type Public struct {
	Person, Name, Class string
	// Image is required, Director nil when there is no key for the director root.
	Image, Director *metadata.Key
}

// ParsePublic reads an ID.pub file strictly.
func ParsePublic(data []byte) (*Public, error) { panic("key: being written") }

// Bytes returns the file: one line of compact JSON.
func (p *Public) Bytes() ([]byte, error) { panic("key: being written") }

// Passphrase asks for the passphrase of a key file; it is told whose keys they are.
type Passphrase func(Public) ([]byte, error)

// Load reads and decrypts a key file. Reasons: secret-exposed (others may read it),
// wrong-passphrase, malformed.
func Load(path string, ask Passphrase) (*Private, error) { panic("key: being written") }

// LoadPublic reads the public half of a key file without its passphrase.
func LoadPublic(path string) (*Public, error) { panic("key: being written") }

// Save encrypts the keys into a new file of mode 0600, durable on return. Reason: exists.
func (p *Private) Save(path string, passphrase []byte) error { panic("key: being written") }

// NewPassphrase returns a passphrase of 128 bits for a person who gave an empty one; it is shown once.
func NewPassphrase() (string, error) { panic("key: being written") }
