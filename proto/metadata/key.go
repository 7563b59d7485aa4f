package metadata

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"strconv"
	"unicode/utf8"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/countersign-ota/countersign/proto/reason"
)

// Bounds of RSA moduli in bits, in plain mode only; beyond the upper one a signature costs too much.
const (
	minRSA = 2048
	maxRSA = 8192
)

// NewKey returns the TUF form of an Ed25519 or ECDSA P-256 public key (DESIGN 1.4), else key-malformed.
func NewKey(pub crypto.PublicKey) (*Key, error) {
	switch pub := pub.(type) {
	case ed25519.PublicKey:
		if len(pub) != ed25519.PublicKeySize {
			return nil, reason.Errorf(reason.KeyMalformed, "ed25519 key of %d bytes: want %d", len(pub), ed25519.PublicKeySize)
		}
		if err := checkOrder(pub); err != nil {
			return nil, err
		}
		return &Key{
			Type: metadata.KeyTypeEd25519, Scheme: metadata.KeySchemeEd25519,
			Value: metadata.KeyVal{PublicKey: hex.EncodeToString(pub)},
		}, nil
	case *ecdsa.PublicKey:
		if pub.Curve != elliptic.P256() {
			return nil, reason.Errorf(reason.KeyMalformed, "ecdsa key on another curve than P-256")
		}
		text, err := encodePEM(pub)
		if err != nil {
			return nil, err
		}
		return &Key{
			Type: metadata.KeyTypeECDSA_SHA2_P256, Scheme: metadata.KeySchemeECDSA_SHA2_P256,
			Value: metadata.KeyVal{PublicKey: text},
		}, nil
	}
	return nil, reason.Errorf(reason.KeyMalformed, "key of type %T: want Ed25519 or ECDSA P-256", pub)
}

func encodePEM(pub crypto.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return "", reason.Errorf(reason.KeyMalformed, "public key: %v", err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), nil
}

// KeyID returns the SHA-256 of the canonical JSON of the whole key object, members that we do not know
// included. It is recomputed on every call; go-tuf's own ID caches what it saw first.
func KeyID(k *Key) (string, error) {
	if k == nil {
		return "", reason.Errorf(reason.KeyMalformed, "no key")
	}
	canonical, err := canonicalKey(k)
	if err != nil {
		return "", reason.Errorf(reason.KeyMalformed, "key id: %v", err)
	}
	sum := sha256.Sum256(canonical)
	return hex.EncodeToString(sum[:]), nil
}

// canonicalKey appends the common form directly, since every verification asks for ids; keys with more
// members go through go-tuf's MarshalJSON.
func canonicalKey(k *Key) ([]byte, error) {
	plain := len(k.UnrecognizedFields) == 0 && len(k.Value.UnrecognizedFields) == 0 &&
		utf8.ValidString(k.Type) && utf8.ValidString(k.Scheme) && utf8.ValidString(k.Value.PublicKey)
	if !plain {
		return Canonical(k)
	}
	out := make([]byte, 0, len(k.Value.PublicKey)+128)
	out = appendCanonicalString(append(out, `{"keytype":`...), []byte(k.Type))
	out = appendCanonicalString(append(out, `,"keyval":{"public":`...), []byte(k.Value.PublicKey))
	out = appendCanonicalString(append(out, `},"scheme":`...), []byte(k.Scheme))
	return append(out, '}'), nil
}

// CheckKey returns the public key of k after checking its type, scheme, length, curve and order
// (key-malformed) and that id is its recomputed key id (keyid-mismatch; DESIGN 1.4). The profile takes
// Ed25519 and ECDSA P-256 with keytype `ecdsa`; plain mode also keytype `ecdsa-sha2-nistp256` and
// RSA-PSS of 2048 bits or more, and the id that securesystemslib gives: that of keytype, scheme and
// keyval alone, whatever was added to the key later.
func CheckKey(id string, k *Key, m Mode) (crypto.PublicKey, error) {
	pub, err := publicKey(k, m)
	if err != nil {
		return nil, reason.Wrap(err, "key %s", short(id))
	}
	got, err := KeyID(k)
	if err != nil {
		return nil, reason.Wrap(err, "key %s", short(id))
	}
	if got == id {
		return pub, nil
	}
	if m == Plain {
		bare := &Key{Type: k.Type, Scheme: k.Scheme, Value: k.Value}
		if other, err := KeyID(bare); err == nil && other == id {
			return pub, nil
		}
	}
	return nil, reason.Errorf(reason.KeyIDMismatch, "key %s: its id should be %s", short(id), short(got))
}

// publicKey decodes k without looking at ids.
func publicKey(k *Key, m Mode) (crypto.PublicKey, error) {
	if k == nil {
		return nil, reason.Errorf(reason.KeyMalformed, "no key")
	}
	switch {
	case k.Type == metadata.KeyTypeEd25519 && k.Scheme == metadata.KeySchemeEd25519:
		pub, err := ed25519Key(k.Value.PublicKey, m)
		if err != nil {
			return nil, err
		}
		if err := checkOrder(pub); err != nil {
			return nil, err
		}
		return pub, nil
	case k.Type == metadata.KeyTypeECDSA_SHA2_P256 && k.Scheme == metadata.KeySchemeECDSA_SHA2_P256,
		m == Plain && k.Type == metadata.KeyTypeECDSA_SHA2_P256_COMPAT && k.Scheme == metadata.KeySchemeECDSA_SHA2_P256:
		pub, err := parsePEM(k.Value.PublicKey, m)
		if err != nil {
			return nil, err
		}
		ec, ok := pub.(*ecdsa.PublicKey)
		if !ok || ec.Curve != elliptic.P256() {
			return nil, reason.Errorf(reason.KeyMalformed, "not an ECDSA key on P-256")
		}
		return ec, nil
	case m == Plain && k.Type == metadata.KeyTypeRSASSA_PSS_SHA256 && k.Scheme == metadata.KeySchemeRSASSA_PSS_SHA256:
		pub, err := parsePEM(k.Value.PublicKey, m)
		if err != nil {
			return nil, err
		}
		r, ok := pub.(*rsa.PublicKey)
		if !ok {
			return nil, reason.Errorf(reason.KeyMalformed, "not an RSA key")
		}
		if err := checkRSA(r); err != nil {
			return nil, err
		}
		return r, nil
	}
	return nil, reason.Errorf(reason.KeyMalformed, "keytype %q with scheme %q", clip([]byte(k.Type)), clip([]byte(k.Scheme)))
}

func checkRSA(r *rsa.PublicKey) error {
	if bits := r.N.BitLen(); bits < minRSA || bits > maxRSA {
		return reason.Errorf(reason.KeyMalformed, "RSA key of %d bits: want %d to %d", bits, minRSA, maxRSA)
	}
	return nil
}

func ed25519Key(text string, m Mode) (ed25519.PublicKey, error) {
	raw, err := hex.DecodeString(text)
	if err != nil || (m == Profile && !isLowerHex(text)) {
		return nil, reason.Errorf(reason.KeyMalformed, "ed25519 key: not lower-case hex")
	}
	if len(raw) != ed25519.PublicKeySize {
		return nil, reason.Errorf(reason.KeyMalformed, "ed25519 key of %d bytes: want %d", len(raw), ed25519.PublicKeySize)
	}
	return raw, nil
}

// parsePEM reads one PUBLIC KEY block. The profile takes only the form that NewKey writes, so that a
// key has one text and nothing can hide beside the block.
func parsePEM(text string, m Mode) (crypto.PublicKey, error) {
	block, rest := pem.Decode([]byte(text))
	if block == nil || block.Type != "PUBLIC KEY" {
		return nil, reason.Errorf(reason.KeyMalformed, "not a PEM block PUBLIC KEY")
	}
	pub, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, reason.Errorf(reason.KeyMalformed, "public key: %v", err)
	}
	if m == Profile {
		again, err := encodePEM(pub)
		if err != nil {
			return nil, err
		}
		if again != text && again != text+"\n" {
			return nil, reason.Errorf(reason.KeyMalformed, "PEM in another form than the canonical one")
		}
	} else if len(bytes.TrimSpace(rest)) > 0 {
		return nil, reason.Errorf(reason.KeyMalformed, "something follows the PEM block")
	}
	return pub, nil
}

// RawKey returns the public key itself in a comparable form, whatever key object it stands in: two
// key objects with one RawKey are one key, and one person (DESIGN 1.1, 1.2).
func RawKey(k *Key) (string, error) {
	pub, err := publicKey(k, Plain)
	if err != nil {
		return "", err
	}
	return rawOf(pub)
}

func rawOf(pub crypto.PublicKey) (string, error) {
	if ed, ok := pub.(ed25519.PublicKey); ok {
		return "ed25519:" + hex.EncodeToString(ed), nil
	}
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return "", reason.Errorf(reason.KeyMalformed, "public key: %v", err)
	}
	return "spki:" + hex.EncodeToString(der), nil
}

// short is the beginning of an id, quoted: enough to tell keys apart in a message.
func short(id string) string {
	if len(id) > 12 {
		id = id[:12]
	}
	return strconv.Quote(id)
}
