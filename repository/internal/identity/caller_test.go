package identity

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"math/big"
	"testing"
	"time"

	"github.com/countersign-ota/countersign/proto/enroll"
	"github.com/countersign-ota/countersign/proto/reason"
)

func TestCallerRefuses(t *testing.T) {
	for _, tt := range []struct {
		name string
		run  func(w *world) []*x509.Certificate
		want reason.Reason
	}{
		{"expired operator", func(w *world) []*x509.Certificate {
			_, certs := w.enrolled(enroll.Operator, w.inviteOperator("rivera"))
			w.clock.forward(OperatorLife + time.Second)
			return certs
		}, reason.Expired},
		{"operator of another CA", func(w *world) []*x509.Certificate {
			k, _ := w.enrolled(enroll.Operator, w.inviteOperator("rivera"))
			dir := w.t.TempDir()
			makeCA(w.t, dir, "acme")
			other, err := OpenAuthority(dir, "acme", w.clock.now)
			if err != nil {
				w.t.Fatal(err)
			}
			certs, err := other.Issue(enroll.Operator, "rivera", k.Public())
			if err != nil {
				w.t.Fatal(err)
			}
			return parse(w.t, certs)
		}, reason.Permission},
		{"operator unknown here, though the CA issued it", func(w *world) []*x509.Certificate {
			certs, err := w.ca.Issue(enroll.Operator, "mallory", newKey(w.t).Public())
			if err != nil {
				w.t.Fatal(err)
			}
			return parse(w.t, certs)
		}, reason.Permission},
		{"operator with a key that is not in force", func(w *world) []*x509.Certificate {
			_, certs := w.enrolled(enroll.Operator, w.inviteOperator("rivera"))
			w.enrolled(enroll.Operator, w.inviteOperator("rivera"))
			return certs
		}, reason.Permission},
		{"revoked operator", func(w *world) []*x509.Certificate {
			w.enrolled(enroll.Operator, w.inviteOperator("chen"))
			_, certs := w.enrolled(enroll.Operator, w.inviteOperator("rivera"))
			if c := w.caller(certs); c.Err != nil {
				w.t.Fatal(c.Err)
			}
			if err := w.Revoke(context.Background(), "operator/chen", "rivera", "left"); err != nil {
				w.t.Fatal(err)
			}
			return certs
		}, reason.Permission},
		{"unknown device key, though the CA issued it", func(w *world) []*x509.Certificate {
			certs, err := w.ca.Issue(enroll.Device, "gw-0001", newKey(w.t).Public())
			if err != nil {
				w.t.Fatal(err)
			}
			return parse(w.t, certs)
		}, reason.Permission},
		{"nobody's name", func(w *world) []*x509.Certificate {
			return []*x509.Certificate{selfSigned(w.t, newKey(w.t), nil)}
		}, reason.Permission},
		{"device's certificate used as an operator's", func(w *world) []*x509.Certificate {
			w.enrolled(enroll.Operator, w.inviteOperator("rivera"))
			cert := selfSigned(w.t, newKey(w.t), nil)
			cert.URIs = append(cert.URIs, subjectURI("acme", enroll.Operator, "rivera"))
			return []*x509.Certificate{cert}
		}, reason.Permission},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			c := w.caller(tt.run(w))
			if c.Kind != "" || c.ID != "" || reason.Of(c.Err) != tt.want {
				t.Fatalf("caller %+v, want %s", c, tt.want)
			}
			for p := SelfService; p <= ManageIdentities; p++ {
				if err := c.Allow(p, true); reason.Of(err) != tt.want {
					t.Errorf("permission %d: %v", p, err)
				}
			}
			if err := c.Allow(Anybody, false); err != nil {
				t.Errorf("what anybody may: %v", err)
			}
		})
	}
}

func selfSigned(t testing.TB, k key, change func(*x509.Certificate)) *x509.Certificate {
	t.Helper()
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: start, NotAfter: start.Add(time.Hour)}
	if change != nil {
		change(c)
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, k.Public(), k.Signer)
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, [][]byte{der})[0]
}

// A device is known by its key: any certificate over it will do, years after it expired.
func TestShelvedDeviceIsKnown(t *testing.T) {
	w := newWorld(t)
	k, certs := w.enrolled(enroll.Device, w.inviteDevice("gw-0001"))
	w.clock.forward(25 * 365 * 24 * time.Hour)
	for name, shown := range map[string][]*x509.Certificate{"its own": certs, "self-made": {selfSigned(t, k, nil)}} {
		if c := w.caller(shown); c.Kind != enroll.Device || c.ID != "gw-0001" || c.Err != nil {
			t.Errorf("%s: %+v", name, c)
		}
	}
}
