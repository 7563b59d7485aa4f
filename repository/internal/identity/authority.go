package identity

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/countersign-ota/countersign/proto/enroll"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/repository/internal/secret"
)

// Lifetimes of what the intermediate issues; none outlives the intermediate.
const (
	// OperatorLife is that of an operator's certificate: tools renew it by themselves.
	OperatorLife = 24 * time.Hour
	// deviceLife is that of a device's. Nobody judges it after enrolment.
	deviceLife = 20 * 365 * 24 * time.Hour
	// serverLife is that of the server's own certificate, which is made anew when a third is left.
	serverLife = 90 * 24 * time.Hour
)

// maxVerified bounds the memory of chains that were verified.
const maxVerified = 4096

// Authority issues certificates from the identity intermediate and judges chains. It is safe for
// concurrent use.
type Authority struct {
	deployment  string
	root, inter *x509.Certificate
	key         crypto.Signer // of the intermediate
	serverKey   crypto.Signer
	roots       *x509.CertPool
	now         func() time.Time

	mu       sync.Mutex
	verified map[[32]byte]time.Time // SHA-256 of an operator's leaf → when its chain ends; guarded by mu
}

// OpenAuthority reads the CA of a deployment from the server's directory. now is the server's clock.
// Reasons: config, secret-exposed, key-malformed.
func OpenAuthority(dir, deployment string, now func() time.Time) (*Authority, error) {
	a := &Authority{deployment: deployment, now: now, roots: x509.NewCertPool(), verified: map[[32]byte]time.Time{}}
	var err error
	if a.root, err = readCert(dir, RootFile); err != nil {
		return nil, err
	}
	if a.inter, err = readCert(dir, IntermediateFile); err != nil {
		return nil, err
	}
	keys := secret.Source{Dir: dir}
	if a.key, err = keys.Load(IntermediateKeyFile); err != nil {
		return nil, err
	}
	if a.serverKey, err = keys.Load(ServerKeyFile); err != nil {
		return nil, err
	}
	if err := a.inter.CheckSignatureFrom(a.root); err != nil {
		return nil, reason.Errorf(reason.Config, "%s is not issued by %s: %v", IntermediateFile, RootFile, err)
	}
	if !sameKey(a.inter.PublicKey, a.key.Public()) {
		return nil, reason.Errorf(reason.Config, "%s is not the key of %s", IntermediateKeyFile, IntermediateFile)
	}
	a.roots.AddCert(a.root)
	return a, nil
}

func readCert(dir, name string) (*x509.Certificate, error) {
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return nil, reason.Errorf(reason.Config, "identity: %w", err)
	}
	return parseCert(name, data)
}

func sameKey(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}

func keyHash(pub crypto.PublicKey) ([32]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(pub)
	return sha256.Sum256(der), err
}

// Root returns the root's certificate: the anchor of peers.
func (a *Authority) Root() *x509.Certificate { return a.root }

// Deployment returns whom the authority serves.
func (a *Authority) Deployment() string { return a.deployment }

// Issue returns a certificate for id's public key and the intermediate above it, each DER.
func (a *Authority) Issue(kind enroll.Kind, id string, pub crypto.PublicKey) ([][]byte, error) {
	life := OperatorLife
	if kind == enroll.Device {
		life = deviceLife
	}
	t := a.template(life)
	t.URIs = append(t.URIs, subjectURI(a.deployment, kind, id))
	t.Subject.CommonName = id
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	leaf, err := issue(t, a.inter, pub, a.key)
	if err != nil {
		return nil, err
	}
	return [][]byte{leaf.Raw, a.inter.Raw}, nil
}

// issueServer returns the server's certificate for host over its lasting key.
func (a *Authority) issueServer(host string) (*x509.Certificate, error) {
	t := a.template(serverLife)
	t.Subject.CommonName = host
	if ip := net.ParseIP(host); ip != nil {
		t.IPAddresses = []net.IP{ip}
	} else {
		t.DNSNames = []string{host}
	}
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	return issue(t, a.inter, a.serverKey.Public(), a.key)
}

func (a *Authority) template(life time.Duration) *x509.Certificate {
	now := a.now()
	end := now.Add(life)
	if end.After(a.inter.NotAfter) {
		end = a.inter.NotAfter
	}
	return &x509.Certificate{
		NotBefore: now.Add(-backdate), NotAfter: end,
		KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
	}
}

// verifyOperator judges the chain and dates of an operator's certificate against our root. The
// signatures of one certificate are checked once; its dates at every call. Reasons: expired,
// permission.
func (a *Authority) verifyOperator(leaf *x509.Certificate) error {
	now := a.now()
	if now.After(leaf.NotAfter) {
		return reason.Errorf(reason.Expired, "the certificate expired at %s", leaf.NotAfter.UTC().Format(time.RFC3339)).
			WithHint("countersign login")
	}
	id := sha256.Sum256(leaf.Raw)
	a.mu.Lock()
	end, ok := a.verified[id]
	a.mu.Unlock()
	if ok && !now.After(end) && !now.Before(leaf.NotBefore) {
		return nil
	}
	inters := x509.NewCertPool()
	inters.AddCert(a.inter)
	chains, err := leaf.Verify(x509.VerifyOptions{
		Roots: a.roots, Intermediates: inters, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return reason.Errorf(reason.Permission, "the certificate is not from this server's identity CA, or not yet valid: %v", err).
			WithHint("countersign login")
	}
	end = leaf.NotAfter
	for _, c := range chains[0] {
		if c.NotAfter.Before(end) {
			end = c.NotAfter
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.verified) >= maxVerified {
		clear(a.verified)
	}
	a.verified[id] = end
	return nil
}
