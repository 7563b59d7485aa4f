package identity

import (
	"context"
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"github.com/countersign-ota/countersign/proto/enroll"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/repository/internal/store"
)

func TestEnrol(t *testing.T) {
	for _, kind := range []enroll.Kind{enroll.Operator, enroll.Device} {
		t.Run(string(kind), func(t *testing.T) {
			w := newWorld(t)
			tok := w.inviteOperator("rivera")
			if kind == enroll.Device {
				tok = w.inviteDevice("gw-0001")
			}
			k, certs := w.enrolled(kind, tok)
			if uri := certs[0].URIs[0].String(); uri != "spiffe://acme/"+string(kind)+"/"+tok.GetSubject() {
				t.Errorf("URI %s", uri)
			}
			if life := certs[0].NotAfter.Sub(start); kind == enroll.Operator && life != OperatorLife {
				t.Errorf("an operator's certificate lives %s", life)
			}
			c := w.caller(certs)
			if c.Err != nil || c.Kind != kind || c.ID != tok.GetSubject() {
				t.Fatalf("caller %+v", c)
			}
			// The answer was lost: the same token with the same key is answered again.
			again, _, err := w.Enroll(context.Background(), request(kind, tok, k))
			if err != nil || len(again) != 2 {
				t.Fatalf("again: %v", err)
			}
			if c := w.caller(parse(t, again)); c.Err != nil {
				t.Errorf("second certificate: %v", c.Err)
			}
		})
	}
}

func TestEnrolRefuses(t *testing.T) {
	for _, tt := range []struct {
		name string
		run  func(w *world) (Request, error)
		want reason.Reason
	}{
		{"unknown token", func(w *world) (Request, error) {
			tok := w.inviteDevice("gw-0001")
			tok.Id = "0000000000000000"
			return request(enroll.Device, tok, newKey(w.t)), nil
		}, reason.TokenInvalid},
		{"guessed secret", func(w *world) (Request, error) {
			tok := w.inviteDevice("gw-0001")
			tok.Secret = make([]byte, 32)
			return request(enroll.Device, tok, newKey(w.t)), nil
		}, reason.TokenInvalid},
		{"empty secret of an unknown token", func(w *world) (Request, error) {
			tok := w.inviteDevice("gw-0001")
			tok.Id, tok.Secret = "0000000000000000", nil
			return request(enroll.Device, tok, newKey(w.t)), nil
		}, reason.TokenInvalid},
		{"MAC over another key", func(w *world) (Request, error) {
			q := request(enroll.Device, w.inviteDevice("gw-0001"), newKey(w.t))
			q.PublicKey = newKey(w.t).spki
			return q, nil
		}, reason.TokenInvalid},
		{"for another device", func(w *world) (Request, error) {
			tok := w.inviteDevice("gw-0001")
			tok.Subject = "gw-0002"
			return request(enroll.Device, tok, newKey(w.t)), nil
		}, reason.TokenInvalid},
		{"a device's token makes no operator", func(w *world) (Request, error) {
			tok := w.inviteDevice("gw-0001")
			w.inviteOperator("gw-0001")
			return request(enroll.Operator, tok, newKey(w.t)), nil
		}, reason.TokenInvalid},
		{"expired", func(w *world) (Request, error) {
			q := request(enroll.Device, w.inviteDevice("gw-0001"), newKey(w.t))
			w.clock.forward(deviceTokenLife)
			return q, nil
		}, reason.TokenInvalid},
		{"used by another key", func(w *world) (Request, error) {
			tok := w.inviteDevice("gw-0001")
			w.enrolled(enroll.Device, tok)
			return request(enroll.Device, tok, newKey(w.t)), nil
		}, reason.TokenInvalid},
		{"replaced by a later token", func(w *world) (Request, error) {
			q := request(enroll.Device, w.inviteDevice("gw-0001"), newKey(w.t))
			w.inviteDevice("gw-0001")
			return q, nil
		}, reason.TokenInvalid},
		{"used token must not bring an old key back", func(w *world) (Request, error) {
			tok := w.inviteOperator("rivera")
			k, certs := w.enrolled(enroll.Operator, tok)
			next := newKey(w.t)
			fresh, err := w.Renew(context.Background(), w.caller(certs), next.spki)
			if err == nil {
				err = w.caller(parse(w.t, fresh)).Err
			}
			return request(enroll.Operator, tok, k), err
		}, reason.TokenInvalid},
		{"another device's key", func(w *world) (Request, error) {
			k, _ := w.enrolled(enroll.Device, w.inviteDevice("gw-0001"))
			return request(enroll.Device, w.inviteDevice("gw-0002"), k), nil
		}, reason.KeyTwice},
		{"an operator's key", func(w *world) (Request, error) {
			k, _ := w.enrolled(enroll.Operator, w.inviteOperator("rivera"))
			return request(enroll.Device, w.inviteDevice("gw-0002"), k), nil
		}, reason.KeyTwice},
		{"malformed key", func(w *world) (Request, error) {
			q := request(enroll.Device, w.inviteDevice("gw-0001"), newKey(w.t))
			q.PublicKey = q.PublicKey[1:]
			return q, nil
		}, reason.KeyMalformed},
		{"malformed id", func(w *world) (Request, error) {
			q := request(enroll.Device, w.inviteDevice("gw-0001"), newKey(w.t))
			q.ID = "../gw"
			return q, nil
		}, reason.Malformed},
		{"malformed token id", func(w *world) (Request, error) {
			q := request(enroll.Device, w.inviteDevice("gw-0001"), newKey(w.t))
			q.TokenID = "x"
			return q, nil
		}, reason.Malformed},
		{"short MAC", func(w *world) (Request, error) {
			q := request(enroll.Device, w.inviteDevice("gw-0001"), newKey(w.t))
			q.MAC = q.MAC[:31]
			return q, nil
		}, reason.Malformed},
		{"revoked operator", func(w *world) (Request, error) {
			w.enrolled(enroll.Operator, w.inviteOperator("chen"))
			tok := w.inviteOperator("rivera")
			q := request(enroll.Operator, tok, newKey(w.t))
			return q, w.Revoke(context.Background(), "operator/chen", "rivera", "left")
		}, reason.TokenInvalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			q, err := tt.run(w)
			if err != nil {
				t.Fatal(err)
			}
			certs, _, err := w.Enroll(context.Background(), q)
			if certs != nil || reason.Of(err) != tt.want {
				t.Fatalf("got %d certificates, %v; want %s", len(certs), err, tt.want)
			}
			e := w.audited()
			if e.GetReason() != string(tt.want) || e.GetAction() != string(q.Kind)+".enroll" || e.GetActor() != "anonymous" {
				t.Errorf("audit entry %v", e)
			}
		})
	}
}

func TestRenewKeepsTheOldKeyUntilTheNewOneCalls(t *testing.T) {
	w := newWorld(t)
	_, old := w.enrolled(enroll.Operator, w.inviteOperator("rivera"))
	next := newKey(t)
	fresh, err := w.Renew(context.Background(), w.caller(old), next.spki)
	if err != nil {
		t.Fatal(err)
	}
	if c := w.caller(old); c.Err != nil {
		t.Fatalf("the answer was lost, and the old key is refused: %v", c.Err)
	}
	for range 2 {
		if c := w.caller(parse(t, fresh)); c.Err != nil || c.ID != "rivera" {
			t.Fatalf("new key: %+v", c)
		}
	}
	if c := w.caller(old); reason.Of(c.Err) != reason.Permission {
		t.Fatalf("old key after the new one called: %v", c.Err)
	}
	if _, err := w.Renew(context.Background(), Caller{Kind: enroll.Device, ID: "gw-0001"}, next.spki); reason.Of(err) != reason.Permission {
		t.Errorf("a device renews: %v", err)
	}
}

func TestRevoke(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	_, rivera := w.enrolled(enroll.Operator, w.inviteOperator("rivera"))
	w.inviteOperator("chen") // has not logged in
	if err := w.Revoke(ctx, "operator/rivera", "rivera", "test"); reason.Of(err) != reason.Permission {
		t.Fatalf("the last operator was revoked: %v", err)
	}
	w.enrolled(enroll.Operator, w.inviteOperator("chen"))
	for _, tt := range []struct {
		name, id, why string
		want          reason.Reason
	}{
		{"unknown", "okafor", "x", reason.NotFound},
		{"malformed", "../x", "x", reason.Malformed},
		{"no reason", "rivera", "", reason.UsageError},
		{"long reason", "rivera", strings.Repeat("x", 1025), reason.UsageError},
	} {
		if err := w.Revoke(ctx, "operator/chen", tt.id, tt.why); reason.Of(err) != tt.want {
			t.Errorf("%s: %v, want %s", tt.name, err, tt.want)
		}
	}
	if err := w.Revoke(ctx, "operator/chen", "rivera", "left the company"); err != nil {
		t.Fatal(err)
	}
	if c := w.caller(rivera); reason.Of(c.Err) != reason.Permission {
		t.Errorf("revoked caller: %+v", c)
	}
	ops, err := w.Operators(ctx)
	if err != nil || len(ops) != 2 || ops[0].GetId() != "chen" || !ops[1].GetRevoked() || ops[1].GetReason() != "left the company" {
		t.Fatalf("operators %v, %v", ops, err)
	}
	// Invited again, the person comes back with a new key; the old one stays out.
	w.enrolled(enroll.Operator, w.inviteOperator("rivera"))
	if c := w.caller(rivera); reason.Of(c.Err) != reason.Permission {
		t.Errorf("old key after the return: %+v", c)
	}
}

func TestInviteRefuses(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	for _, tt := range []struct {
		name, id string
		roles    []string
		site     string
		want     reason.Reason
	}{
		{"id", "Rivera", []string{"admin"}, "", reason.Malformed},
		{"no role", "rivera", nil, "", reason.UsageError},
		{"too many roles", "rivera", make([]string, 17), "", reason.UsageError},
		{"role", "rivera", []string{"a b"}, "", reason.Malformed},
		{"site", "rivera", []string{"admin"}, "North", reason.Malformed},
	} {
		if _, err := w.InviteOperator(ctx, "operator/x", tt.id, tt.roles, tt.site); reason.Of(err) != tt.want {
			t.Errorf("operator, %s: %v, want %s", tt.name, err, tt.want)
		}
	}
	for _, tt := range []struct {
		name string
		ids  []string
		want reason.Reason
	}{
		{"none", nil, reason.UsageError},
		{"too many", make([]string, MaxInvitedDevices+1), reason.UsageError},
		{"twice", []string{"gw-1", "gw-1"}, reason.UsageError},
		{"id", []string{"gw-1", "gw_2"}, reason.Malformed},
	} {
		if _, err := w.InviteDevices(ctx, "operator/x", tt.ids); reason.Of(err) != tt.want {
			t.Errorf("devices, %s: %v, want %s", tt.name, err, tt.want)
		}
	}
	if err := w.db.View(ctx, func(v store.View) error {
		toks, err := v.Tokens()
		if len(toks) != 0 {
			t.Errorf("%d tokens after refusals only", len(toks))
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

func TestDropExpired(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	w.inviteOperator("rivera")
	w.inviteDevice("gw-0001")
	w.clock.forward(operatorTokenLife + time.Hour)
	for range 2 {
		if err := w.DropExpired(ctx); err != nil {
			t.Fatal(err)
		}
	}
	err := w.db.View(ctx, func(v store.View) error {
		toks, err := v.Tokens()
		if len(toks) != 1 || toks[0].Record.GetSubject() != "gw-0001" {
			t.Errorf("tokens left: %v", toks)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestServerCertificate(t *testing.T) {
	w := newWorld(t)
	for _, host := range []string{"updates.example", "127.0.0.1", "::1"} {
		s, err := w.ca.NewServerCertificate(host, "", "")
		if err != nil {
			t.Fatal(err)
		}
		first, err := s.Get(nil)
		if err != nil {
			t.Fatal(err)
		}
		pool := x509.NewCertPool()
		pool.AddCert(w.ca.Root())
		inters := x509.NewCertPool()
		inters.AddCert(parse(t, first.Certificate[1:])[0])
		if _, err := first.Leaf.Verify(x509.VerifyOptions{
			Roots: pool, Intermediates: inters, DNSName: host, CurrentTime: w.clock.now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		}); err != nil {
			t.Errorf("%s: %v", host, err)
		}
		before, _ := s.Hash()
		w.clock.forward(59 * 24 * time.Hour)
		if same, _ := s.Get(nil); same != first {
			t.Errorf("%s: renewed too early", host)
		}
		w.clock.forward(2 * 24 * time.Hour)
		second, err := s.Get(nil)
		if err != nil || second == first || !second.Leaf.NotAfter.After(first.Leaf.NotAfter) {
			t.Fatalf("%s: not renewed: %v", host, err)
		}
		if after, _ := s.Hash(); after != before {
			t.Errorf("%s: the key changed; the director's root names it", host)
		}
	}
}
