// Package identity says who speaks to the server and what they may do (DESIGN 4.3).
//
// One mechanism serves people and devices: TLS 1.3 client certificates from an identity CA. Its root
// key is made at init, encrypted under a passphrase and carried away; the server holds an intermediate
// and issues from it. A one-time token and a public key are exchanged for a certificate whose URI SAN
// is spiffe://<deployment>/operator/<id> or /device/<id>.
//
// The TLS library only asks for a client certificate; Registry.Caller judges it. A device is known by
// the public key in its record, whatever its certificate says: chain and dates matter for enrolment
// alone, so a thief of this CA cannot be a known device, and stock that lay on a shelf for years still
// polls. An operator needs an unexpired chain, a record that is not revoked, and the key in force.
//
// Start with NewMaterial and OpenAuthority (the CA), Registry (enrolment, callers) and
// permission.go, the one table of who may call what. Identity does not protect against someone who can
// write the server's store.
package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"net/url"
	"strings"

	"github.com/countersign-ota/countersign/proto/enroll"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/repository/internal/audit"
)

// ParseSPKI reads the public key of a person's connection or of a device: DER SubjectPublicKeyInfo,
// Ed25519 or ECDSA P-256, in its one encoding. Reason key-malformed.
func ParseSPKI(der []byte) (crypto.PublicKey, error) {
	if len(der) > 256 {
		return nil, reason.Errorf(reason.KeyMalformed, "public key has %d bytes, want Ed25519 or ECDSA P-256", len(der))
	}
	pub, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, reason.Errorf(reason.KeyMalformed, "public key is not a SubjectPublicKeyInfo: %v", err)
	}
	switch k := pub.(type) {
	case ed25519.PublicKey:
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() {
			return nil, reason.Errorf(reason.KeyMalformed, "public key is on %s, want P-256", k.Curve.Params().Name)
		}
	default:
		return nil, reason.Errorf(reason.KeyMalformed, "public key is a %T, want Ed25519 or ECDSA P-256", pub)
	}
	// The key names its holder in the store, so it has one form only.
	again, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil || string(again) != string(der) {
		return nil, reason.Errorf(reason.KeyMalformed, "public key is not in the canonical DER form")
	}
	return pub, nil
}

// CheckOperator judges the id of a person. The server's own name is no one's: what it does by itself would
// look like that person's doing. Reason malformed.
func CheckOperator(id string) error {
	if err := metadata.CheckID("operator", id); err != nil {
		return err
	}
	if id == audit.Server {
		return reason.Errorf(reason.Malformed, "operator %q: that is what the server calls itself", id)
	}
	return nil
}

// subjectURI is the URI SAN of a certificate.
func subjectURI(deployment string, kind enroll.Kind, id string) *url.URL {
	return &url.URL{Scheme: "spiffe", Host: deployment, Path: "/" + string(kind) + "/" + id}
}

// subjectOf returns for whom a certificate is; ok is false unless it has exactly one URI of ours.
func subjectOf(deployment string, cert *x509.Certificate) (kind enroll.Kind, id string, ok bool) {
	if len(cert.URIs) != 1 {
		return "", "", false
	}
	u := cert.URIs[0]
	k, id, found := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	kind = enroll.Kind(k)
	if !found || kind.Check() != nil || metadata.CheckID(k, id) != nil {
		return "", "", false
	}
	return kind, id, *u == *subjectURI(deployment, kind, id)
}

// SPKIHash is how the director's root lists a TLS anchor (DESIGN 1.6): SHA-256 of its
// SubjectPublicKeyInfo.
func SPKIHash(cert *x509.Certificate) [32]byte { return sha256.Sum256(cert.RawSubjectPublicKeyInfo) }
