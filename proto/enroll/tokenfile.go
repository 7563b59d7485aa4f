package enroll

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"net"
	"net/url"
	"strconv"
	"time"

	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// MaxTokenFile bounds a token file in bytes.
const MaxTokenFile = 16 << 10

// formatVersion is the value of countersign_token. It rises only when older readers must refuse.
const formatVersion = 1

// TokenFile is a one-time token with all that its holder needs to reach the right server.
type TokenFile struct {
	// Deployment is the deployment's id.
	Deployment string
	// Kind says whether it makes an operator or a device.
	Kind Kind
	// Subject is the id of the operator or device.
	Subject string
	// ID is the token's public name.
	ID string
	// Secret is SecretSize bytes.
	Secret []byte
	// Expires is a whole second, UTC.
	Expires time.Time
	// Server is the gRPC address, host:port.
	Server string
	// HTTPS is the address of the TUF layout, https://host[:port].
	HTTPS string
	// CA is the identity CA's root certificate.
	CA *x509.Certificate
	// Root is the fingerprint of image root 1 (SHA-256 of its signed part, hex); empty in the very
	// first token, before there is a root.
	Root string
}

// wire is the form on disk, in this order of members.
type wire struct {
	Version    int    `json:"countersign_token"`
	Deployment string `json:"deployment"`
	Kind       Kind   `json:"kind"`
	Subject    string `json:"subject"`
	ID         string `json:"id"`
	Secret     string `json:"secret"`
	Expires    string `json:"expires"`
	Server     string `json:"server"`
	HTTPS      string `json:"https"`
	CA         string `json:"ca"`
	Root       string `json:"root"`
}

// ParseTokenFile reads a token file strictly: exactly the members of the format, once each and in its
// order, white space between them aside. It does not look at the clock: the server decides whether a
// token is still good. Reasons: malformed, unknown-member, too-large.
func ParseTokenFile(data []byte) (*TokenFile, error) {
	if len(data) > MaxTokenFile {
		return nil, reason.Errorf(reason.TooLarge, "token file has more than %d bytes", MaxTokenFile)
	}
	var w wire
	d := json.NewDecoder(bytes.NewReader(data))
	if err := d.Decode(&w); err != nil {
		return nil, reason.Errorf(reason.Malformed, "token file is not the JSON of a token: %v", err)
	}
	if w.Version != formatVersion {
		return nil, reason.Errorf(reason.Malformed, "token file has format %d, this program reads %d", w.Version, formatVersion)
	}
	t, err := w.token()
	if err != nil {
		return nil, err
	}
	// Written again it must be what was read: no member twice, unknown, folded, null or left over.
	again, err := t.Bytes()
	if err != nil {
		return nil, err
	}
	if !sameJSON(data, again) {
		return nil, reason.Errorf(reason.UnknownMember, "token file has other members than a token, or another form of them")
	}
	return t, nil
}

func sameJSON(a, b []byte) bool {
	var x, y bytes.Buffer
	return json.Compact(&x, a) == nil && json.Compact(&y, b) == nil && bytes.Equal(x.Bytes(), y.Bytes())
}

func (w *wire) token() (*TokenFile, error) {
	t := &TokenFile{Deployment: w.Deployment, Kind: w.Kind, Subject: w.Subject, ID: w.ID, Server: w.Server, HTTPS: w.HTTPS, Root: w.Root}
	var err error
	if t.Secret, err = base64.StdEncoding.Strict().DecodeString(w.Secret); err != nil {
		return nil, reason.Errorf(reason.Malformed, "token file: secret is not base64")
	}
	if t.Expires, err = time.Parse(time.RFC3339, w.Expires); err != nil {
		return nil, reason.Errorf(reason.Malformed, "token file: expires %q is not a time", w.Expires)
	}
	t.Expires = t.Expires.UTC()
	block, rest := pem.Decode([]byte(w.CA))
	if block == nil || block.Type != "CERTIFICATE" || len(rest) != 0 {
		return nil, reason.Errorf(reason.Malformed, "token file: ca is not one PEM certificate")
	}
	if t.CA, err = x509.ParseCertificate(block.Bytes); err != nil {
		return nil, reason.Errorf(reason.Malformed, "token file: ca: %v", err)
	}
	return t, t.check()
}

// check holds for what is read and for what is written.
func (t *TokenFile) check() error {
	for _, id := range []struct{ kind, id string }{
		{"deployment", t.Deployment}, {string(t.Kind), t.Subject},
	} {
		if err := metadata.CheckID(id.kind, id.id); err != nil {
			return reason.Wrap(err, "token file")
		}
	}
	if err := t.Kind.Check(); err != nil {
		return reason.Wrap(err, "token file")
	}
	if !isHex(t.ID, 8) {
		return reason.Errorf(reason.Malformed, "token file: id %q is not 16 hex digits", t.ID)
	}
	if len(t.Secret) != SecretSize {
		return reason.Errorf(reason.Malformed, "token file: secret has %d bytes, not %d", len(t.Secret), SecretSize)
	}
	if t.Expires.Nanosecond() != 0 || t.Expires.Unix() <= 0 || t.Expires.Year() > 9999 {
		return reason.Errorf(reason.Malformed, "token file: expires is not a whole second")
	}
	host, port, err := net.SplitHostPort(t.Server)
	if n, perr := strconv.ParseUint(port, 10, 16); err != nil || perr != nil || n == 0 || host == "" {
		return reason.Errorf(reason.Malformed, "token file: server %q is not HOST:PORT", t.Server)
	}
	if err := CheckURL(t.HTTPS); err != nil {
		return reason.Wrap(err, "token file: https")
	}
	if t.CA == nil {
		return reason.Errorf(reason.Malformed, "token file: no ca")
	}
	if t.Root != "" && !isHex(t.Root, 32) {
		return reason.Errorf(reason.Malformed, "token file: root %q is not a SHA-256 in hex", t.Root)
	}
	return nil
}

// CheckURL accepts https://HOST[:PORT], without path, query or user: reason malformed.
func CheckURL(raw string) error {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.String() != "https://"+u.Host {
		return reason.Errorf(reason.Malformed, "%q is not https://HOST[:PORT]", raw)
	}
	return nil
}

func isHex(s string, size int) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == size && hex.EncodeToString(b) == s
}

// Bytes returns the file, indented, with a newline at its end.
func (t *TokenFile) Bytes() ([]byte, error) {
	if err := t.check(); err != nil {
		return nil, err
	}
	w := wire{
		Version: formatVersion, Deployment: t.Deployment, Kind: t.Kind, Subject: t.Subject, ID: t.ID,
		Secret: base64.StdEncoding.EncodeToString(t.Secret), Expires: t.Expires.UTC().Format(time.RFC3339),
		Server: t.Server, HTTPS: t.HTTPS,
		CA:   string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: t.CA.Raw})),
		Root: t.Root,
	}
	data, err := json.MarshalIndent(w, "", "  ")
	if err != nil {
		return nil, err
	}
	return append(data, '\n'), nil
}

// FromProto turns what a server answered into a token file of the kind that was asked for.
func FromProto(kind Kind, p *pb.Token) (*TokenFile, error) {
	ca, err := x509.ParseCertificate(p.GetCa())
	if err != nil {
		return nil, reason.Errorf(reason.Malformed, "token from the server: ca: %v", err)
	}
	t := &TokenFile{
		Deployment: p.GetDeployment(), Kind: kind, Subject: p.GetSubject(), ID: p.GetId(), Secret: p.GetSecret(),
		Expires: time.Unix(p.GetExpires(), 0).UTC(), Server: p.GetServer(), HTTPS: p.GetHttps(), CA: ca, Root: p.GetRoot(),
	}
	return t, t.check()
}
