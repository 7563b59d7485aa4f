package identity

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/encrypted"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/repository/internal/secret"
)

// Lifetimes. Devices never look at a server's dates (DESIGN 1.6) and operators' tools do, so the
// intermediate outlives the devices that are built today.
const (
	rootLife         = 30 * 365 * 24 * time.Hour
	intermediateLife = 20 * 365 * 24 * time.Hour
	// backdate lets a peer whose clock is a little behind take a certificate that was just made.
	backdate = time.Hour
)

// EncryptedKeyType is the PEM type of the root key: the form of people's keys (docs/formats.md).
const EncryptedKeyType = "ENCRYPTED SIGSTORE PRIVATE KEY"

// Names of the files below the server's directory.
const (
	RootFile            = "identity/root.pem"
	IntermediateFile    = "identity/intermediate.pem"
	IntermediateKeyFile = "identity/intermediate.key"
	ServerKeyFile       = "identity/server.key"
)

// Material is a new identity CA.
type Material struct {
	// RootKey is the root's private key, encrypted: to be carried away. The server never reads it.
	RootKey []byte
	// Files holds what the server keeps, by name below its directory. The .key files are secrets.
	Files map[string][]byte
	// Root is the root's certificate.
	Root *x509.Certificate
	// ServerKeyHash is the SHA-256 of the SubjectPublicKeyInfo of the server's TLS key. The
	// certificate over it is renewed, the key stays: the director's root names it.
	ServerKeyHash [32]byte
}

// NewMaterial makes root, intermediate and the server's TLS key for a deployment. An empty passphrase
// is refused: wrong-passphrase.
func NewMaterial(deployment string, passphrase []byte, now time.Time) (*Material, error) {
	if err := metadata.CheckID("deployment", deployment); err != nil {
		return nil, err
	}
	if len(passphrase) == 0 {
		return nil, reason.Errorf(reason.WrongPassphrase, "the passphrase of the identity root is empty")
	}
	var keys [3]*ecdsa.PrivateKey
	for i := range keys {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		keys[i] = k
	}
	rootKey, interKey, serverKey := keys[0], keys[1], keys[2]
	root, err := issueCA(caTemplate(deployment+" identity root", 1, now, now.Add(rootLife)), nil, rootKey, rootKey)
	if err != nil {
		return nil, err
	}
	inter, err := issueCA(caTemplate(deployment+" identity intermediate", 0, now, now.Add(intermediateLife)), root, interKey, rootKey)
	if err != nil {
		return nil, err
	}
	m := &Material{Root: root, Files: map[string][]byte{
		RootFile: certPEM(root), IntermediateFile: certPEM(inter),
	}}
	for name, key := range map[string]crypto.Signer{IntermediateKeyFile: interKey, ServerKeyFile: serverKey} {
		if m.Files[name], err = secret.Marshal(key); err != nil {
			return nil, err
		}
	}
	if m.ServerKeyHash, err = keyHash(serverKey.Public()); err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(rootKey)
	if err != nil {
		return nil, err
	}
	box, err := encrypted.Encrypt(der, passphrase)
	if err != nil {
		return nil, err
	}
	m.RootKey = pem.EncodeToMemory(&pem.Block{Type: EncryptedKeyType, Bytes: box})
	return m, nil
}

func caTemplate(name string, pathLen int, from, to time.Time) *x509.Certificate {
	return &x509.Certificate{
		Subject:   pkix.Name{CommonName: name},
		NotBefore: from.Add(-backdate), NotAfter: to,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true, IsCA: true, MaxPathLen: pathLen, MaxPathLenZero: pathLen == 0,
	}
}

// issueCA signs a CA certificate; a nil parent means that it signs itself.
func issueCA(t, parent *x509.Certificate, key, signer crypto.Signer) (*x509.Certificate, error) {
	if parent == nil {
		parent = t
	}
	return issue(t, parent, key.Public(), signer)
}

// issue completes the template with a random serial number, signs it and reads it back.
func issue(t, parent *x509.Certificate, pub crypto.PublicKey, signer crypto.Signer) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	t.SerialNumber = serial.Add(serial, big.NewInt(1)) // RFC 5280 4.1.2.2: positive
	der, err := x509.CreateCertificate(rand.Reader, t, parent, pub, signer)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func certPEM(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}

// parseCert reads a file with one certificate: config.
func parseCert(name string, data []byte) (*x509.Certificate, error) {
	block, rest := pem.Decode(data)
	if block == nil || block.Type != "CERTIFICATE" || len(bytes.TrimSpace(rest)) != 0 {
		return nil, reason.Errorf(reason.Config, "%s is not one PEM certificate", name)
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, reason.Errorf(reason.Config, "%s: %v", name, err)
	}
	return c, nil
}
