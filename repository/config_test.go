package repository

import (
	"fmt"
	"strings"
	"testing"

	"github.com/countersign-ota/countersign/proto/reason"
)

const goodConfig = `# comment
deployment: acme
dir: /var/lib/countersign
url: https://updates.example
listen: {grpc: ":8443", https: ":8444"}
public_images: true
online: {image: online/image.key, director: "credential:director"}
tls: {cert: "", key: ""}
`

func TestParseConfig(t *testing.T) {
	c, err := ParseConfig("server.yaml", []byte(goodConfig))
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		Deployment: "acme", Dir: "/var/lib/countersign", URL: "https://updates.example", GRPC: ":8443", HTTPS: ":8444",
		PublicImages: true, OnlineImage: "online/image.key", OnlineDirector: "credential:director",
		KMS: []string{"pkcs11"},
	}
	if fmt.Sprint(*c) != fmt.Sprint(want) {
		t.Errorf("got %+v, want %+v", *c, want)
	}
	if got := c.Server(); got != "updates.example:8443" {
		t.Errorf("server %q", got)
	}
}

// The image key may lie in a plug-in that is allowed, by default in a PKCS#11 token.
func TestParseConfigOfATokenKey(t *testing.T) {
	for _, tt := range []struct{ uri, kms string }{
		{"pkcs11://token=t;object=o?module-path=/m.so&pin-source=file:/run/pin", ""},
		{"awskms://x", "kms: [pkcs11, awskms]\n"},
	} {
		data := strings.Replace(goodConfig, "online/image.key", fmt.Sprintf("%q", tt.uri), 1) + tt.kms
		c, err := ParseConfig("server.yaml", []byte(data))
		if err != nil {
			t.Errorf("%s: %v", tt.uri, err)
			continue
		}
		if c.OnlineImage != tt.uri {
			t.Errorf("image key %q", c.OnlineImage)
		}
	}
}

func TestParseConfigRefuses(t *testing.T) {
	swap := func(old, new string) string {
		t.Helper()
		s := strings.Replace(goodConfig, old, new, 1)
		if s == goodConfig {
			t.Fatalf("%q is not in the file", old)
		}
		return s
	}
	for _, tt := range []struct{ name, data, want string }{
		{"empty", "", "server.yaml: empty"},
		{"no map", "x\n", "server.yaml:1: "},
		{"broken", "a: [\n", "server.yaml:"},
		{"two documents", goodConfig + "---\nx: 1\n", "server.yaml: want one document"},
		{"unknown member", swap("tls:", "tsl:"), "server.yaml:8: there is no member tsl"},
		{"unknown inner member", swap("grpc:", "grcp:"), "server.yaml:5: there is no member grcp"},
		{"member twice", swap("public_images: true", "dir: /x"), `server.yaml:6: mapping key "dir" already defined at line 3`},
		{"text where a flag is", swap("true", `"true"`), "server.yaml:6: want true or false"},
		{"number where a text is", swap("acme", "12"), "server.yaml:2: want a text"},
		{"deployment", swap("acme", "Acme"), `server.yaml:2: deployment: `},
		{"no deployment", swap("deployment: acme\n", ""), "server.yaml: deployment: missing"},
		{"relative dir", swap("/var/lib/countersign", "data"), `server.yaml:3: dir: "data" is not an absolute path`},
		{"http", swap("https://", "http://"), "server.yaml:4: url: "},
		{"path in url", swap("updates.example", "updates.example/x"), "server.yaml:4: url: "},
		{"listen without port", swap(`":8443"`, `"8443"`), "server.yaml:5: listen.grpc: "},
		{"port 0", swap(`":8444"`, `":0"`), "server.yaml:5: listen.https: "},
		{"same port", swap(`":8444"`, `":8443"`), "server.yaml:5: listen.https: "},
		{"one key for both", swap(`"credential:director"`, "online/image.key"), "server.yaml:7: online.director: "},
		{"credential", swap("credential:director", "credential:../x"), "server.yaml:7: online: "},
		{"director in a token", swap("credential:director", "pkcs11://token=t;object=o?module-path=/m.so"), "server.yaml:7: online: a key in a plug-in stands where"},
		{"image in a plug-in that is not allowed", swap("online/image.key", `"awskms://x"`), "server.yaml:7: online: keys of awskms:// are not allowed here; allowed: pkcs11"},
		{"image with a PIN", swap("online/image.key", `"pkcs11://token=t?pin-value=1234"`), "server.yaml:7: online: the URI of a pkcs11 key holds a PIN (pin-value); others can see it there"},
		{"no plug-in allowed", swap("online/image.key", `"pkcs11://t"`) + "kms: []\n", "server.yaml:7: online: keys of pkcs11:// are not allowed here; allowed: none is"},
		{"plug-in by a path", goodConfig + "kms: [../x]\n", `server.yaml:9: kms: "../x" is not the name of a plug-in`},
		{"plug-ins as a text", goodConfig + "kms: pkcs11\n", "server.yaml:9: "},
		{"cert without key", swap(`cert: ""`, `cert: "a.pem"`), "server.yaml:8: tls: cert and key go together"},
		{"large", goodConfig + strings.Repeat("#", maxConfig), "server.yaml: more than 65536 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParseConfig("server.yaml", []byte(tt.data))
			if reason.Of(err) != reason.Config || !strings.HasPrefix(err.Error(), tt.want) {
				t.Fatalf("got %v, want %s… [config]", err, tt.want)
			}
		})
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(goodConfig))
	f.Add([]byte("deployment: &a acme\ndir: *a\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := ParseConfig("server.yaml", data)
		if err != nil {
			if reason.Of(err) != reason.Config {
				t.Fatalf("reason %q of %v", reason.Of(err), err)
			}
			return
		}
		if c.Host() == "" || c.Server() == "" {
			t.Fatalf("taken without host: %+v", c)
		}
	})
}
