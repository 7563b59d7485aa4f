package remote

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"time"

	"github.com/countersign-ota/countersign/proto/enroll"
	"github.com/countersign-ota/countersign/proto/reason"

	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
)

// Identity is an operator's connection key with its certificate. It opens the server's door and
// signs nothing else.
type Identity struct {
	key ed25519.PrivateKey
	// chain holds the leaf and the intermediates, leaf first.
	chain []*x509.Certificate
}

// maxIdentity bounds an identity file in bytes, and maxChain the certificates in it.
const (
	maxIdentity = 64 << 10
	maxChain    = 4
)

// ParseIdentity reads what Bytes wrote. Reason: malformed.
func ParseIdentity(data []byte) (*Identity, error) {
	if len(data) > maxIdentity {
		return nil, reason.Errorf(reason.TooLarge, "identity has more than %d bytes", maxIdentity)
	}
	var id Identity
	for rest := data; len(bytes.TrimSpace(rest)) > 0; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return nil, reason.Errorf(reason.Malformed, "identity has bytes that are not PEM")
		}
		switch {
		case block.Type == "PRIVATE KEY" && id.key == nil:
			k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
			key, ok := k.(ed25519.PrivateKey)
			if err != nil || !ok {
				return nil, reason.Errorf(reason.Malformed, "identity has a private key that is not Ed25519")
			}
			id.key = key
		case block.Type == "CERTIFICATE" && len(id.chain) < maxChain:
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, reason.Errorf(reason.Malformed, "identity: %v", err)
			}
			id.chain = append(id.chain, cert)
		default:
			return nil, reason.Errorf(reason.Malformed, "identity has a %q too many", block.Type)
		}
	}
	if id.key == nil || len(id.chain) == 0 || !id.key.Public().(ed25519.PublicKey).Equal(id.chain[0].PublicKey) {
		return nil, reason.Errorf(reason.Malformed, "identity is not a private key and its certificate")
	}
	return &id, nil
}

// Bytes returns key and certificates as PEM. It is a secret.
func (id *Identity) Bytes() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(id.key)
	if err != nil {
		return nil, err
	}
	out := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	for _, cert := range id.chain {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})...)
	}
	return out, nil
}

// Expires says when the certificate does.
func (id *Identity) Expires() time.Time { return id.chain[0].NotAfter }

// Due reports whether it is time to renew: a quarter of the certificate's life is over.
func (id *Identity) Due(now time.Time) bool {
	leaf := id.chain[0]
	return now.After(leaf.NotBefore.Add(leaf.NotAfter.Sub(leaf.NotBefore) / 4))
}

// Expired returns the error of an identity that is of no more use: operators get no grace.
func (id *Identity) Expired(now time.Time) error {
	if !now.After(id.Expires()) {
		return nil
	}
	return reason.Errorf(reason.Expired, "your certificate expired at %s", id.Expires().UTC().Format(time.RFC3339)).
		WithHint("have another operator run: countersign operator invite ID --role IDS -o FILE; then: countersign login --token-file FILE")
}

func (id *Identity) certificate() *tls.Certificate {
	cert := &tls.Certificate{PrivateKey: id.key, Leaf: id.chain[0]}
	for _, c := range id.chain {
		cert.Certificate = append(cert.Certificate, c.Raw)
	}
	return cert
}

// newIdentity checks the certificate that a server gave for our key: the key is ours, the name is the
// one that was asked for, the chain ends at the CA.
func newIdentity(k *Key, certs [][]byte, ca *x509.Certificate, uri string) (*Identity, error) {
	id := &Identity{key: k.private}
	if len(certs) == 0 || len(certs) > maxChain {
		return nil, reason.Errorf(reason.Malformed, "the server gave %d certificates, wanted 1 to %d", len(certs), maxChain)
	}
	opts := x509.VerifyOptions{
		Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	opts.Roots.AddCert(ca)
	for i, der := range certs {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, reason.Errorf(reason.Malformed, "certificate from the server: %v", err)
		}
		if i > 0 {
			opts.Intermediates.AddCert(cert)
		}
		id.chain = append(id.chain, cert)
	}
	leaf := id.chain[0]
	opts.CurrentTime = leaf.NotBefore // the server's clock, not ours, judges the dates
	if _, err := leaf.Verify(opts); err != nil {
		return nil, reason.Errorf(reason.ServerUnproven, "the server gave a certificate that is not under its CA: %v", err)
	}
	if !k.private.Public().(ed25519.PublicKey).Equal(leaf.PublicKey) {
		return nil, reason.Errorf(reason.KeyIDMismatch, "the server gave a certificate for another key")
	}
	if len(leaf.URIs) != 1 || leaf.URIs[0].String() != uri {
		return nil, reason.Errorf(reason.ScopeMismatch, "the server gave a certificate for %v, wanted %s", leaf.URIs, uri)
	}
	return id, nil
}

// operatorURI is the name in an operator's certificate (DESIGN 4.3).
func operatorURI(deployment, operator string) string {
	return "spiffe://" + deployment + "/operator/" + operator
}

// Login proves a token for the key and returns the identity and the operator's roles. The token's
// secret does not leave this machine. cfg names the server; its CA is the token's. Keep the key before
// the call: the server answers the same token again only for the same key.
func Login(ctx context.Context, cfg Config, t *enroll.TokenFile, k *Key) (*Identity, []string, error) {
	if t.Kind != enroll.Operator {
		return nil, nil, reason.Errorf(reason.TokenInvalid, "the token is for %s %q, not for an operator", t.Kind, t.Subject)
	}
	spki, err := k.spki()
	if err != nil {
		return nil, nil, err
	}
	cfg.CA, cfg.Identity = t.CA, nil
	c, err := Dial(cfg)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = c.Close() }()
	ctx, cancel := c.call(ctx)
	defer cancel()
	mac := enroll.MAC(t.Secret, t.Kind, t.Subject, spki)
	answer, err := c.people.Login(ctx, &pb.LoginRequest{Operator: t.Subject, PublicKey: spki, TokenId: t.ID, Mac: mac[:]})
	if err != nil {
		return nil, nil, c.failed(ctx, err)
	}
	id, err := newIdentity(k, answer.GetCertificates(), t.CA, operatorURI(t.Deployment, t.Subject))
	return id, answer.GetRoles(), err
}

// Renew returns a new identity with a new key for the same operator. The old one holds until the new
// one was used, so the caller keeps the new one durably before it calls with it.
func (c *Client) Renew(ctx context.Context, ca *x509.Certificate, deployment, operator string) (*Identity, error) {
	k, err := NewKey()
	if err != nil {
		return nil, err
	}
	spki, err := k.spki()
	if err != nil {
		return nil, err
	}
	ctx, cancel := c.call(ctx)
	defer cancel()
	answer, err := c.people.Renew(ctx, &pb.RenewRequest{PublicKey: spki})
	if err != nil {
		return nil, c.failed(ctx, err)
	}
	return newIdentity(k, answer.GetCertificates(), ca, operatorURI(deployment, operator))
}
