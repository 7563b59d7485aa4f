package enroll

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"math/big"
	"strings"
	"testing"
	"time"

	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/reason"
)

func testToken(t testing.TB) *TokenFile {
	t.Helper()
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "acme identity root"}, NotAfter: time.Unix(4e9, 0)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, pub, priv)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &TokenFile{
		Deployment: "acme", Kind: Device, Subject: "gw-0001", ID: "0123456789abcdef",
		Secret: bytes.Repeat([]byte{7}, SecretSize), Expires: time.Unix(1795599060, 0).UTC(),
		Server: "updates.example:8443", HTTPS: "https://updates.example:8444", CA: ca,
		Root: strings.Repeat("ab", 32),
	}
}

func TestMACVector(t *testing.T) {
	// printf 'device\0gw-0001\0spki' | openssl dgst -sha256 -hmac secret
	got := MAC([]byte("secret"), Device, "gw-0001", []byte("spki"))
	const want = "5168c0f882170e53c0a46782964f7bc5672e3b8cf6558665979eb92a62e8c96a"
	if hex.EncodeToString(got[:]) != want {
		t.Fatalf("got %x, want %s", got, want)
	}
}

func TestVerifyMAC(t *testing.T) {
	secret := bytes.Repeat([]byte{1}, SecretSize)
	mac := MAC(secret, Operator, "rivera", []byte("key"))
	if !VerifyMAC(secret, Operator, "rivera", []byte("key"), mac[:]) {
		t.Fatal("own MAC refused")
	}
	for _, tt := range []struct {
		name   string
		secret []byte
		kind   Kind
		id     string
		spki   string
		mac    []byte
	}{
		{"another secret", bytes.Repeat([]byte{2}, SecretSize), Operator, "rivera", "key", mac[:]},
		{"another kind", secret, Device, "rivera", "key", mac[:]},
		{"another id", secret, Operator, "chen", "key", mac[:]},
		{"another key", secret, Operator, "rivera", "yek", mac[:]},
		{"cut short", secret, Operator, "rivera", "key", mac[:31]},
		{"empty", secret, Operator, "rivera", "key", nil},
	} {
		if VerifyMAC(tt.secret, tt.kind, tt.id, []byte(tt.spki), tt.mac) {
			t.Errorf("%s: taken", tt.name)
		}
	}
}

func TestTokenFileRoundTrip(t *testing.T) {
	for _, root := range []string{"", strings.Repeat("0f", 32)} {
		want := testToken(t)
		want.Root = root
		data, err := want.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseTokenFile(data)
		if err != nil {
			t.Fatal(err)
		}
		again, err := got.Bytes()
		if err != nil || !bytes.Equal(data, again) {
			t.Fatalf("written again: %v\n%s\n%s", err, data, again)
		}
		if !got.Expires.Equal(want.Expires) || got.Subject != want.Subject || !got.CA.Equal(want.CA) || got.Root != root {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
}

func TestParseTokenFileRefuses(t *testing.T) {
	good, err := testToken(t).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	swap := func(old, new string) string {
		t.Helper()
		s := strings.Replace(string(good), old, new, 1)
		if s == string(good) {
			t.Fatalf("%q is not in the file", old)
		}
		return s
	}
	for _, tt := range []struct {
		name, data string
		want       reason.Reason
	}{
		{"empty", "", reason.Malformed},
		{"null", "null", reason.Malformed},
		{"cut off", string(good[:len(good)/2]), reason.Malformed},
		{"left over", string(good) + "{}", reason.UnknownMember},
		{"other version", swap(`"countersign_token": 1`, `"countersign_token": 2`), reason.Malformed},
		{"unknown member", swap(`"subject"`, `"more": 1, "subject"`), reason.UnknownMember},
		{"member twice", swap(`"subject"`, `"root": "", "subject"`), reason.UnknownMember},
		{"folded member", swap(`"subject"`, `"Subject"`), reason.UnknownMember},
		{"null member", swap(`"root": "`+strings.Repeat("ab", 32)+`"`, `"root": null`), reason.UnknownMember},
		{"kind", swap(`"device"`, `"server"`), reason.Malformed},
		{"subject", swap(`"gw-0001"`, `"../gw"`), reason.Malformed},
		{"reserved subject", swap(`"gw-0001"`, `"root"`), reason.Malformed},
		{"deployment", swap(`"acme"`, `"Acme"`), reason.Malformed},
		{"id", swap(`"0123456789abcdef"`, `"0123456789ABCDEF"`), reason.Malformed},
		{"short secret", swap(`"BwcH`, `"`), reason.Malformed},
		{"time with fraction", swap(`:00Z"`, `:00.5Z"`), reason.Malformed},
		{"no port", swap(`"updates.example:8443"`, `"updates.example"`), reason.Malformed},
		{"port 0", swap(`"updates.example:8443"`, `"updates.example:0"`), reason.Malformed},
		{"plain http", swap(`https://updates`, `http://updates`), reason.Malformed},
		{"url with path", swap(`:8444"`, `:8444/x"`), reason.Malformed},
		{"url with user", swap(`https://updates`, `https://a@updates`), reason.Malformed},
		{"root", swap(`"`+strings.Repeat("ab", 32)+`"`, `"abcd"`), reason.Malformed},
		{"ca", swap(`BEGIN CERTIFICATE`, `BEGIN PUBLIC KEY`), reason.Malformed},
		{"too large", string(good) + strings.Repeat(" ", MaxTokenFile), reason.TooLarge},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseTokenFile([]byte(tt.data))
			if got != nil || reason.Of(err) != tt.want {
				t.Fatalf("got %v, %v; want %s", got, err, tt.want)
			}
		})
	}
}

func TestFromProto(t *testing.T) {
	w := testToken(t)
	p := &pb.Token{
		Id: w.ID, Subject: w.Subject, Secret: w.Secret, Expires: w.Expires.Unix(), Ca: w.CA.Raw,
		Server: w.Server, Https: w.HTTPS, Deployment: w.Deployment, Root: w.Root,
	}
	got, err := FromProto(Device, p)
	if err != nil {
		t.Fatal(err)
	}
	a, _ := got.Bytes()
	b, _ := w.Bytes()
	if !bytes.Equal(a, b) {
		t.Fatalf("got %s, want %s", a, b)
	}
	p.Ca = nil
	if _, err := FromProto(Device, p); reason.Of(err) != reason.Malformed {
		t.Fatalf("no ca: %v", err)
	}
	if _, err := FromProto(Device, nil); reason.Of(err) != reason.Malformed {
		t.Fatalf("nil: %v", err)
	}
}

func FuzzParseTokenFile(f *testing.F) {
	good, err := testToken(f).Bytes()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"countersign_token":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := ParseTokenFile(data)
		if err != nil {
			if reason.Of(err) == "" {
				t.Fatalf("no reason: %v", err)
			}
			return
		}
		again, err := got.Bytes()
		if err != nil || !sameJSON(data, again) {
			t.Fatalf("written again: %v\n%s\n%s", err, data, again)
		}
	})
}
