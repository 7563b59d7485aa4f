// Package home is what the tool keeps on a person's machine (docs/commands.md 1): the configuration,
// which names server and key by deployment, and for each deployment the roots that are pinned, the
// highest versions seen and signed, the verified role files, the identity CA and the connection key.
//
//	config.yaml                       deployments: {acme: {server, https, operator, key}}, kms: [pkcs11]
//	keys/ID.key                       a person's keys, encrypted or on a token (package signer/key)
//	state/DEPLOYMENT/history.json     pins, versions and digests seen and signed (event.History)
//	state/DEPLOYMENT/base.json        the newest verified role files
//	state/DEPLOYMENT/ca.pem           the identity CA's root
//	state/DEPLOYMENT/identity.pem     connection key and certificate, a secret
//	state/DEPLOYMENT/login-ID.pem     connection key of a login whose answer did not come yet, a secret
//	state/DEPLOYMENT/lock             held while history.json is changed
//
// All directories are 0700. Files are durable when a call returns. It does not protect against
// somebody who can write here: such a person can make this machine forget what it saw.
package home

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	yaml "go.yaml.in/yaml/v3"

	"github.com/countersign-ota/countersign/cmd/internal/cli"
	"github.com/countersign-ota/countersign/internal/durable"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// maxConfig bounds the configuration in bytes.
const maxConfig = 1 << 20

// Home is the places and the configuration that was read. It is not safe for concurrent use.
type Home struct {
	Paths cli.Paths
	conf  config
}

type config struct {
	Deployments map[string]Settings `yaml:"deployments"`
	// KMS is nil where the file does not say; an empty list is none.
	KMS *[]string `yaml:"kms,omitempty,flow"`
}

// defaultKMS are the stores of keys that may be opened where the configuration names none: tokens.
var defaultKMS = []string{"pkcs11"}

// schemePattern is what a URI may begin with, and a plug-in be named by.
var schemePattern = regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`)

// Settings are what the configuration says about one deployment. All may be empty.
type Settings struct {
	// Server is host:port of gRPC, HTTPS the URL of the TUF layout.
	Server string `yaml:"server,omitempty"`
	HTTPS  string `yaml:"https,omitempty"`
	// Operator is who logged in.
	Operator string `yaml:"operator,omitempty"`
	// Key is the key that signs unless --key says otherwise: a path or a name in Paths.Keys.
	Key string `yaml:"key,omitempty"`
}

// Open reads the configuration; an absent one is empty. Reason: config, with the line.
func Open(paths cli.Paths) (*Home, error) {
	h := &Home{Paths: paths}
	f, err := os.Open(paths.Config)
	if errors.Is(err, fs.ErrNotExist) {
		return h, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxConfig {
		return nil, reason.Errorf(reason.Config, "%s has more than %d bytes", paths.Config, maxConfig)
	}
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	if err := d.Decode(&h.conf); err != nil && !errors.Is(err, io.EOF) {
		return nil, reason.Errorf(reason.Config, "%s: %v", paths.Config, err)
	}
	for id := range h.conf.Deployments {
		if err := metadata.CheckID("deployment", id); err != nil {
			return nil, reason.Errorf(reason.Config, "%s: %v", paths.Config, err)
		}
	}
	for _, scheme := range h.KMS() {
		if !schemePattern.MatchString(scheme) {
			return nil, reason.Errorf(reason.Config, "%s: kms: %s is no name of a plug-in", paths.Config, cli.Quote(scheme)).
				WithHint("kms: [pkcs11]")
		}
	}
	return h, nil
}

// KMS returns the schemes of the stores from which keys may be taken: by default tokens alone.
func (h *Home) KMS() []string {
	if h.conf.KMS == nil {
		return slices.Clone(defaultKMS)
	}
	return slices.Clone(*h.conf.KMS)
}

// Settings returns what the configuration says about a deployment.
func (h *Home) Settings(deployment string) Settings { return h.conf.Deployments[deployment] }

// Configure changes the settings of a deployment, durably.
func (h *Home) Configure(deployment string, s Settings) error {
	if h.conf.Deployments == nil {
		h.conf.Deployments = map[string]Settings{}
	}
	h.conf.Deployments[deployment] = s
	data, err := yaml.Marshal(h.conf) // maps are written in the order of their keys
	if err != nil {
		return err
	}
	if err := durable.MkdirAll(filepath.Dir(h.Paths.Config), 0o700); err != nil {
		return err
	}
	return durable.Replace(h.Paths.Config, data, 0o600)
}

// Known returns the deployments that are configured, or of which something was verified here, sorted.
func (h *Home) Known() []string {
	var ids []string
	for id := range h.conf.Deployments {
		ids = append(ids, id)
	}
	entries, _ := os.ReadDir(h.Paths.State) // what cannot be read is not known
	for _, e := range entries {
		if metadata.CheckID("deployment", e.Name()) != nil {
			continue
		}
		if _, err := os.Stat(filepath.Join(h.Paths.Deployment(e.Name()), historyFile)); err == nil {
			ids = append(ids, e.Name())
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// Choose returns the deployment that a command is about: the one that was asked for, else the one
// that its file names, else the only one known here. Two that differ, and none or several known, are
// errors.
func (h *Home) Choose(asked, named string) (string, error) {
	if asked != "" {
		if err := metadata.CheckID("deployment", asked); err != nil {
			return "", cli.Usagef("--deployment: %v", err)
		}
		if named != "" && named != asked {
			return "", reason.Errorf(reason.UsageError, "the file is of deployment %q, --deployment says %q", named, asked)
		}
		return asked, nil
	}
	if named != "" {
		return named, nil
	}
	known := h.Known()
	switch len(known) {
	case 0:
		return "", reason.Errorf(reason.UsageError, "no deployment is known here").
			WithHint("countersign login --token-file FILE")
	case 1:
		return known[0], nil
	}
	e := reason.Errorf(reason.UsageError, "several deployments are known here: %s", strings.Join(known, ", "))
	return "", e.WithHint("add --deployment %s", known[0])
}
