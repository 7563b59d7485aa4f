package remote

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"

	"github.com/countersign-ota/countersign/proto/reason"
)

// Key is a connection key without a certificate.
type Key struct{ private ed25519.PrivateKey }

// NewKey makes a connection key.
func NewKey() (*Key, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	return &Key{private}, nil
}

// ParseKey reads what Bytes wrote. Reason: malformed.
func ParseKey(data []byte) (*Key, error) {
	block, rest := pem.Decode(data)
	if block == nil || block.Type != "PRIVATE KEY" || len(rest) != 0 {
		return nil, reason.Errorf(reason.Malformed, "connection key is not one PEM private key")
	}
	k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, reason.Errorf(reason.Malformed, "connection key: %v", err)
	}
	private, ok := k.(ed25519.PrivateKey)
	if !ok {
		return nil, reason.Errorf(reason.Malformed, "connection key is not Ed25519")
	}
	return &Key{private}, nil
}

// Bytes returns the key as PEM. It is a secret.
func (k *Key) Bytes() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k.private)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

func (k *Key) spki() ([]byte, error) { return x509.MarshalPKIXPublicKey(k.private.Public()) }
