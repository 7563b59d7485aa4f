package key

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"strings"

	"github.com/secure-systems-lab/go-securesystemslib/encrypted"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// An ID.key file is one or two PEM blocks, image first:
//
//	-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----
//	Public: eyJjbGFzcyI6Im…                          base64 of the ID.pub file, first block only
//	Repository: image
//
//	base64 of {"kdf":{"name":"scrypt",…},"cipher":{"name":"nacl/secretbox",…},"ciphertext":…}
//	-----END ENCRYPTED SIGSTORE PRIVATE KEY-----
//
// Public is there so that key ids can be shown without a passphrase. It is compared with the private
// keys when they are decrypted. It is base64 because encoding/pem gives up on a header that holds the
// dashes of another PEM block, as the public key of a P-256 key does.
const (
	blockType        = "ENCRYPTED SIGSTORE PRIVATE KEY"
	repositoryHeader = "Repository"
	publicHeader     = "Public"
)

// split reads the blocks of a key file, still encrypted.
func split(data []byte) (map[metadata.Repository][]byte, *Public, error) {
	blocks := map[metadata.Repository][]byte{}
	var public *Public
	for len(bytes.TrimSpace(data)) > 0 {
		block, rest := pem.Decode(data)
		if block == nil {
			return nil, nil, reason.Errorf(reason.Malformed, "not a PEM file of keys")
		}
		data = rest
		r := metadata.Repository(block.Headers[repositoryHeader])
		switch {
		case block.Type != blockType:
			return nil, nil, reason.Errorf(reason.Malformed, "PEM block %q, wanted %q", block.Type, blockType)
		case r != metadata.Image && r != metadata.Director:
			return nil, nil, reason.Errorf(reason.Malformed, "PEM block for repository %q, wanted image or director", r)
		case blocks[r] != nil:
			return nil, nil, reason.Errorf(reason.Malformed, "two keys for the %s repository", r)
		}
		if text, ok := block.Headers[publicHeader]; ok && public == nil {
			raw, err := base64.StdEncoding.DecodeString(text)
			if err != nil {
				return nil, nil, reason.Errorf(reason.Malformed, "header %s: %v", publicHeader, err)
			}
			if public, err = ParsePublic(raw); err != nil {
				return nil, nil, reason.Wrap(err, "header %s", publicHeader)
			}
		}
		blocks[r] = block.Bytes
	}
	switch {
	case blocks[metadata.Image] == nil:
		return nil, nil, reason.Errorf(reason.Malformed, "no key for the image repository")
	case public == nil:
		return nil, nil, reason.Errorf(reason.Malformed, "no header %s", publicHeader)
	case (public.Director == nil) != (blocks[metadata.Director] == nil):
		return nil, nil, reason.Errorf(reason.Malformed, "header %s does not name the keys of the file", publicHeader)
	}
	return blocks, public, nil
}

func decrypt(blocks map[metadata.Repository][]byte, public *Public, passphrase []byte, wants func(metadata.Repository) bool) (*Private, error) {
	p := &Private{Public: *public, keys: map[metadata.Repository]crypto.Signer{}}
	keys := public.Keys()
	for _, r := range both {
		want := keys[r]
		if want == nil || !wants(r) {
			continue
		}
		der, err := encrypted.Decrypt(blocks[r], passphrase)
		if err != nil {
			if strings.Contains(err.Error(), "decryption failed") {
				return nil, reason.Errorf(reason.WrongPassphrase, "the passphrase does not open the %s key of %s", r, public.Person)
			}
			return nil, reason.Errorf(reason.Malformed, "%s key: %v", r, err)
		}
		parsed, err := x509.ParsePKCS8PrivateKey(der)
		if err != nil {
			return nil, reason.Errorf(reason.Malformed, "%s key: %v", r, err)
		}
		s, ok := parsed.(crypto.Signer)
		if !ok {
			return nil, reason.Errorf(reason.KeyMalformed, "%s key is a %T", r, parsed)
		}
		got, err := metadata.NewKey(s.Public())
		if err != nil {
			return nil, reason.Wrap(err, "%s key", r)
		}
		if !sameKey(got, want) {
			return nil, reason.Errorf(reason.Malformed, "%s key is another one than the file's header %s names", r, publicHeader)
		}
		p.keys[r] = s
	}
	return p, nil
}

func sameKey(a, b *metadata.Key) bool {
	ida, errA := metadata.KeyID(a)
	idb, errB := metadata.KeyID(b)
	return errA == nil && errB == nil && ida == idb
}

// kdf is scrypt with N 2^15, r 8, p 1: 32 MB for each key that is opened, so that reviewing and signing
// stay within 64 MB on the small machines on which ceremonies are held. The library's other settings
// cost whoever guesses two or four times as much, one or two bits of passphrase; files made with them
// are read as well.
const kdf = encrypted.Legacy

// Encrypt returns the content of a key file. Reason: wrong-passphrase (it is empty).
func (p *Private) Encrypt(passphrase []byte) ([]byte, error) {
	if len(passphrase) == 0 {
		return nil, reason.Errorf(reason.WrongPassphrase, "a key needs a passphrase, this one is empty")
	}
	public, err := p.Public.Bytes()
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	for _, r := range both {
		k := p.keys[r]
		if k == nil {
			continue
		}
		der, err := x509.MarshalPKCS8PrivateKey(k)
		if err != nil {
			return nil, err
		}
		box, err := encrypted.EncryptWithCustomKDFParameters(der, passphrase, kdf)
		if err != nil {
			return nil, err
		}
		headers := map[string]string{repositoryHeader: string(r)}
		if r == metadata.Image {
			headers[publicHeader] = base64.StdEncoding.EncodeToString(public)
		}
		if err := pem.Encode(&out, &pem.Block{Type: blockType, Headers: headers, Bytes: box}); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), nil
}

// Save encrypts the keys into a new file of mode 0600, durable on return. A file that is there is
// never overwritten: exists.
func (p *Private) Save(path string, passphrase []byte) error {
	data, err := p.Encrypt(passphrase)
	if err != nil {
		return err
	}
	return save(path, data)
}
