package repository_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/countersign-ota/countersign/integration/softhsm"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/repository"
)

// tokenBed is a server whose image key lies in a SoftHSM2 token. It returns the file with the PIN.
func tokenBed(t *testing.T, algorithm string) (b *bed, token *softhsm.Token, pin string) {
	t.Helper()
	token = softhsm.New(t)
	softhsm.Plugin(t)
	if err := token.Make("online", "01", algorithm); err != nil {
		t.Fatal(err)
	}
	pin = filepath.Join(t.TempDir(), "pin")
	if err := os.WriteFile(pin, []byte(softhsm.PIN+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b = newBed(t, func(c *repository.Config) {
		// As people do it: in server.yaml, which is then read again.
		name := filepath.Join(c.Dir, repository.ConfigFile)
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		uri := token.URI("online") + "&pin-source=file:" + pin
		data = []byte(strings.Replace(string(data), "image: online/image.key", fmt.Sprintf("image: %q", uri), 1))
		if err := os.WriteFile(name, data, 0o644); err != nil {
			t.Fatal(err)
		}
		again, err := repository.LoadConfig(name)
		if err != nil {
			t.Fatal(err)
		}
		if c.OnlineImage = again.OnlineImage; c.OnlineImage != uri {
			t.Fatalf("image key %q", c.OnlineImage)
		}
		if err := os.Remove(filepath.Join(c.Dir, "online/image.key")); err != nil {
			t.Fatal(err)
		}
	})
	return b, token, pin
}

// timestampOf returns the version of the timestamp that is served.
func (b *bed) timestampVersion() int64 {
	b.t.Helper()
	code, body := b.get("/timestamp.json")
	if code != 200 {
		b.t.Fatalf("timestamp: %d", code)
	}
	var f struct {
		Signed struct {
			Version int64 `json:"version"`
		} `json:"signed"`
	}
	if err := json.Unmarshal(body, &f); err != nil {
		b.t.Fatal(err)
	}
	return f.Signed.Version
}

// The image's online key lies in a token: the server publishes with it and signs the timestamp anew.
func TestOnlineKeyInAToken(t *testing.T) {
	for name, algorithm := range map[string]string{"p256": softhsm.P256, "ed25519": softhsm.Ed25519} {
		t.Run(name, func(t *testing.T) {
			b, _, _ := tokenBed(t, algorithm)
			b.found(basicPlan)
			b.released("2.4.1")
			first := b.timestampVersion()
			b.checked()
			b.clock.forward(25 * time.Hour) // the timestamp is due
			b.start()
			for range 3000 {
				if b.timestampVersion() > first {
					break
				}
				time.Sleep(20 * time.Millisecond)
			}
			if now := b.timestampVersion(); now <= first {
				t.Errorf("timestamp %d was not signed anew", now)
			}
			b.checked()
		})
	}
}

// The token is gone, its PIN is wrong, or another token has its name: nothing is signed with anything
// else, what is published stays, and health says so.
func TestOnlineTokenThatFails(t *testing.T) {
	b, token, pin := tokenBed(t, softhsm.P256)
	b.found(basicPlan)
	first := b.timestampVersion()
	e, s := b.release("2.4.1", basicSpec)
	b.upload(e, s)
	id := b.open("rivera", e)
	b.sign(id, "rivera", "chen")

	// A wrong PIN, tried once.
	b.stop()
	if err := os.WriteFile(pin, []byte("000000"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.start()
	for range 2 {
		_, err := b.operators["rivera"].Publish(ctx, id)
		wantReason(t, err, reason.PluginFailed)
	}
	if err := os.WriteFile(pin, []byte(softhsm.PIN), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := b.operators["rivera"].Publish(ctx, id) // not until somebody restarts it
	wantReason(t, err, reason.PluginFailed)
	b.stop()
	b.clock.forward(25 * time.Hour) // the timestamp is due
	if err := os.WriteFile(pin, []byte("000000"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.start()
	health := grpc_health_v1.NewHealthClient(b.stock(nil))
	status := grpc_health_v1.HealthCheckResponse_UNKNOWN
	for range 3000 {
		h, err := health.Check(ctx, &grpc_health_v1.HealthCheckRequest{})
		if status = h.GetStatus(); err == nil && status == grpc_health_v1.HealthCheckResponse_NOT_SERVING {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if status != grpc_health_v1.HealthCheckResponse_NOT_SERVING {
		t.Errorf("health %v", status)
	}
	b.stop()
	b.clock.forward(-25 * time.Hour)
	if err := os.WriteFile(pin, []byte(softhsm.PIN), 0o600); err != nil {
		t.Fatal(err)
	}

	// The key in the token is replaced while the server runs.
	b.start()
	if err := token.Drop("online"); err != nil {
		t.Fatal(err)
	}
	_, err = b.operators["rivera"].Publish(ctx, id)
	wantReason(t, err, reason.PluginFailed)
	if err := token.Make("online", "01", softhsm.P256); err != nil {
		t.Fatal(err)
	}
	_, err = b.operators["rivera"].Publish(ctx, id)
	wantReason(t, err, reason.PluginFailed)

	// And while it did not: the root knows another key.
	b.stop()
	b.start()
	_, err = b.operators["rivera"].Publish(ctx, id)
	wantReason(t, err, reason.OnlineKeyUnknown)
	if got := b.timestampVersion(); got != first {
		t.Errorf("timestamp %d, want %d as before", got, first)
	}
	b.checked()

	// No token at all: the server does not start, since it could not say which key it has.
	if err := token.Drop("online"); err != nil {
		t.Fatal(err)
	}
	_, err = repository.Open(ctx, b.cfg)
	wantReason(t, err, reason.NotFound)
	if !strings.Contains(err.Error(), `online.image: token "chen-yubi" shows no public key "online"`) {
		t.Errorf("%v", err)
	}
}

// A root is not told of a director key in a token, whatever the configuration's parser let through.
func TestDirectorKeyInATokenIsRefused(t *testing.T) {
	b := newBed(t)
	b.stop()
	b.cfg.OnlineDirector = "pkcs11://token=t;object=o?module-path=/m.so"
	_, err := repository.Open(ctx, b.cfg)
	wantReason(t, err, reason.Config)
}
