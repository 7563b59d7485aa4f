package main

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/countersign-ota/countersign/internal/durable"
	"github.com/countersign-ota/countersign/proto/enroll"
	"github.com/countersign-ota/countersign/proto/reason"
)

// isOurs checks that a chain ends under the identity CA and names this device and key.
func isOurs(certs []*x509.Certificate, token *enroll.TokenFile, spki []byte) error {
	if len(certs) == 0 {
		return reason.Errorf(reason.Malformed, "the server sent no certificate")
	}
	leaf := certs[0]
	if !bytes.Equal(leaf.RawSubjectPublicKeyInfo, spki) {
		return reason.Errorf(reason.ServerUnproven, "the server's certificate is for another key")
	}
	want := fmt.Sprintf("spiffe://%s/device/%s", token.Deployment, token.Subject)
	if len(leaf.URIs) != 1 || leaf.URIs[0].String() != want {
		return reason.Errorf(reason.ServerUnproven, "the server's certificate names %v, want %s", leaf.URIs, want)
	}
	for i, cert := range certs {
		above := token.CA
		if i+1 < len(certs) {
			above = certs[i+1]
		}
		if err := cert.CheckSignatureFrom(above); err != nil {
			return reason.Errorf(reason.ServerUnproven, "the server's certificate is not under the identity CA: %w", err)
		}
	}
	return nil
}

// deviceKey reads the device's key, or makes it: Ed25519, PKCS#8, readable by its owner only.
func deviceKey(path string) (crypto.Signer, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		_, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, err
		}
		der, err := x509.MarshalPKCS8PrivateKey(private)
		if err != nil {
			return nil, err
		}
		data = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
		if err := durable.CreateNew(path, data, 0o600); err != nil {
			return nil, reason.Errorf(reason.StateDamaged, "device key: %w", err)
		}
		return private, nil
	}
	if err != nil {
		return nil, reason.Errorf(reason.StateDamaged, "device key: %w", err)
	}
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o077 != 0 {
		return nil, reason.Errorf(reason.SecretExposed, "%s can be read by others, mode %04o", path, info.Mode().Perm()).
			WithHint("remove it and enroll with a new token")
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, reason.Errorf(reason.StateDamaged, "device key %q is not PEM", path)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, reason.Errorf(reason.StateDamaged, "device key %q: %w", path, err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, reason.Errorf(reason.StateDamaged, "device key %q cannot sign", path)
	}
	return signer, nil
}
