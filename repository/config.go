package repository

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/countersign-ota/countersign/internal/kms"
	"github.com/countersign-ota/countersign/proto/enroll"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/repository/internal/secret"
)

// maxConfig bounds server.yaml in bytes.
const maxConfig = 64 << 10

// Config is what server.yaml says, and what the program that runs the server adds. ParseConfig reads
// the first part and checks all of it.
type Config struct {
	// Deployment is the deployment's id. It never changes.
	Deployment string
	// Dir is the server's directory, absolute.
	Dir string
	// URL is where devices and tools reach the HTTPS side, https://HOST[:PORT]. Its host is also the
	// host of the gRPC side.
	URL string
	// GRPC and HTTPS are the addresses to listen on, [HOST]:PORT.
	GRPC, HTTPS string
	// PublicImages serves image bytes without a certificate.
	PublicImages bool
	// OnlineImage and OnlineDirector name the online keys: a file, relative to Dir, or
	// credential:NAME. OnlineImage may also be the URI of a key in a plug-in, NAME://REST.
	OnlineImage, OnlineDirector string
	// KMS are the schemes of plug-ins that may be run.
	KMS []string
	// TLSCert and TLSKey name PEM files, relative to Dir; both empty: from the identity intermediate.
	TLSCert, TLSKey string

	// Log takes the server's log; nil discards it.
	Log *slog.Logger
	// Now is the clock; nil is the system's.
	Now func() time.Time
	// Credentials is $CREDENTIALS_DIRECTORY.
	Credentials string
}

// wireConfig is the file; every value remembers its line.
type wireConfig struct {
	Deployment   text `yaml:"deployment"`
	Dir          text `yaml:"dir"`
	URL          text `yaml:"url"`
	PublicImages flag `yaml:"public_images"`
	Listen       struct {
		GRPC  text `yaml:"grpc"`
		HTTPS text `yaml:"https"`
	} `yaml:"listen"`
	Online struct {
		Image    text `yaml:"image"`
		Director text `yaml:"director"`
	} `yaml:"online"`
	KMS *[]text `yaml:"kms"`
	TLS struct {
		Cert text `yaml:"cert"`
		Key  text `yaml:"key"`
	} `yaml:"tls"`
}

type text struct {
	value string
	line  int
}

// UnmarshalYAML takes a string and nothing that only looks like one.
func (t *text) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!str" {
		return fmt.Errorf("line %d: want a text", n.Line)
	}
	t.value, t.line = n.Value, n.Line
	return nil
}

type flag struct{ value bool }

// UnmarshalYAML takes true or false.
func (f *flag) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!bool" {
		return fmt.Errorf("line %d: want true or false", n.Line)
	}
	return n.Decode(&f.value)
}

// LoadConfig reads and parses the file name.
func LoadConfig(name string) (*Config, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, reason.Errorf(reason.Config, "configuration: %w", err).WithHint("countersignd init makes one")
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err != nil {
		return nil, reason.Errorf(reason.Config, "configuration: %w", err)
	}
	return ParseConfig(name, data)
}

// ParseConfig reads server.yaml strictly: every member known and once, every value of its type. name
// is the file's name for errors, which read name:line: text. Reason config.
func ParseConfig(name string, data []byte) (*Config, error) {
	if len(data) > maxConfig {
		return nil, reason.Errorf(reason.Config, "%s: more than %d bytes", name, maxConfig)
	}
	var w wireConfig
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	if err := d.Decode(&w); err != nil {
		return nil, yamlError(name, err)
	}
	if err := d.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, reason.Errorf(reason.Config, "%s: want one document", name)
	}
	c := &Config{
		Deployment: w.Deployment.value, Dir: w.Dir.value, URL: w.URL.value,
		GRPC: w.Listen.GRPC.value, HTTPS: w.Listen.HTTPS.value, PublicImages: w.PublicImages.value,
		OnlineImage: w.Online.Image.value, OnlineDirector: w.Online.Director.value,
		TLSCert: w.TLS.Cert.value, TLSKey: w.TLS.Key.value,
		KMS: []string{"pkcs11"},
	}
	if w.KMS != nil {
		c.KMS = nil
		for _, scheme := range *w.KMS {
			c.KMS = append(c.KMS, scheme.value)
		}
	}
	return c, w.check(name, c.KMS)
}

var lineOf = regexp.MustCompile(`^(?:yaml: )?(?:unmarshal errors:\s+)?line (\d+): (.*)`)

// yamlError puts the first error of the YAML library behind name:line.
func yamlError(name string, err error) error {
	if errors.Is(err, io.EOF) {
		return reason.Errorf(reason.Config, "%s: empty", name)
	}
	first, _, _ := strings.Cut(strings.TrimPrefix(err.Error(), "yaml: unmarshal errors:\n  "), "\n")
	if m := lineOf.FindStringSubmatch(first); m != nil {
		what := m[2]
		if field, _, ok := strings.Cut(what, " not found in type "); ok {
			what = "there is no member " + strings.TrimPrefix(field, "field ")
		}
		return reason.Errorf(reason.Config, "%s:%s: %s", name, m[1], what)
	}
	return reason.Errorf(reason.Config, "%s: %s", name, first)
}

// check judges the values; the first wrong one is the error. allow are the schemes of plug-ins.
func (w *wireConfig) check(name string, allow []string) error {
	wrong := func(t text, member, format string, args ...any) error {
		at := name
		if t.line != 0 {
			at = fmt.Sprintf("%s:%d", name, t.line)
		}
		return reason.Errorf(reason.Config, "%s: %s: %s", at, member, fmt.Sprintf(format, args...))
	}
	for _, m := range []struct {
		name  string
		value text
	}{
		{"deployment", w.Deployment},
		{"dir", w.Dir},
		{"url", w.URL},
		{"listen.grpc", w.Listen.GRPC},
		{"listen.https", w.Listen.HTTPS},
		{"online.image", w.Online.Image},
		{"online.director", w.Online.Director},
	} {
		if m.value.value == "" {
			return wrong(m.value, m.name, "missing")
		}
	}
	if err := metadata.CheckID("deployment", w.Deployment.value); err != nil {
		return wrong(w.Deployment, "deployment", "%v", err)
	}
	if !filepath.IsAbs(w.Dir.value) {
		return wrong(w.Dir, "dir", "%q is not an absolute path", w.Dir.value)
	}
	if err := enroll.CheckURL(w.URL.value); err != nil {
		return wrong(w.URL, "url", "%v", err)
	}
	if err := checkListen(w.Listen.GRPC.value); err != nil {
		return wrong(w.Listen.GRPC, "listen.grpc", "%v", err)
	}
	if err := checkListen(w.Listen.HTTPS.value); err != nil {
		return wrong(w.Listen.HTTPS, "listen.https", "%v", err)
	}
	if w.Listen.GRPC.value == w.Listen.HTTPS.value {
		return wrong(w.Listen.HTTPS, "listen.https", "%q is the address of listen.grpc", w.Listen.HTTPS.value)
	}
	if w.KMS != nil {
		for _, scheme := range *w.KMS {
			if !kms.IsURI(scheme.value + "://") {
				return wrong(scheme, "kms", "%q is not the name of a plug-in, as in kms: [pkcs11]", scheme.value)
			}
		}
	}
	keys := secret.Source{Dir: w.Dir.value, Credentials: "/", KMS: allow}
	if err := keys.CheckOnline(w.Online.Image.value); err != nil {
		return wrong(w.Online.Image, "online", "%v", err)
	}
	if _, err := keys.Path(w.Online.Director.value); err != nil {
		return wrong(w.Online.Director, "online", "%v", err)
	}
	if w.Online.Image.value == w.Online.Director.value {
		return wrong(w.Online.Director, "online.director", "image and director have one key each, never the same (DESIGN 1.1)")
	}
	if (w.TLS.Cert.value == "") != (w.TLS.Key.value == "") {
		return wrong(w.TLS.Cert, "tls", "cert and key go together")
	}
	return nil
}

func checkListen(addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("%q is not [HOST]:PORT", addr)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("%q: port is not 1 to 65535", addr)
	}
	return nil
}

// Host returns the host of the server's URL.
func (c *Config) Host() string {
	u, err := url.Parse(c.URL)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// Server returns the gRPC address for devices and tools: the URL's host, the port of GRPC.
func (c *Config) Server() string {
	_, port, err := net.SplitHostPort(c.GRPC)
	if err != nil {
		return ""
	}
	return net.JoinHostPort(c.Host(), port)
}

// file returns a name from the configuration as a path.
func (c *Config) file(name string) string {
	if name == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(c.Dir, name)
}
