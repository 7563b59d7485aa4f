package statement_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"github.com/sigstore/sigstore/pkg/signature"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/proto/statement"
)

func signer(t testing.TB, p256 bool) (signature.Signer, *metadata.Key) {
	t.Helper()
	var k crypto.Signer
	_, k, err := ed25519.GenerateKey(rand.Reader)
	if p256 {
		k, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	s, err := signature.LoadSigner(k, crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	pub, err := metadata.NewKey(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	return s, pub
}

func approval() *statement.Approval {
	return &statement.Approval{
		Person: "chen", Name: "Wei Chen", At: time.Date(2026, 11, 25, 9, 20, 0, 0, time.UTC), Reason: "record 8812 \"checked\"\nline 2 <&>",
		Event: strings.Repeat("ab", 32),
		Files: []statement.ApprovedFile{
			{Repository: metadata.Image, Role: "gw-100", Version: 31, Digest: strings.Repeat("01", 32), Class: "quality", Meaning: "approved"},
			{Repository: metadata.Director, Role: "root", Version: 2, Digest: strings.Repeat("02", 32), Class: "holder", Meaning: "approved"},
		},
	}
}

// PAE is that of the DSSE specification, and of securesystemslib's implementation.
func TestPAE(t *testing.T) {
	const typ, payload = "http://example.com/HelloWorld", "hello world"
	got := statement.PAE(typ, []byte(payload))
	if want := "DSSEv1 29 http://example.com/HelloWorld 11 hello world"; string(got) != want {
		t.Errorf("%q, want %q", got, want)
	}
	if want := dsse.PAE(typ, []byte(payload)); !bytes.Equal(got, want) {
		t.Errorf("%q, securesystemslib has %q", got, want)
	}
}

func TestSignAndVerify(t *testing.T) {
	for _, p256 := range []bool{false, true} {
		s, pub := signer(t, p256)
		_, other := signer(t, p256)
		payload, err := approval().Payload()
		if err != nil {
			t.Fatal(err)
		}
		e, err := statement.Sign(statement.KindApproval, payload, s)
		if err != nil {
			t.Fatal(err)
		}
		data, err := e.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			name string
			kind statement.Kind
			key  *metadata.Key
			edit func(e *statement.Envelope)
			want reason.Reason
		}{
			{"none", statement.KindApproval, pub, nil, ""},
			{"another key", statement.KindApproval, other, nil, reason.SignatureBad},
			{"asked for another kind", "receipt", pub, nil, reason.Malformed},
			{"says another kind", "receipt", pub, func(e *statement.Envelope) { e.PayloadType = statement.PayloadType("receipt") }, reason.SignatureBad},
			{"payload changed", statement.KindApproval, pub, func(e *statement.Envelope) { e.Payload[10] ^= 1 }, reason.SignatureBad},
			{"signature changed", statement.KindApproval, pub, func(e *statement.Envelope) { e.Signatures[0].Sig[10] ^= 1 }, reason.SignatureBad},
			{"no signature", statement.KindApproval, pub, func(e *statement.Envelope) { e.Signatures = nil }, reason.TooManySignatures},
			{"two signatures", statement.KindApproval, pub, func(e *statement.Envelope) { e.Signatures = append(e.Signatures, e.Signatures[0]) }, reason.TooManySignatures},
			{"empty payload", statement.KindApproval, pub, func(e *statement.Envelope) { e.Payload = nil }, reason.Malformed},
			{"long signature", statement.KindApproval, pub, func(e *statement.Envelope) { e.Signatures[0].Sig = make([]byte, 1000) }, reason.Malformed},
		} {
			t.Run(c.name, func(t *testing.T) {
				copied, err := statement.ParseEnvelope(data)
				if err != nil {
					t.Fatal(err)
				}
				if c.edit != nil {
					c.edit(copied)
				}
				got, err := copied.Verify(c.kind, c.key)
				if reason.Of(err) != c.want {
					t.Errorf("reason %q, want %q: %v", reason.Of(err), c.want, err)
				}
				if (err == nil) != bytes.Equal(got, payload) {
					t.Errorf("payload %q with error %v", got, err)
				}
			})
		}
	}
}

// brokenToken signs something else than it was asked to.
type brokenToken struct{ signature.Signer }

func (b brokenToken) SignMessage(io.Reader, ...signature.SignOption) ([]byte, error) {
	return b.Signer.SignMessage(strings.NewReader("something else"))
}

// lostToken does not answer.
type lostToken struct{ signature.Signer }

var errLost = errors.New("token was pulled out")

func (lostToken) SignMessage(io.Reader, ...signature.SignOption) ([]byte, error) { return nil, errLost }

func TestSignRefusesBrokenTokens(t *testing.T) {
	s, _ := signer(t, false)
	if _, err := statement.Sign(statement.KindApproval, []byte("{}"), brokenToken{s}); !reason.Is(err, reason.SignatureBad) {
		t.Errorf("broken token: %v", err)
	}
	if _, err := statement.Sign(statement.KindApproval, []byte("{}"), lostToken{s}); !errors.Is(err, errLost) {
		t.Errorf("lost token: %v", err)
	}
}

func TestParseEnvelope(t *testing.T) {
	for _, c := range []struct {
		name, data string
		want       reason.Reason
	}{
		{"none", `{"payloadType":"x","payload":"AQI=","signatures":[{"sig":"AQI="}]}`, ""},
		{"key id", `{"payloadType":"x","payload":"AQI=","signatures":[{"sig":"AQI=","keyid":"1"}]}`, reason.UnknownMember},
		{"payload twice", `{"payloadType":"x","payload":"AQI=","payload":"AQI=","signatures":[{"sig":"AQI="}]}`, reason.DuplicateName},
		{"no signatures", `{"payloadType":"x","payload":"AQI=","signatures":[]}`, reason.TooManySignatures},
		{"null", `null`, reason.Null},
		{"too large", `{"payloadType":"` + strings.Repeat("x", statement.MaxEnvelope) + `"}`, reason.TooLarge},
		{"url-safe base64", `{"payloadType":"x","payload":"-_8=","signatures":[{"sig":"AQI="}]}`, reason.Malformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := statement.ParseEnvelope([]byte(c.data))
			if reason.Of(err) != c.want {
				t.Errorf("reason %q, want %q: %v", reason.Of(err), c.want, err)
			}
		})
	}
}

func TestParseApproval(t *testing.T) {
	payload, err := approval().Payload()
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := statement.ParseApproval(payload)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := parsed.Payload(); err != nil || !bytes.Equal(again, payload) {
		t.Errorf("written back differs: %v", err)
	}
	if parsed.Reason != approval().Reason || !parsed.At.Equal(approval().At) {
		t.Errorf("%+v", parsed)
	}
	// Any in-toto reader finds the subjects.
	var s struct {
		Type    string `json:"_type"`
		Subject []struct {
			Name   string            `json:"name"`
			Digest map[string]string `json:"digest"`
		} `json:"subject"`
	}
	if err := json.Unmarshal(payload, &s); err != nil || s.Type != "https://in-toto.io/Statement/v1" || s.Subject[0].Name != "image/gw-100/31" || s.Subject[0].Digest["sha256"] != strings.Repeat("01", 32) {
		t.Errorf("%+v, %v", s, err)
	}
	for _, c := range []struct {
		name, old, new string
		want           reason.Reason
	}{
		{"another statement type", "Statement/v1", "Statement/v0.1", reason.Malformed},
		{"another predicate", "approval/v1", "approval/v2", reason.Malformed},
		{"fractional time", "09:20:00Z", "09:20:00.5Z", reason.Malformed},
		{"time zone", "09:20:00Z", "10:20:00+01:00", reason.Malformed},
		{"bad person", `"person":"chen"`, `"person":"Chen"`, reason.Malformed},
		{"short event id", strings.Repeat("ab", 32), "abcd", reason.Malformed},
		{"upper-case digest", strings.Repeat("01", 32), strings.Repeat("0A", 32), reason.Malformed},
		{"subject of another file", "image/gw-100/31", "image/gw-100/32", reason.Malformed},
		{"file without subject", `,{"digest":{"sha256":"` + strings.Repeat("02", 32) + `"},"name":"director/root/2"}`, "", reason.Malformed},
		{"unknown member", `"person"`, `"mood":"good","person"`, reason.UnknownMember},
		{"second digest", `{"sha256":"` + strings.Repeat("01", 32) + `"`, `{"md5":"00","sha256":"` + strings.Repeat("01", 32) + `"`, reason.UnknownMember},
		{"long reason", "record 8812", strings.Repeat("x", 1025), reason.Malformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !bytes.Contains(payload, []byte(c.old)) {
				t.Fatalf("%q is not in the payload", c.old)
			}
			_, err := statement.ParseApproval(bytes.Replace(payload, []byte(c.old), []byte(c.new), 1))
			if reason.Of(err) != c.want {
				t.Errorf("reason %q, want %q: %v", reason.Of(err), c.want, err)
			}
		})
	}
}

func FuzzParseEnvelope(f *testing.F) {
	s, pub := signer(f, false)
	payload, err := approval().Payload()
	if err != nil {
		f.Fatal(err)
	}
	e, err := statement.Sign(statement.KindApproval, payload, s)
	if err != nil {
		f.Fatal(err)
	}
	data, err := e.Bytes()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"payloadType":"x","payload":"AQI=","signatures":[{"sig":"AQI="}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := statement.ParseEnvelope(data)
		if err != nil {
			if !reason.Of(err).Known() {
				t.Errorf("no reason: %v", err)
			}
			return
		}
		written, err := e.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		again, err := statement.ParseEnvelope(written)
		if err != nil {
			t.Fatalf("written, but cannot be read: %v", err)
		}
		if second, err := again.Bytes(); err != nil || !bytes.Equal(second, written) {
			t.Errorf("written twice it differs: %v", err)
		}
		if got, err := e.Verify(statement.KindApproval, pub); err == nil && !bytes.Equal(got, payload) {
			t.Errorf("forged: %q", got)
		}
	})
}

func FuzzParseApproval(f *testing.F) {
	payload, err := approval().Payload()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(payload)
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := statement.ParseApproval(data)
		if err != nil {
			if !reason.Of(err).Known() {
				t.Errorf("no reason: %v", err)
			}
			return
		}
		written, err := a.Payload()
		if err != nil {
			t.Fatalf("parsed, but cannot be written: %v", err)
		}
		if again, err := statement.ParseApproval(written); err != nil || again.Event != a.Event {
			t.Errorf("written, but cannot be read: %v", err)
		}
	})
}
